"""What the oracle's word means for our services: stages, restrictions, access; and a doubt that is one."""

from __future__ import annotations

from typing import Any

import pytest

from lab.storm.answers import expected, read
from millrace_lab.storm.comparing import DOUBT, OPEN, one_of
from tests.unit.millrace_lab.storm.hand_made import DAY0, arrival, invoice, subscription

UNPAID = one_of("open", "grace", "restricted", "exhausted")
EITHER = one_of(True, None)
FAILED = ("invoice.payment_failed", invoice("open"))
RAN_OUT = {"uncollectible": {"reason": "max_payment_attempts"}}
ACTIVE = ("customer.subscription.updated", subscription("active"))
STANDS = {
    # what was told → the stage of the case, whether access is restricted, whether the customer may work
    "open": ([FAILED, ACTIVE], UNPAID, EITHER, OPEN),
    "paid": ([FAILED, ACTIVE, ("invoice.paid", invoice("paid", amount_paid=1000))], "recovered", None, True),
    "voided": ([FAILED, ACTIVE, ("invoice.voided", invoice("void"))], "closed", None, True),
    "written off": (
        [FAILED, ACTIVE, ("invoice.marked_uncollectible", invoice("uncollectible"))],
        "written_off", EITHER, OPEN,
    ),
    "given up": (
        [FAILED, ACTIVE, ("invoice.marked_uncollectible", invoice("uncollectible", status_details=RAN_OUT))],
        UNPAID, EITHER, OPEN,
    ),
    "a first payment": (
        [("invoice.payment_failed", invoice("open", billing_reason="subscription_create")), ACTIVE],
        None, None, True,
    ),
    "canceled": ([("customer.subscription.deleted", subscription("canceled"))], None, None, None),
    "ends later": ([("customer.subscription.updated", subscription("active", cancel_at=DAY0 + 9))], None, None, True),
    "ended already": ([("customer.subscription.updated", subscription("active", cancel_at=DAY0))], None, None, None),
}  # fmt: skip


@pytest.mark.parametrize(("told", "stage", "restricted", "access"), STANDS.values(), ids=STANDS)
def test_what_must_stand(told: list[tuple[str, Any]], stage: Any, restricted: Any, access: Any) -> None:
    values = expected([arrival(number, type_, body) for number, (type_, body) in enumerate(told)])
    assert values.get(("stage", "in_1")) == stage
    assert values.get(("restricted", "in_1")) == restricted
    assert values.get(("access", "cus_1")) == access


@pytest.mark.parametrize(("doubt", "status"), [("", "active"), ("two in one second", DOUBT)])
def test_a_subscription_in_doubt_is_no_answer(doubt: str, status: Any) -> None:
    row = {
        "subscription": "sub_1",
        "status": "active",
        "prices": ["price_team"],
        "quantities": [5],
        "cancel_at": None,
        "pause_collection": None,
        "doubt": doubt,
    }
    assert read(row)["status", "sub_1"] == status
