"""One believable event of each kind of ours: what the schemas and the documentation show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from millrace.events import Event, headers
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

AT, RECEIVED = datetime(2026, 7, 1, 9, 30, tzinfo=UTC), datetime(2026, 7, 1, 9, 30, 2, 250_000, tzinfo=UTC)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

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

STRIPE: dict[str, Any] = {
    "id": FAILED,
    "object": "event",
    "type": "invoice.payment_failed",
    "api_version": "2026-10-28.endive",
    "created": int(AT.timestamp()),
    "livemode": True,
    "pending_webhooks": 1,
    "request": {"id": None, "idempotency_key": None},
    "data": {
        "object": {
            "id": INVOICE,
            "object": "invoice",
            "customer": CUSTOMER,
            "customer_email": "sealed:AQAAAAAAAAAqT5nOKk3W",
            "customer_address": {"$sealed": "sealed:AQAAAAAAAAAqhX0fQm7c"},
            "currency": "eur",
            "amount_due": 4900,
            "attempt_count": 1,
            "status": "open",
        }
    },
}

CLAIM: dict[str, Any] = {
    "dataref": "millrace:main/8c5c2c0e-6a0f-4b43-9a41-3f0d2f6f3c11",
    "bytes": 734_003,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}


def example_headers(payload: Payload, writer: str) -> dict[str, str]:
    """The headers of an example's record."""
    step = _id(payload, writer)
    by_relay = isinstance(payload, OutboxParked)  # which is told by no event, and written by no outbox
    recorded = None if by_relay else RECEIVED
    event = payload.event(id=step, source=f"millrace/{writer}", at=AT, trace=TRACE, recorded=recorded)
    return _carried(event, numbered=not by_relay)


def _id(payload: Payload, writer: str) -> str:
    """As its writer makes it."""
    match payload:
        case DunningTimerDue():
            return f"{writer}.timer.{payload.invoice}.{payload.timer}"
        case DeadLetter():
            return f"{writer}.parked.{payload.topic}/{payload.partition}/{payload.offset}"
        case OutboxParked():
            return f"{payload.outbox}/{payload.row_id}/{payload.reason}"
    place = int(isinstance(payload, EntitlementChanged))  # the second effect: the state comes before it
    return f"{writer}.{getattr(payload, 'cause', PAID)}.{place}"


def _carried(event: Event, *, numbered: bool = True) -> dict[str, str]:
    relays = {"millrace-outbox": "main@0"}
    if numbered:
        relays |= {"millrace-outbox-id": "1042", "millrace-pseq": "77"}
    return headers(event) | relays


HEADERS: dict[str, str] = _carried(
    Event(
        id=FAILED,
        type="stripe.invoice.payment_failed",
        source=f"stripe/{ACCOUNT}",
        subject=INVOICE,
        time=AT,
        key=f"{ACCOUNT}/{CUSTOMER}",
        schema="2026-10-28.endive",
        data=STRIPE,
        trace=TRACE,
        recorded=RECEIVED,
    )
)
