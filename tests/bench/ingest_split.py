"""Where the door's CPU goes: each event through the steps in the server's order, each step by a stopwatch.

What the steps do not explain of a server's CPU per event is HTTP, the event loop, the queue and the metrics.
Units: microseconds an event, the median of many.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar, cast

import zstandard

from ingest import store
from ingest.domain import Arrival, Endpoint, Secret, Signed, admit, cards, document, signature
from millrace import postgres
from millrace.postgres import Connection
from millrace.sealing import DataKey, Place, Policy, Subject
from tests.bench.ingest_body import ACCOUNT, SECRET, body
from tests.bench.ingest_lanes import POLICY
from tests.support.database import Database

EVENTS = 3200
BATCH = 32  # about what one commit takes along at 64 connections
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
ENDPOINT = Endpoint("main", ACCOUNT, False, "", (Secret("bench", SECRET),))
KEY = DataKey(1, Subject(ACCOUNT), os.urandom(32))
WHOLE = ("all of the rules", "all of the row")  # told apart below

T = TypeVar("T")


class Stopwatch:
    """Calls a step, and remembers how long it took."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = defaultdict(list)

    def __call__(self, name: str, step: Callable[..., T], *words: object) -> T:
        began = time.perf_counter()
        found = step(*words)
        self.taken[name].append(1e6 * (time.perf_counter() - began))
        return found

    def medians(self) -> dict[str, float]:
        return {name: statistics.median(taken) for name, taken in self.taken.items()}


async def split(db: Database) -> dict[str, float]:
    """Step → its share. Writes: EVENTS events into the database."""
    policy, watch = Policy.read(POLICY), Stopwatch()
    rows = [passed(watch, policy, body(0, number, customers=2000)) for number in range(EVENTS)]
    steps = watch.medians()
    whole = sum(steps.pop(name) for name in WHOLE)
    return {**steps, "envelope and row": whole - sum(steps.values()), "SQL": await storing(db, rows)}


def passed(watch: Stopwatch, policy: Policy, raw: bytes) -> store.Row:
    """One event: through the rules and into its row as a whole, and once more step by step."""
    head = signed(raw)
    row = watch(WHOLE[1], store.row, watch(WHOLE[0], admitted, head, raw), KEY, policy)
    watch("HMAC", signature.verify, head, raw, ENDPOINT.secrets, AT)
    watch("card numbers", cards.cut, raw)
    watch("JSON, reading", document.read, raw)
    arrival = admitted(head, raw)
    place = Place("ingest.event", "raw", f"{ACCOUNT}/{arrival.event.id}")
    payload = watch("sealing the fields, JSON written", policy.seal, arrival.body, KEY, place.row)
    packed = watch("compression, what is stored", compress, raw)
    watch("sealing, the bytes", KEY.seal, place, packed)
    watch("compression, what is published", pack, payload)
    return row


compress = zstandard.ZstdCompressor(level=store.LEVEL, write_checksum=True).compress
pack = zstandard.ZstdCompressor(level=store.PACKING_LEVEL).compress


async def storing(db: Database, rows: Sequence[store.Row]) -> float:
    """What our side of the statement costs; PostgreSQL's is counted with PostgreSQL."""
    async with await postgres.pool(db.dsn(store.SCHEMA), size=1) as pool, pool.acquire() as connection:
        began = time.process_time()
        for start in range(0, len(rows), BATCH):
            await store.store(cast(Connection, connection), rows[start : start + BATCH])
        return 1e6 * (time.process_time() - began) / len(rows)


def signed(raw: bytes) -> Signed:
    head = signature.head(signature.sign(raw, SECRET, AT).encode(), AT)
    assert isinstance(head, Signed)
    return head


def admitted(head: Signed, raw: bytes) -> Arrival:
    found = admit(ENDPOINT, head, raw, now=NOW, trace="")
    assert isinstance(found, Arrival), found
    return found
