"""Dunning reads billing and payment events and decides one case per invoice."""

from __future__ import annotations

from collections.abc import Callable

from dunning import domain, store
from dunning.domain import Changed, Departed, Policies, Told
from dunning.store import State
from millrace.consumer import Apply, Decision, Fold, applied, noop
from millrace.errors import Poison
from millrace.events import Event, stripe
from millrace.events.ours import DunningTimerDue


def key(event: Event) -> str | None:
    """The case an event belongs to: account/invoice. A payment intent that names no invoice has none;
    a deleted customer is a state of its own, account/customer.
    """
    id_ = KEY_OF[event.type](event)
    return f"{event.account}/{id_}" if id_ else None


def _itself(event: Event) -> str | None:
    return stripe.text(stripe.object_of(event), "id")


def _paid_for(event: Event) -> str | None:
    return stripe.invoice_of_payment(stripe.object_of(event))


def _credited(event: Event) -> str | None:
    return stripe.id_of(stripe.object_of(event).get("invoice"))


def _timed(event: Event) -> str | None:
    return DunningTimerDue.of(event).invoice


TELLS: dict[str, tuple[Callable[[Event], str | None], Callable[[Event], Told]]] = {
    # event type                           the invoice    what it tells
    "stripe.invoice.payment_failed":        (_itself,     domain.payment_failed),
    "stripe.invoice.updated":               (_itself,     domain.plan_changed),
    "stripe.invoice.paid":                  (_itself,     domain.paid),
    "stripe.invoice.voided":                (_itself,     domain.voided),
    "stripe.invoice.marked_uncollectible":  (_itself,     domain.marked_uncollectible),
    "stripe.payment_intent.payment_failed": (_paid_for,   domain.decline_learned),
    "stripe.credit_note.created":           (_credited,   domain.credited),
    "millrace.dunning.timer.due":           (_timed,      domain.timer_due),
}  # fmt: skip

KEY_OF = {**{type_: invoice for type_, (invoice, _) in TELLS.items()}, "stripe.customer.deleted": _itself}


def _rule(tell: Callable[[Event], Told]) -> Apply[State, Policies]:
    """A reading of an event as a rule of the consumer: read, join, decide."""

    def rule(case: State | None, event: Event, policies: Policies) -> Decision[State]:
        if isinstance(case, Departed):
            raise Poison(f"{event.subject} is a customer, not an invoice")
        invoice = KEY_OF[event.type](event) or ""
        ruling = domain.ruled(case, invoice, tell(event), event, policies)
        if isinstance(ruling, Changed):
            return applied(ruling.case, ruling.case.standing.reason, *ruling.announces)
        return noop(ruling.reason)

    return rule


def _departed(_: State | None, event: Event, __: Policies) -> Decision[State]:
    """A deleted customer. One event can change one state, so saving it sets a timer for each open case."""
    gone = Departed(event.account, stripe.text(stripe.object_of(event), "id"), event.time)
    return applied(gone, "the customer was deleted: open cases will be closed")


def fold(policies: Callable[[], Policies]) -> Fold[State, Policies]:
    """The consumer. `policies` is asked once a batch, so that a changed file takes effect between batches."""
    return Fold(
        "dunning",
        apply={
            **{type_: _rule(tell) for type_, (_, tell) in TELLS.items()},
            "stripe.customer.deleted": _departed,
        },
        key=key,
        load=store.load_cases,
        save=store.save_states,
        rules=policies,
        ordered=True,
    )
