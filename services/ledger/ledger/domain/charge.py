"""The cash side of a payment: Stripe balance net + Stripe fees → Payment clearing gross.

A charge tells it only once its balance transaction is there with its amounts: an id is not an amount.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger.domain.balance import moved
from ledger.domain.chart import Account
from ledger.domain.journal import Book, Nothing, Told, Wait
from ledger.domain.readings import currency_of
from millrace.events import Event
from millrace.events.stripe import Object, id_of, object_of, paying_object, text, whole
from millrace.money import Money


def charged(book: Book, event: Event) -> Told:
    """A charge that took money. Source: docs.stripe.com/payments/payment-intents/asynchronous-capture."""
    charge = object_of(event)
    if charge.get("status") != "succeeded":
        return Nothing(f"the charge has {charge.get('status')}: no money moved")
    if charge.get("captured") is False:
        return Nothing("the charge is authorised, not captured: no money moved")
    transaction = charge.get("balance_transaction")
    if isinstance(transaction, Mapping):
        return [
            moved(transaction, "charge.settled", Account.PAYMENT_CLEARING, _gross(charge), _open_item(charge))
        ]
    if book.of("charge.settled"):
        return Nothing("its balance transaction is posted already")
    return Wait(_missing(charge, id_of(transaction)))


def _gross(charge: Object) -> Money:
    """What was captured; charges from before partial captures say only their amount."""
    name = "amount" if charge.get("amount_captured") is None else "amount_captured"
    return Money(whole(charge, name), currency_of(charge))


def _open_item(charge: Object) -> str:
    return paying_object({**charge, "object": "charge"}) or text(charge, "id")


def _missing(charge: Object, transaction: str | None) -> str:
    if transaction is None:
        return f"charge {text(charge, 'id')} has no balance transaction yet"
    return f"balance transaction {transaction} has not been fetched yet"
