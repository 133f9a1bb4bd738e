"""A refund: given (Refunds → Refund clearing), left the balance, and perhaps came back.

Every event of a refund shows the whole refund, so each tells all the facts it can see; those that are posted
already are passed over. A failed refund is owed to the customer again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ledger.domain.balance import moved
from ledger.domain.chart import Account
from ledger.domain.journal import Book, Nothing, Posting, Tags, Told, Wait, credit, debit, posting
from ledger.domain.readings import currency_of, when
from millrace.events import Event
from millrace.events.stripe import Object, id_of, object_of, text, whole
from millrace.money import Money


def refunded(book: Book, event: Event) -> Told:
    """All that a refund's snapshot tells.

    A balance transaction that is only an id holds nothing back that is known; the event waits when it is all
    there is to say.
    """
    refund = object_of(event)
    told = [_given(refund), *_settled(refund), *_ended(refund, event)]
    unknown = [id for id in _unfetched(refund) if f"bt:{id}" not in book.facts]
    if unknown and all(one.fact in book.facts for one in told):
        return Wait(f"balance transaction {unknown[0]} has not been fetched yet")
    return told


def told_by_refunds(book: Book, event: Event) -> Told:
    """`charge.refunded` carries a cumulative amount and not the refund: never posted from."""
    return Nothing("each refund is told by refund.created")


def _given(refund: Object) -> Posting:
    id = text(refund, "id")
    return posting(
        f"refund:{id}:created",
        "refund.created",
        when(refund, "created"),
        [
            debit(Account.REFUNDS, _amount(refund), Tags(open_item=id)),
            credit(Account.REFUND_CLEARING, _amount(refund), Tags(open_item=id)),
        ],
    )


def _settled(refund: Object) -> Iterator[Posting]:
    """What the balance paid out, and what came back to it."""
    id = text(refund, "id")
    for name, kind, due in (
        ("balance_transaction", "refund.settled", -_amount(refund)),
        ("failure_balance_transaction", "refund.returned", _amount(refund)),
    ):
        if isinstance(transaction := refund.get(name), Mapping):
            yield moved(transaction, kind, Account.REFUND_CLEARING, due, id)


def _ended(refund: Object, event: Event) -> Iterator[Posting]:
    """A refund that failed is owed to the customer; one that was canceled was never given."""
    id, back = text(refund, "id"), refund.get("failure_balance_transaction")
    owed = {"failed": Account.REFUNDS_OWED, "canceled": Account.REFUNDS}.get(str(refund.get("status")))
    if owed is None or (back is not None and not isinstance(back, Mapping)):
        return
    yield posting(
        f"refund:{id}:{refund['status']}",
        f"refund.{refund['status']}",
        when(back, "created") if back else event.time,
        [
            debit(Account.REFUND_CLEARING, _amount(refund), Tags(open_item=id)),
            credit(owed, _amount(refund), Tags(open_item=id)),
        ],
        reverses=f"refund:{id}:created" if owed is Account.REFUNDS else None,
    )


def _unfetched(refund: Object) -> list[str]:
    found = (refund.get(name) for name in ("balance_transaction", "failure_balance_transaction"))
    return [id for one in found if isinstance(one, str) and (id := id_of(one))]


def _amount(refund: Object) -> Money:
    return Money(whole(refund, "amount"), currency_of(refund))
