"""The poison drill: what parks, what halts, what flows; and a redrive leaves no trace of it.

Twenty events of four keys, of two types, in two partitions. In each row something is wrong with some of them.
`parked` are those that are to blame, `behind` those that wait behind them, everything else is applied.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import pytest

from millrace import postgres
from millrace.consumer import Applied, Batches, DeadLetterLimit, Decision, Each, Fold, Record, read
from millrace.errors import Poison
from millrace.events import Event, headers
from millrace.events.ours import DunningTimerDue
from millrace.postgres import Pool, Transaction
from tests.support import tally
from tests.support.database import Database, MakeDatabase
from tests.support.tally import Tally, event

KEYS = ("a", "b", "c", "d")
LIMIT = 15  # of what may be parked in an hour: the drill has 20 events


def stream() -> list[Event]:
    """e00 adds to a, e01 to b … and every fifth is of another type, which adds as well."""
    return [event("plus" if n % 5 == 4 else "add", f"e{n:02}", of=KEYS[n % 4]) for n in range(20)]


Spoil = Callable[[Record], Record]
Break = Callable[[Event], None]


def spoilt(*ids: str, **changed: Any) -> Spoil:
    """These events, with another value or without some headers."""

    def spoil(record: Record) -> Record:
        if record.event is None or record.event.id not in ids:
            return record
        named = {**record.headers, **changed.get("headers", {})}
        kept = {name: raw for name, raw in named.items() if raw}
        key = changed.get("key", record.key)
        value = changed.get("value", record.value)
        return read(record.topic, record.partition, record.offset, key, kept.items(), value)

    return spoil


def bug(wrong: Callable[[Event], bool], problem: Callable[[], Exception] = ZeroDivisionError) -> Break:
    def broken(e: Event) -> None:
        if wrong(e):
            raise problem()

    return broken


def nothing(_: Any) -> Any:
    """All is well."""


@dataclass(frozen=True)
class Row:
    """What is wrong, and what comes of it."""

    told: str
    spoil: Spoil = lambda record: record
    broken: Break = nothing
    parked: Sequence[str] = ()
    behind: Sequence[str] = ()
    halts: bool = False
    status: str = "poison"
    reason: str = ""
    unordered: bool = False


OTHER = [f"e{n:02}" for n in range(4, 20, 5)]  # of the other type: one of each key
BEHIND_OTHER = ["e08", "e12", "e13", "e16", "e17", "e18"]
A = [f"e{n:02}" for n in range(0, 20, 4)]
DUE = DunningTimerDue.schema_id().removesuffix("1").encode()

DRILL = [
    Row("nothing is wrong"),
    Row("the value is not UTF-8", spoilt("e08", value=b"\xff\xfe"), parked=["e08"], behind=["e12", "e16"],
        reason="value is not JSON: "),
    Row("the value is not JSON", spoilt("e08", value=b"{"), parked=["e08"], behind=["e12", "e16"],
        reason="value is not JSON: "),
    Row("the value is JSON, but no object", spoilt("e08", value=b"[8]"), parked=["e08"], behind=["e12", "e16"],
        reason="value is not a JSON object but list"),
    Row("the value is empty", spoilt("e08", value=b""), parked=["e08"], behind=["e12", "e16"],
        reason="value is not JSON: "),
    Row("a version that nobody knows",
        spoilt("e08", headers={"ce_type": DunningTimerDue.TYPE.encode(), "ce_dataschema": DUE + b"99"}),
        parked=["e08"], behind=["e12", "e16"], reason="ce_dataschema 'millrace/dunning.timer.due/99' of "),
    Row("a header is missing", spoilt("e08", headers={"ce_id": b""}), parked=["test/0/8"], behind=["e12", "e16"],
        reason="ce_id is missing: not a record of ours"),
    Row("a header is not UTF-8", spoilt("e08", headers={"ce_subject": b"\xff"}), parked=["test/0/8"],
        behind=["e12", "e16"], reason="ce_subject is not UTF-8"),
    Row("the key is missing", spoilt("e08", key=None), parked=["test/0/8"], reason="record has no key"),
    Row("the body is not what it should be", spoilt("e08", value=b'{"amount": "two"}'), parked=["e08"],
        behind=["e12", "e16"], reason="amount is not a whole number"),
    Row("the database refuses what the body says", spoilt("e08", value=b'{"amount": 5000}'), parked=["e08"],
        behind=["e12", "e16"], status="failed", reason="CheckViolationError tally_total_check"),
    Row("a type that concerns nobody here", spoilt("e08", value=b"\xff", headers={"ce_type": b"stripe.unheard.of"})),
    Row("a bug for one key", broken=bug(lambda e: e.subject == "a"), parked=["e00"], behind=A[1:], status="failed",
        reason="ZeroDivisionError at consumer/test_poison.py:"),
    Row("a bug for one key, where order is no matter", broken=bug(lambda e: e.subject == "a"), parked=A,
        status="failed", reason="ZeroDivisionError at ", unordered=True),
    Row("a bug for one type", broken=bug(lambda e: e.type == "stripe.plus"), parked=OTHER, behind=BEHIND_OTHER,
        status="failed", reason="ZeroDivisionError at "),
    Row("a handler says that it is poison", broken=bug(lambda e: e.id == "e08", lambda: Poison("8 is unlucky")),
        parked=["e08"], behind=["e12", "e16"], reason="8 is unlucky"),
    Row("a bug for everything", broken=bug(lambda e: True), halts=True, unordered=True),
]  # fmt: skip


def fold(row: Row) -> Fold[Tally, None]:
    def add(state: Tally | None, e: Event, rules: None) -> Decision[Tally]:
        row.broken(e)
        return tally.add(state, e, rules)

    apply = dict.fromkeys(("stripe.add", "stripe.plus", DunningTimerDue.TYPE), add)
    return replace(tally.fold(ordered=not row.unordered), apply=apply)


def each(row: Row) -> Each:
    async def add(tx: Transaction, e: Event) -> str:
        row.broken(e)
        before = await tally.load(tx, [e.subject])
        decision = tally.add(before.get(e.subject), e, None)
        assert decision.state is not None
        await tally.save(tx, [Applied(e.subject, e, decision.state, "")])
        return decision.reason

    handlers = dict.fromkeys(("stripe.add", "stripe.plus", DunningTimerDue.TYPE), add)
    return Each("tally", handlers, ordered=not row.unordered)


Make = Callable[[Row], Fold[Tally, None] | Each]


class Ground:
    """A database, and what a consumer did to it."""

    def __init__(self, pool: Pool, owner: asyncpg.Connection) -> None:
        self.pool, self.owner = pool, owner

    async def deliver(self, make: Make, row: Row) -> None:
        records = [self.carried(place, e) for place, e in enumerate(stream())]
        batches = Batches(self.pool, make(row), dead_letters_max=LIMIT)
        for start in range(0, 20, 7):
            await batches.apply([row.spoil(record) for record in records[start : start + 7]])

    def carried(self, place: int, e: Event) -> Record:
        named = [(name, text.encode()) for name, text in headers(e).items()]
        return read("test", place % 2, place, e.key.encode(), named, json.dumps(e.data).encode())

    async def clear(self) -> None:
        tables = (
            "tally.tally",
            "tally.processed_events",
            "tally.parked_event",
            "tally.progress",
            "outbox.event",
        )
        await self.owner.execute(";".join(f"delete from {table}" for table in tables))

    async def outcomes(self) -> dict[str, str]:
        found = await self.owner.fetch(
            "select p.event_id, coalesce(k.status, p.outcome) from tally.processed_events p"
            " left join tally.parked_event k using (source, event_id)"
        )
        return {row[0]: row[1] for row in found}

    async def reasons(self, status: str) -> set[str]:
        found = "select reason from tally.parked_event where status = $1"
        return {row[0] for row in await self.owner.fetch(found, status)}

    async def mend(self) -> None:
        """Somebody puts right what came wrong, as far as a body or a header of it can be."""
        sent = {e.id: e for e in stream()}
        for row in await self.owner.fetch("select id, event_id from tally.parked_event where source <> ''"):
            e = sent[row["event_id"]]
            await self.owner.execute(
                "update tally.parked_event set value = $2, headers = $3 where id = $1",
                row["id"], json.dumps(e.data).encode(), json.dumps(headers(e)),
            )  # fmt: skip

    async def state(self) -> list[Any]:
        """The tallies, what became of every event and why, and what was published."""
        return [
            [tuple(row) for row in await self.owner.fetch(query)]
            for query in (
                "select key, applied, total from tally.tally order by key",
                "select event_id, outcome, reason, topic, partition, kafka_offset"
                "  from tally.processed_events order by event_id",
                "select topic, headers->>'ce_id', payload from outbox.event"
                "  where topic not like '%dead-letter' order by 2",
                "select * from tally.parked_event",
            )
        ]


@pytest.fixture
async def ground(database: MakeDatabase) -> AsyncIterator[Ground]:
    db: Database = await database(tally.SCHEMA)
    pool, owner = await postgres.pool(db.dsn(tally.SCHEMA)), await asyncpg.connect(db.owner)
    await owner.execute("set session_replication_role = replica")  # past the triggers that forbid to forget
    yield Ground(pool, owner)
    await owner.close()
    await pool.close()


@pytest.mark.parametrize("make", [fold, each], ids=["fold", "each"])
async def test_what_parks_what_halts_and_what_flows(make: Make, ground: Ground) -> None:
    await ground.deliver(make, DRILL[0])
    well = await ground.state()
    for row in DRILL[1:]:
        await ground.clear()
        if row.halts:
            with pytest.raises(DeadLetterLimit, match=f"could not be applied, {LIMIT} may be"):
                await ground.deliver(make, row)
            parked = await ground.outcomes()
            assert set(parked.values()) <= {"failed"}, row.told
            assert len(parked) <= LIMIT, row.told
            continue
        await ground.deliver(make, row)
        outcomes = await ground.outcomes()
        names = {id: status for id, status in outcomes.items() if status not in ("applied", "noop")}
        expected = {**dict.fromkeys(row.parked, row.status), **dict.fromkeys(row.behind, "behind")}
        assert names == expected, row.told
        assert len(outcomes) == 20, row.told
        assert all(reason.startswith(row.reason) for reason in await ground.reasons(row.status)), row.told
        if row.parked and "test/0/8" not in row.parked:  # what has no name cannot be put right in its place
            await ground.mend()
            await Batches(ground.pool, make(DRILL[0])).redrive()
            found = await ground.state()
            assert found == _in_order(well, row, found), row.told


def _in_order(expected: list[Any], row: Row, found: list[Any]) -> list[Any]:
    """What is expected, but for the order of a key where the row says that order is no matter."""
    if not row.unordered:
        return expected
    tallies = [(key, sorted(ids), total) for key, ids, total in found[0]]
    assert tallies == expected[0]
    return [found[0], *expected[1:]]
