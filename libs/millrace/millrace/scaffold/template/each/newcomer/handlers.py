"""One handler an event type; what it writes commits together with the event's own row."""

from __future__ import annotations

from millrace.consumer import Each, Handler
from millrace.events import Event, stripe
from millrace.postgres import Transaction

from newcomer import domain, store


async def created(tx: Transaction, event: Event) -> str:
    """Plan the letter. Raise Poison for what can never be handled, Retryable for what may succeed later."""
    customer = stripe.object_of(event)
    day = domain.letter_on(stripe.at(stripe.whole(customer, "created")))
    await store.plan_letter(tx, event.account, stripe.text(customer, "id"), day)
    return f"a first letter on {day}"


async def deleted(tx: Transaction, event: Event) -> str:
    """Whoever has left gets none."""
    await store.drop_letter(tx, event.account, stripe.text(stripe.object_of(event), "id"))
    return "no letter any more"


HANDLERS: dict[str, Handler] = {
    "stripe.customer.created": created,
    "stripe.customer.deleted": deleted,
}


def each() -> Each:
    """The consumer. Its name is that of its group, its schema and its role."""
    return Each(
        "newcomer",
        HANDLERS,
        ordered=True,  # a deletion waits behind a creation that is parked
    )
