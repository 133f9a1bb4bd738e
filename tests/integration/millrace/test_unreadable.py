"""A record that no PostgreSQL text can hold is parked like any other, and its neighbours flow."""

from __future__ import annotations

import pytest

from millrace import postgres
from millrace.consumer import TABLES, Batches, Each, Record, read
from millrace.events import Event, headers
from millrace.postgres import Schema, Transaction
from tests.support.database import MakeDatabase
from tests.support.events import event_of

SCHEMA = Schema("unreadable", TABLES)
BODY = {
    "id": "evt_1",
    "object": "event",
    "type": "customer.created",
    "created": 1772366400,
    "api_version": "2026-10-28.endive",
    "livemode": False,
    "data": {"object": {"id": "cus_1", "object": "customer"}},
}
GOOD = {name: text.encode() for name, text in headers(event_of(BODY)).items()}
NEXT = GOOD | {"ce_id": b"evt_2"}

RECORDS: dict[str, tuple[bytes | None, dict[str, bytes], bytes | None]] = {
    "a key with a NUL": (b"acct_1/\x00", GOOD, b"{}"),
    "a key that is no text": (b"\xff\xfe", GOOD, b"{}"),
    "no key": (None, GOOD, b"{}"),
    "an id with a NUL": (b"k", GOOD | {"ce_id": b"evt\x00"}, b"{}"),
    "half a surrogate": (b"k", GOOD | {"ce_subject": b"\xed\xa0\x80"}, b"{}"),
    "a header of others with a NUL": (b"k", GOOD | {"ce_id": b"", "x\x00": b"\x00"}, b"{}"),
    "a value that is no text": (b"k", GOOD, b"\x00\xff"),
    "no value": (b"k", GOOD, None),
}


async def seen(tx: Transaction, event: Event) -> str:
    return f"seen with {len(event.data)} fields"  # a body that nobody looks at harms nobody


def record(offset: int, key: bytes | None, named: dict[str, bytes], value: bytes | None) -> Record:
    return read("stripe.billing", 0, offset, key, named.items(), value)


@pytest.mark.parametrize("what", RECORDS)
async def test_it_is_parked_and_its_neighbour_flows(database: MakeDatabase, what: str) -> None:
    db = await database(SCHEMA)
    pool = await postgres.pool(db.dsn(SCHEMA))
    try:
        batches = Batches(pool, Each("unreadable", {"stripe.customer.created": seen}))
        report = await batches.apply([record(0, *RECORDS[what]), record(1, b"acct_1/cus_1", NEXT, b"{}")])
        assert (report.parked, report.applied) == (1, 1)
    finally:
        await pool.close()
