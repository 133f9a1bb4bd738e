"""newcomer reads billing events and keeps one state per customer."""

from __future__ import annotations

from millrace.consumer import Apply, Decision, Fold, applied, noop
from millrace.events import Event, stripe

from newcomer import domain, store
from newcomer.domain import Customer


def key(event: Event) -> str | None:
    """The state an event belongs to: account/customer. Without a customer it concerns none."""
    customer = stripe.customer_of(stripe.object_of(event))
    return f"{event.account}/{customer}" if customer else None


def _paid(customer: Customer | None, event: Event, _: None) -> Decision[Customer]:
    invoice = stripe.object_of(event)
    if stripe.whole(invoice, "amount_paid") == 0:
        return noop("an invoice over nothing is no payment")
    after = domain.paid(customer, stripe.text(invoice, "id"), event.time)
    return applied(after, f"invoices paid: {after.invoices_paid}")


APPLY: dict[str, Apply[Customer, None]] = {
    "stripe.invoice.paid": _paid,
}


def fold() -> Fold[Customer, None]:
    """The consumer. Its name is that of its group, its schema and its role."""
    return Fold(
        "newcomer",
        apply=APPLY,
        key=key,
        load=store.load_customers,
        save=store.save_customers,
        rules=lambda: None,
        ordered=False,  # payments count alike in any order, so none waits behind another
    )
