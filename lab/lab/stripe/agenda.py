"""When Stripe's own clockwork next touches an object, read off the object itself."""

from __future__ import annotations

from lab.stripe.model import DAY, HOUR, Charge, Invoice, Object, Refund, Subscription

FIRST_PAYMENT_WINDOW = 23 * HOUR
TRIAL_NOTICE = 3 * DAY
DRAFT_WINDOW = HOUR
ENDED = frozenset({"canceled", "incomplete_expired"})


def due_of(thing: Object) -> int | None:
    """The next second at which time alone changes this object; None if it rests."""
    match thing:
        case Subscription():
            return _subscription_due(thing)
        case Invoice(status="draft", auto_advance=True):
            return thing.finalizes_at
        case Invoice(status="open"):
            return thing.next_payment_attempt
        case Charge(status="succeeded", balance_transaction=None):
            return thing.settles_at
        case Refund(status="succeeded"):
            return thing.settles_at if thing.balance_transaction is None else thing.fails_at
    return None


def _subscription_due(sub: Subscription) -> int | None:
    if sub.status in ENDED:
        return None
    if sub.status == "incomplete":
        return sub.created + FIRST_PAYMENT_WINDOW
    times = [sub.cancel_at]
    if sub.status != "paused":
        times += [min(item.period_end for item in sub.items), sub.pause_resumes_at]
    if sub.status == "trialing" and sub.trial_end is not None and not sub.trial_warned:
        times.append(max(sub.created, sub.trial_end - TRIAL_NOTICE))
    return min((time for time in times if time is not None), default=None)
