"""One believable event of each kind of ours: what the schemas and the documentation show."""

from __future__ import annotations

from datetime import UTC, datetime

from millrace.events.ours import (
    DeadLetter,
    DunningChanged,
    DunningTimerDue,
    EntitlementChanged,
    EntitlementState,
    LedgerPosted,
    OutboxParked,
    Payload,
    RefreshRequested,
)

ACCOUNT, CUSTOMER, INVOICE = "acct_1Mill", "cus_Sq7Pb2", "in_1RfQx4"
FAILED, PAID = "evt_1RfQx9failed", "evt_1RgBc2paid"
GRACE_ENDS = datetime(2026, 7, 8, 9, 30, tzinfo=UTC)

EXAMPLES: tuple[Payload, ...] = (
    DunningChanged(
        account=ACCOUNT,
        customer=CUSTOMER,
        invoice=INVOICE,
        subscription="sub_1QzT3k",
        stage="grace",
        previous_stage=None,
        access="given",
        case_version=1,
        attempts=1,
        grace_until=GRACE_ENDS,
        reason="the first payment of a renewal failed: grace until day 7",
        cause=FAILED,
    ),
    DunningTimerDue(
        account=ACCOUNT, customer=CUSTOMER, invoice=INVOICE, timer="grace_ends", due_at=GRACE_ENDS
    ),
    EntitlementState(
        account=ACCOUNT,
        customer=CUSTOMER,
        version=7,
        catalog="2026-06-01",
        features={
            "exports": {
                "verdict": "allowed",
                "kind": "switch",
                "limit": None,
                "reason": "plan team gives exports",
                "rule": "plan",
                "evidence": [PAID],
                "until": None,
            },
            "projects": {
                "verdict": "limited",
                "kind": "limit",
                "limit": 50,
                "reason": "plan team gives 50 projects",
                "rule": "plan",
                "evidence": [PAID],
                "until": None,
            },
        },
        as_of=datetime(2026, 7, 10, 14, 3, tzinfo=UTC),
    ),
    EntitlementChanged(
        account=ACCOUNT,
        customer=CUSTOMER,
        version=7,
        catalog="2026-06-01",
        changes=[
            {
                "feature": "exports",
                "before": {"verdict": "denied", "limit": None, "until": None},
                "after": {"verdict": "allowed", "limit": None, "until": None},
                "reason": "plan team gives exports",
            }
        ],
        cause=PAID,
    ),
    LedgerPosted(
        account=ACCOUNT,
        customer=CUSTOMER,
        fact=f"invoice:{INVOICE}:finalized",
        kind="invoice.finalized",
        effective_at=datetime(2026, 7, 1, 9, 30, tzinfo=UTC),
        entries=[
            {"account": "1100", "currency": "eur", "amount_minor": 4900, "invoice": INVOICE},
            {"account": "4000", "currency": "eur", "amount_minor": -4900, "invoice": INVOICE},
        ],
        cause="evt_1RfQx5finalized",
    ),
    RefreshRequested(
        account=ACCOUNT,
        customer=CUSTOMER,
        object="sub_1QzT3k",
        reason="two updates within one second: what the second changed is not what is stored",
        cause="evt_1RfRa7updated",
    ),
    DeadLetter(
        account=ACCOUNT,
        customer=CUSTOMER,
        consumer="ledger",
        reason="invoice.total is missing or not a whole number",
        event_id=FAILED,
        event_type="stripe.invoice.finalized",
        topic="stripe.billing",
        partition=3,
        offset=1042,
        record_key=f"{ACCOUNT}/{CUSTOMER}",
    ),
    OutboxParked(
        account=ACCOUNT,
        customer=CUSTOMER,
        outbox="main@0",
        row_id=48_211,
        topic="stripe.billing",
        record_key=f"{ACCOUNT}/{CUSTOMER}",
        reason="too_large",
        detail="it is larger than one Kafka record may be",
        behind=False,
        bytes=71_303_168,
    ),
)
