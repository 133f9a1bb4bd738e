"""Dunning reads billing and payment events and decides one case per invoice."""

from __future__ import annotations

from collections.abc import Callable

from dunning import domain, store
from dunning.domain import Case, Changed, Policies, Told
from millrace.consumer import Apply, Decision, Fold, applied, noop
from millrace.events import Event, stripe
from millrace.events.ours import DunningTimerDue


def key(event: Event) -> str | None:
    """The case an event belongs to: account/invoice. A payment intent that names no invoice has none."""
    invoice = INVOICE_OF[event.type](event)
    return f"{event.account}/{invoice}" if invoice else None


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

INVOICE_OF = {type_: invoice for type_, (invoice, _) in TELLS.items()}


def _rule(tell: Callable[[Event], Told]) -> Apply[Case, Policies]:
    """A reading of an event as a rule of the consumer: read, join, decide."""

    def rule(case: Case | None, event: Event, policies: Policies) -> Decision[Case]:
        invoice = INVOICE_OF[event.type](event) or ""
        ruling = domain.ruled(case, invoice, tell(event), event, policies)
        if isinstance(ruling, Changed):
            return applied(ruling.case, ruling.case.standing.reason, *ruling.announces)
        return noop(ruling.reason)

    return rule


def fold(policies: Callable[[], Policies]) -> Fold[Case, Policies]:
    """The consumer. `policies` is asked once a batch, so that a changed file takes effect between batches."""
    return Fold(
        "dunning",
        apply={type_: _rule(tell) for type_, (_, tell) in TELLS.items()},
        key=key,
        load=store.load_cases,
        save=store.save_cases,
        rules=policies,
        ordered=True,
    )
