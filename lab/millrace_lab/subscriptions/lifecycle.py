"""Small moves that everything about subscriptions shares: one changes, is told, and other rooms hear of it."""

from __future__ import annotations

from typing import Any

from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body, missing

ENDED = ("canceled", "incomplete_expired")
TIMERS = ("renew", "upcoming", "cancel", "expire", "trial_will_end", "resume_collection", "pending_expires",
          "pending_items", "resume_expires")  # fmt: skip


def alive(step: Step, id_: str) -> Body:
    """A subscription that has not ended: Stripe answers for a canceled one as if it were not there."""
    sub = step.get("subscription", id_)
    if sub["status"] in ENDED:
        raise missing("subscription", id_)
    return sub


def told(step: Step, before: Body, *, later: int = 0) -> Body:
    """Tell what changed since `before`, in one event, and let other rooms hear what they listen for."""
    after = step.updated("customer.subscription.updated", before, later=later)
    if after["status"] != before["status"] or after["items"] != before["items"]:
        step.announce("subscription.changed", after)
    return after


def change(step: Step, id_: str, *, later: int = 0, **fields: Any) -> Body:
    before = step.get("subscription", id_)
    step.change(id_, **fields)
    return told(step, before, later=later)


def due(step: Step, id_: str, what: str, at: int | None) -> None:
    """Put something that time does to a subscription on the agenda, or take it off."""
    step.due(id_, f"subscription.{what}", at)


def quiet(step: Step, id_: str) -> None:
    """An ended subscription has nothing left to do."""
    for what in TIMERS:
        due(step, id_, what, None)


def flexible(sub: Body) -> bool:
    return bool(sub["billing_mode"]["type"] == "flexible")


def refuse_unless_flexible(sub: Body, what: str) -> None:
    refuse_unless(
        flexible(sub),
        f"{what} is only supported for subscriptions with `billing_mode[type]` set to `flexible`.",
    )
