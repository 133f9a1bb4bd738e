"""What happens after a payment fails: when it is tried again, and what the end is.

The account's settings say it; a subscription's metadata may say otherwise: `lab_dunning` is
"canceled", "unpaid", "past_due" or "paused", with "+uncollectible" if the invoice is to be written off.
Source: docs.stripe.com/billing/revenue-recovery/smart-retries.
"""

from __future__ import annotations

from dataclasses import dataclass

from millrace_lab.account import Step
from millrace_lab.errors import Body


@dataclass(frozen=True, slots=True)
class Plan:
    """`retry_after`: seconds from each failure to the next try; then the ends of subscription and invoice."""

    retry_after: tuple[int, ...]
    subscription: str
    invoice: str


def plan(step: Step, subscription: str | None) -> Plan:
    settings = step.settings["dunning"]
    end, left = settings["subscription"], settings["invoice"]
    found = step.find(subscription) if subscription else None
    if own := ((found or {}).get("metadata") or {}).get("lab_dunning"):
        end, _, written_off = own.partition("+")
        left = written_off or "open"
    return Plan(tuple(settings["retry_after"]), end, left)


def next_retry(step: Step, invoice: Body) -> int | None:
    """When the invoice is tried again after a failure now; None when every try is spent."""
    waits = plan(step, invoice["_subscription"]).retry_after
    tries = invoice["_retries"]
    return step.now + waits[tries] if tries < len(waits) else None
