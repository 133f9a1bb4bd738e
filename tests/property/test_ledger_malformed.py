"""Whatever stands in a body, a rule answers: posted, passed over, waiting, or parked with a reason. It never breaks."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.fold import RULES
from tests.support import ledger_bodies as stripe
from tests.support.folds import keep
from tests.support.ledger_bodies import T0, event

PLAN = stripe.invoice(
    stripe.line(1190, discount=10, tax=190, inclusive=True), stripe.line(5, id="il_2", days=0)
)
SETTLED = stripe.transaction(1180, 65)
FAILED = stripe.refund(
    500,
    stripe.transaction(-500, id="txn_2"),
    status="failed",
    failure_balance_transaction=stripe.transaction(500, id="txn_3"),
)
NOTE = stripe.credit_note(
    stripe.note_line(300),
    before=100,
    after=200,
    refunds=[{"refund": "re_1", "amount_refunded": 200}],
)
OLD = {**PLAN, "charge": "ch_1", "payment_intent": "pi_1", "amount_paid": 1185}
BODIES = {
    "invoice.finalized": {
        **PLAN,
        "starting_balance": -5,
        "ending_balance": 0,
        "amount_due": PLAN["total"] - 5,
    },
    "invoice.voided": stripe.moved(PLAN, "voided_at", T0),
    "invoice.marked_uncollectible": stripe.moved(PLAN, "marked_uncollectible_at", T0),
    "invoice.paid": OLD,
    "invoice.payment_succeeded": {**PLAN, "amount_paid_off_stripe": 1185},
    "invoice_payment.paid": stripe.invoice_payment(1185),
    "credit_note.created": NOTE,
    "credit_note.voided": {**NOTE, "voided_at": T0},
    "charge.succeeded": stripe.charge(1180, SETTLED),
    "charge.captured": stripe.charge(1180, SETTLED),
    "charge.updated": stripe.charge(1180, stripe.transaction(2000, 1, currency="eur")),
    "charge.refunded": stripe.charge(1180, SETTLED),
    "charge.refund.updated": FAILED,
    "refund.created": FAILED,
    "refund.updated": FAILED,
    "refund.failed": FAILED,
}
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "x", "USD", 0, -1, 1.5, True, [], [None], {}, {"data": [{}]}, 10**18, "txn_9"]
)
BEFORE = [event("invoice.finalized", PLAN), event("credit_note.created", NOTE)]


def test_every_rule_is_tried() -> None:
    assert {f"stripe.{type}" for type in BODIES} == set(RULES)


def places(body: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into a body."""
    inner = (
        list(body.items())
        if isinstance(body, dict)
        else list(enumerate(body))
        if isinstance(body, list)
        else []
    )
    return [place for key, value in inner for place in ((*path, key), *places(value, (*path, key)))]


@st.composite
def spoiled(draw: st.DrawFn) -> dict[str, Any]:
    """A body of any type with up to three of its places filled with something else, or gone."""
    type = draw(st.sampled_from(sorted(BODIES)))
    body = copy.deepcopy(BODIES[type])
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from([place for place in places(body) if place != ("id",)]))
        holder: Any = body
        for key in way:
            holder = holder[key]
        if draw(st.booleans()) and isinstance(holder, dict):
            del holder[last]
        else:
            holder[last] = copy.deepcopy(draw(VALUES))
    return event(type, body)


@settings(max_examples=1500, deadline=None)
@given(spoiled(), st.booleans())
def test_no_body_breaks_a_rule(told: dict[str, Any], known: bool) -> None:
    _, judged = keep([*(BEFORE if known else []), told])
    assert judged[-1].status in ("", "poison", "waiting"), judged[-1].reason
