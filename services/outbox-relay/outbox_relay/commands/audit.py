"""Whether what arrived is what was written: hourly and cheap by sums, or of everything, row by row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace import topics
from millrace.errors import Retryable
from millrace.postgres import Connection
from outbox_relay import store
from outbox_relay.commands.records import Readers, everything, readers
from outbox_relay.commands.watch import MAIN, standing
from outbox_relay.domain.audit import (
    Compared,
    Difference,
    Facts,
    Met,
    Place,
    Sums,
    Trail,
    compared,
    judged,
    met,
)
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.tally import Tally
from outbox_relay.store import audits
from outbox_relay.store.audits import Offsets, Run, Shelf, Window

Moved = Callable[[int, int], object]  # so many records further, of about so many

AT_ONCE = 200_000  # rows in memory, and as many records
KEPT = {
    topic.name: timedelta(days=topic.retention_days) for topic in topics.TOPICS if topic.policy == "delete"
}
COMPACTED = frozenset(topic.name for topic in topics.TOPICS if topic.policy == "compact")
OWN = (topics.RELAY_CURSOR, topics.dead_letter("outbox-relay"))  # what the relay writes of itself: of no row
NEWS = tuple(topic.name for topic in topics.TOPICS if topic.name not in (*OWN, topics.RELAY_HEARTBEAT))


@dataclass(frozen=True, slots=True)
class Audit:
    """What a run found. Units: `rows` that were to be published, `records` that a reader sees of them."""

    lane: Lane
    since: datetime | None  # of a full run; None: from the last run that was ok
    upto: Cursor
    rows: int
    records: int
    parked: int  # rows of the lane in quarantine: neither missing nor published
    differences: tuple[Difference, ...]
    offsets: Offsets
    run: int | None = None  # where it is written down

    @property
    def ok(self) -> bool:
        return not self.differences

    @property
    def missing(self) -> list[int]:
        """What `replay --ids` mends."""
        return sorted(row for found in self.differences for row in found.missing)

    def counts(self) -> dict[str, int]:
        """As they are written down."""
        found = self.differences
        return {
            "row_count": self.rows, "records": self.records, "parked": self.parked,
            "missing": sum(len(it.missing) for it in found),
            "strange": sum(len(it.strange) + len(it.strangers) for it in found),
            "doubled": sum(len(it.doubled) for it in found),
            "changed": sum(len(it.changed) for it in found),
            "gaps": sum(it.gaps for it in found), "inverted": sum(it.inverted for it in found),
        }  # fmt: skip


async def audit(
    connection: Connection,
    kafka: str,
    lane: Lane = MAIN,
    *,
    since: datetime | None = None,
    prefix: str = topics.RELAY_CURSOR,
    accepted: str | None = None,
    moved: Moved = lambda _, __: None,
) -> Audit | None:
    """Compare what was to be published with what a reader sees; None when nothing has been published yet.

    Without `since` it goes from the last run that was ok to the cursor of now, and is written down; with
    `accepted`, what it finds is let be, and the next run begins behind it.
    Writes: a row of outbox.audited, unless `since` is given.
    Raises: Retryable when the cursor belongs to another database, or a transaction is open for too long.
    """
    upto = await standing(connection, kafka, lane, prefix)
    if upto is None:
        return None
    await _belongs(connection, upto)
    before = None if since else await audits.last(connection, lane, ok=True)
    after = before.cursor if before and not _elsewhere(before.cursor, upto) else None
    window = Window(lane, after, upto, since)
    async with readers(kafka) as both:
        found = await _Run(connection, both, window, before, moved).compare()
    return found if since else await _written(connection, found, accepted)


async def _belongs(connection: Connection, cursor: Cursor) -> None:
    identity, _ = await store.identified(connection)
    if identity != cursor.identity:
        raise Retryable(
            f"the cursor belongs to another history than this database ({identity}): see relay rebase"
        )


def _elsewhere(before: Cursor, upto: Cursor) -> bool:
    """Whether ids and transactions of before mean other rows now; a promoted standby's do not."""
    return replace(before.identity, timeline=upto.identity.timeline) != upto.identity


async def _written(connection: Connection, found: Audit, accepted: str | None) -> Audit:
    counts = list(found.counts().values())
    run = await audits.write(connection, found.lane, found.upto, found.offsets, counts, accepted)
    return replace(found, run=run)


class _Run:
    """One comparison, partition by partition: first the sums, then the rows of what differs."""

    def __init__(
        self, connection: Connection, both: Readers, window: Window, before: Run | None, moved: Moved
    ) -> None:
        self.connection, self.both, self.window = connection, both, window
        self.before, self.moved = before, moved
        self.trails: dict[Place, Trail] = {}
        self.starts: dict[Place, int] = {}
        self.shrunk: set[Place] = set()  # made anew since the last run

    async def compare(self) -> Audit:
        wanted = await audits.sums(self.connection, self.window)
        self.total = sum(sums.rows for sums in wanted.values())
        self.starts = await self._starts()
        self.trails = {place: self._trail(place) for place in self.starts}
        if not self._by_row:
            await self.both.follow(self.trails, self.starts, self._progress)
        shelves: set[Shelf] = {*wanted, *self.trails}
        doubtful = [shelf for shelf in shelves if not self._agrees(shelf, wanted.get(shelf, Sums()))]
        return await self._account([it async for it in self._differences(doubtful) if it])

    async def _account(self, differences: list[Difference]) -> Audit:
        window = self.window
        return Audit(
            window.lane, window.since, window.upto,
            rows=self.total,
            records=sum(it.sums.rows for it in self.trails.values()),
            parked=sum((await audits.parked(self.connection, window.lane)).values()),
            differences=tuple(sorted(differences, key=lambda it: (it.topic, it.partition))),
            offsets=_offsets(self.trails),
        )  # fmt: skip

    def _progress(self, records: int) -> None:
        self.moved(records, self.total)

    def _agrees(self, shelf: Shelf, wanted: Sums) -> bool:
        topic, number = shelf
        trail = None if number is None else self.trails.get((topic, number))
        return not self._by_row and trail is not None and trail.agrees(wanted)

    async def _differences(self, doubtful: Sequence[Shelf]) -> AsyncIterator[Difference]:
        """Row by row, where the sums differ; as many partitions at once as fit into memory."""
        left, batch = set(doubtful), dict[Shelf, dict[int, int]]()
        if left:
            async for shelf, wanted in audits.rows(self.connection, self.window, doubtful):
                left.discard(shelf)
                batch[shelf] = wanted
                if sum(map(len, batch.values())) > AT_ONCE:
                    async for difference in self._looked_into(batch):
                        yield difference
                    batch = {}
        async for difference in self._looked_into({**batch, **{shelf: {} for shelf in left}}):
            yield difference

    @property
    def _by_row(self) -> bool:
        """Sums tell nothing where the window's edge is a time, or a later generation published rows again."""
        return bool(self.window.since) or self._anew

    @property
    def _anew(self) -> bool:
        return self.before is not None and self.before.cursor.generation != self.window.upto.generation

    async def _starts(self) -> dict[Place, int]:
        """Where the reading of each partition that the lane owns begins, of the topics that exist."""
        lane, pseq = self.window.lane, self.window.upto.pseq
        known = await self.both.partitions(set(pseq) - set(OWN))
        places = [
            (t, n) for t, numbers in known.items() for n in numbers if lane.owns(n) and n < len(pseq[t])
        ]
        bounds = await self.both.bounds(places)
        if since := self.window.since:
            marks = await self.both.written_since(places, since)
            return {place: bounds[place].end if (at := marks[place]) is None else at for place in places}
        offsets = self.before.offsets if self.before else {}
        wished = {(topic, n): offsets.get(topic, {}).get(n, 0) for topic, n in places}
        self.shrunk = {place for place in places if wished[place] > bounds[place].end}
        return {
            p: bounds[p].first if p in self.shrunk else max(at, bounds[p].first) for p, at in wished.items()
        }

    def _trail(self, place: Place, *, keep: bool = False) -> Trail:
        return Trail(
            self.window.lane.database,
            last=self._last(place),
            until=self.window.upto.pseq[place[0]][place[1]],
            torn_before=place in self.shrunk,
            keep=keep,
        )

    def _last(self, place: Place) -> int | None:
        """The number before the first that is owed; None where nobody knows it."""
        topic, number = place
        if self.before:
            return dict(enumerate(self.before.cursor.pseq.get(topic, ()))).get(number, 0)
        return None if self.window.since or self.starts[place] else 0

    async def _looked_into(self, batch: Mapping[Shelf, Mapping[int, int]]) -> AsyncIterator[Difference]:
        """A topic that is not there has lost every row."""
        wanted = {(topic, -1 if number is None else number): rows for (topic, number), rows in batch.items()}
        trails = {place: self._trail(place, keep=True) for place in wanted if place in self.trails}
        await self.both.follow(trails, self.starts, self._progress if self._by_row else lambda _: None)
        self.trails.update(trails)
        for place, rows in wanted.items():
            if trail := trails.get(place):
                yield await self._judged(place, trail, rows)
            else:
                yield Difference(*place, missing=sorted(rows))

    async def _judged(self, place: Place, trail: Trail, wanted: Mapping[int, int]) -> Difference:
        records = [record for record in trail.kept if not self._foreign(record)]
        them = compared(wanted, records)
        trail.kept.clear()
        return judged(place, trail, them, await self._facts(place[0], them, records))

    def _foreign(self, record: Met) -> bool:
        """In another database, the ids of before the change belong to other rows."""
        moved = self.before is not None and self.window.after is None
        return moved and record.generation != self.window.upto.generation

    async def _facts(self, topic: str, them: Compared, records: Sequence[Met]) -> Facts:
        upto, compacted = self.window.upto, topic in COMPACTED
        forgets = datetime.now(UTC) - KEPT[topic] if topic in KEPT else None
        excused = await audits.excused(
            self.connection, them.missing, upto, compacted=compacted, forgets=forgets
        )
        if (
            self.before and self.window.after is None
        ):  # the lane may have been told to begin later than at row 1
            first = min((record.row for record in records if record.row), default=None)
            excused |= {row for row in them.missing if first is None or row < first}
        before = {
            row for row, old in (await audits.known(self.connection, self.window, them.extra)).items() if old
        }
        rightful = {row for row in before if self._rightful(them.extra[row])}
        kept = await store.kept(self.connection, self.window.lane)
        return Facts(excused, rightful, before - rightful, compacted, repeats=bool(kept and kept.counts))

    def _rightful(self, generation: int) -> bool:
        """Whether a record of a row from before the window may be here."""
        after = self.window.after
        return after is None or generation > after.generation


def _offsets(trails: Mapping[Place, Trail]) -> Offsets:
    offsets: dict[str, dict[int, int]] = {}
    for (topic, number), trail in trails.items():
        offsets.setdefault(topic, {})[number] = trail.start or 0
    return offsets


async def published(
    kafka: str, connection: Connection, carried: Sequence[str] = NEWS, lane: Lane = MAIN
) -> dict[str, Any]:
    """Everything a `read_committed` reader sees of an outbox, held against everything that is committed there.

    `missing` rows are in no topic, `strange` records have no row, `duplicates` came more than once, `gaps` are
    breaks in a partition's numbering. `inversions` are records of a key whose ids do not grow: none where
    writers lock the key before they insert; where they do not, ids need not follow the commits. `parked` rows stand
    in quarantine, and replayed records are what an operator published again: both are counted apart.
    """
    tally, replays = Tally(), 0
    async for record in everything(kafka, carried):
        it = met(record.offset, record.headers, record.value)
        replays += it.replay
        if not it.replay and it.database == lane.database:
            tally.add(record.topic, record.partition, record.key, it.row, it.pseq)
    rows = await store.committed(connection)
    parked = await audits.parked(connection, Lane(lane.database))  # of the whole outbox, whatever its shards
    strange = {
        row for row in tally.ids.keys() - rows if row >= min(rows, default=0)
    }  # older days were dropped
    return {
        "rows": len(rows),
        "missing": len(rows - parked.keys() - tally.ids.keys()),
        "strange": len(strange) + tally.strangers,
        "parked": sum(parked.values()),
        "replays": replays,
        "topics": {name: asdict(counts) for name, counts in sorted(tally.topics.items())},
        **tally.totals(),
    }
