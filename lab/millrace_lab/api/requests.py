"""What comes in and what goes out, free of HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field

from millrace_lab.errors import Body


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in: `params` already nested, from the query, a form or JSON.

    `account` is the connected account that it is made for, from the header Stripe-Account.
    `at` is when it arrived, in seconds of any steady clock: only who has one is held to the rate limits.
    """

    method: str
    path: str
    params: Body
    key: str | None = None
    version: str | None = None
    idempotency: str | None = None
    at: float | None = None
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Body
    headers: dict[str, str] = field(default_factory=dict)
