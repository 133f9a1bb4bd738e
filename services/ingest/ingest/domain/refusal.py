"""A request that is turned away, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal: a name for the metric, a reason for the sender. Neither quotes the body."""

    name: str
    reason: str
    status: int = 400
