"""A balance transaction: money that moved on the Stripe balance, and what it moved for.

Stripe balance net + Stripe fees against a clearing account. Settled in another currency it passes through FX
trading, so that each currency sums to zero and the rate is the quotient of two posted amounts.
"""

from __future__ import annotations

from ledger.domain.chart import Account
from ledger.domain.journal import Line, Posting, Tags, credit, debit, posting
from ledger.domain.readings import currency_of, when
from millrace.errors import Poison
from millrace.events.stripe import Object, text, whole
from millrace.money import Money


def moved(transaction: Object, kind: str, clearing: Account, due: Money, open_item: str) -> Posting:
    """The posting of one balance transaction.

    Units: `due` is what the clearing account gives, in the currency of the object that was settled;
    negative when the money leaves.
    Raises: Poison, naming the field, when Stripe's own amounts disagree.
    """
    id, currency = text(transaction, "id"), currency_of(transaction)
    amount, fee, net = (whole(transaction, name) for name in ("amount", "fee", "net"))
    if net != amount - fee:
        raise Poison(f"balance_transaction.net is {net}, but amount less fee is {amount - fee}")
    return posting(
        f"bt:{id}",
        kind,
        when(transaction, "created"),
        [
            debit(Account.STRIPE_BALANCE, Money(net, currency), Tags(open_item=open_item)),
            debit(Account.STRIPE_FEES, Money(fee, currency), Tags(open_item=open_item)),
            *_exchanged(Money(amount, currency), due, clearing, open_item),
        ],
    )


def _exchanged(gross: Money, due: Money, clearing: Account, open_item: str) -> list[Line]:
    """The clearing account's side, through FX trading when the currencies differ."""
    cleared = credit(clearing, due, Tags(open_item=open_item))
    if gross.currency == due.currency:
        if gross != due:
            raise Poison(
                f"balance_transaction.amount is {gross.amount_minor}, but {due.amount_minor} was due"
            )
        return [cleared]
    if (gross.amount_minor < 0) != (due.amount_minor < 0):
        raise Poison("balance_transaction.amount has the wrong sign")
    return [
        credit(Account.FX_TRADING, gross, Tags(open_item=open_item)),
        debit(Account.FX_TRADING, due, Tags(open_item=open_item)),
        cleared,
    ]
