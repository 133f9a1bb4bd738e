"""Random histories: every transaction balances, and when all is told the clearing accounts are back at zero."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.domain.chart import CLEARING, Account
from tests.support import ledger_bodies as stripe
from tests.support.folds import balances, facts, keep, postings
from tests.support.ledger_bodies import BEFORE_BASIL, DAY, T0, event

Events = list[dict[str, Any]]
ENDINGS = ("open", "paid", "paid before basil", "voided", "given up", "recovered", "given up, then voided")
amounts = st.integers(min_value=1, max_value=10**9)


@st.composite
def lines(draw: st.DrawFn, number: int) -> dict[str, Any]:
    """A line: a plan, a proration to either side, something delivered at once; perhaps taxed, perhaps cheaper."""
    amount = draw(st.integers(min_value=-(10**6), max_value=10**9))
    rebate = draw(st.integers(min_value=0, max_value=max(0, amount)))
    tax = draw(st.integers(min_value=0, max_value=max(0, amount - rebate)))
    return stripe.line(
        amount,
        id=f"il_{number}",
        days=draw(st.sampled_from([0, 1, 30, 365])),
        discount=rebate,
        tax=tax,
        inclusive=draw(st.booleans()),
    )


@st.composite
def invoices(draw: st.DrawFn, number: int) -> Events:
    """One invoice and all that is ever told of it, its payment, its credit notes and its refunds."""
    id, currency = f"in_{number}", draw(st.sampled_from(["usd", "eur", "jpy"]))
    billed = [draw(lines(place)) for place in range(draw(st.integers(1, 3)))]
    bill = stripe.invoice(*billed, id=id, currency=currency)
    if bill["total"] <= 0:
        return [event("invoice.finalized", {**bill, "ending_balance": bill["total"], "amount_due": 0})]
    note = draw(st.integers(0, bill["total"] - 1))
    told = [event("invoice.finalized", bill), *_notes(number, currency, note, draw(st.booleans()))]
    return told + _ended(draw, number, bill, _standing(told))


def _notes(number: int, currency: str, amount: int, withdrawn: bool) -> Events:
    if amount == 0:
        return []
    note = stripe.credit_note(
        stripe.note_line(amount, of="il_0"), before=amount, id=f"cn_{number}", currency=currency
    )
    note["invoice"] = f"in_{number}"
    gone = [event("credit_note.voided", {**note, "voided_at": T0 + 3 * DAY})] if withdrawn else []
    return [event("credit_note.created", note), *gone]


def _standing(told: Events) -> int:
    by_type = {one["type"]: one["data"]["object"] for one in told}
    return 0 if "credit_note.voided" in by_type else by_type.get("credit_note.created", {}).get("total", 0)


def _ended(draw: st.DrawFn, number: int, bill: dict[str, Any], noted: int) -> Events:
    ending, left = draw(st.sampled_from(ENDINGS)), bill["total"] - noted
    bill = {**bill, "amount_remaining": left, "pre_payment_credit_notes_amount": noted}
    told: Events = []
    if ending.startswith("given up") or ending == "recovered":
        told.append(
            event("invoice.marked_uncollectible", stripe.moved(bill, "marked_uncollectible_at", T0 + 5 * DAY))
        )
    if ending.endswith("voided"):
        told.append(event("invoice.voided", stripe.moved(bill, "voided_at", T0 + 6 * DAY)))
    if ending in ("paid", "recovered"):
        told.append(_payment(number, bill, left, T0 + 9 * DAY))
    if ending == "paid before basil":
        old = {
            **stripe.moved(bill, "paid_at", T0 + 9 * DAY),
            "charge": f"ch_{number}",
            "payment_intent": f"pi_{number}",
        }
        told.append(event("invoice.paid", {**old, "amount_paid": left}, version=BEFORE_BASIL))
    if ending in ("paid", "recovered", "paid before basil"):
        told += _cash(draw, number, bill["currency"], left)
    return told


def _payment(number: int, bill: dict[str, Any], amount: int, at: int) -> dict[str, Any]:
    paid = stripe.invoice_payment(
        amount,
        id=f"inpay_{number}",
        invoice=bill["id"],
        by=f"pi_{number}",
        currency=bill["currency"],
        at=at,
    )
    return event("invoice_payment.paid", paid)


def _cash(draw: st.DrawFn, number: int, currency: str, amount: int) -> Events:
    """The charge that paid it, settled at once or later, at home or abroad; perhaps refunded, perhaps returned."""
    settled_in = draw(st.sampled_from([currency, "gbp"]))
    gross = amount if settled_in == currency else draw(amounts)
    fee = draw(st.integers(0, gross))
    names = {"id": f"ch_{number}", "by": f"pi_{number}", "currency": currency}
    settled = stripe.transaction(gross, fee, id=f"txn_{number}", currency=settled_in)
    told = [event("charge.updated", stripe.charge(amount, settled, **names))]
    if draw(st.booleans()):
        told.insert(0, event("charge.succeeded", stripe.charge(amount, None, **names)))
    if draw(st.booleans()):
        told += _refund(draw, number, currency, settled_in, draw(st.integers(1, amount)))
    return told


def _refund(draw: st.DrawFn, number: int, currency: str, settled_in: str, amount: int) -> Events:
    out = amount if settled_in == currency else draw(amounts)
    left = stripe.transaction(-out, id=f"txn_{number}_out", currency=settled_in)
    back = stripe.transaction(out, id=f"txn_{number}_back", currency=settled_in, at=T0 + 20 * DAY)
    names = {"id": f"re_{number}", "currency": currency}
    told = [
        event("refund.created", stripe.refund(amount, None, **names)),
        event("refund.updated", stripe.refund(amount, left, **names)),
    ]
    if draw(st.booleans()):
        failed = stripe.refund(amount, left, status="failed", failure_balance_transaction=back, **names)
        told += [event("refund.updated", failed), event("refund.failed", failed)]
    return told


@st.composite
def histories(draw: st.DrawFn) -> tuple[Events, Events]:
    """(as it happened, as it arrived): shuffled, some of it twice, some of that under new ids."""
    told = [one for number in range(draw(st.integers(1, 4))) for one in draw(invoices(number))]
    again = draw(st.lists(st.sampled_from(told), max_size=6))
    renamed = [event(one["type"], one["data"]["object"]) if draw(st.booleans()) else one for one in again]
    return told, draw(st.permutations(told + renamed))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_any_history_in_any_delivery_keeps_the_books(history: tuple[Events, Events]) -> None:
    happened, arrived = history
    books, judged = keep(arrived)
    assert [(j.status, j.reason) for j in judged if j.status] == []
    for one in postings(books):
        sums: Counter[str] = Counter()
        for line in one.lines:
            sums[line.money.currency] += line.money.amount_minor
        assert set(sums.values()) <= {0}, one.fact
    assert facts(books) == facts(keep(happened)[0])
    left = balances(books)
    assert [account for account, _ in left if account in CLEARING] == []
    open_claims = sum(amount for (account, _), amount in left.items() if account is Account.RECEIVABLE)
    assert open_claims == _still_owed(happened)


def _still_owed(happened: Events) -> int:
    """What the invoices themselves say is left, for those that nothing has ended."""
    ended, owed, noted = set(), {}, Counter[str]()
    for one in happened:
        obj = one["data"]["object"]
        invoice = obj.get("invoice", obj["id"])
        match one["type"]:
            case "invoice.finalized":
                owed[invoice] = max(0, obj["total"])
            case "credit_note.created":
                noted[invoice] += obj["total"]
            case "credit_note.voided":
                noted[invoice] -= obj["total"]
            case "invoice.voided" | "invoice.marked_uncollectible" | "invoice_payment.paid" | "invoice.paid":
                ended.add(invoice)
    return sum(amount - noted[invoice] for invoice, amount in owed.items() if invoice not in ended)
