"""Rows that cannot go, beside the stream: they are kept aside, those behind them flow on, and operators decide.

row unfit ──▶ parked ── retry ──▶ tried again ──▶ published
                 ▲                    │ still unfit
                 │◀───────────────────┘
                 └───── drop ──▶ dropped

What holds, whatever dies:
- A row is in quarantine before the Kafka transaction that steps over it; that one carries the notice.
- A decision is carried out by one Kafka transaction, whose cursor carries its number. What the table says about it
  beforehand is what the transaction does, and afterwards is marked: again, if need be, by the next term.
- A decision waits until the pages with its rows are published, and a row of a blocked key until every earlier one
  of its key has gone: rows of one key keep their order on this way too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

from outbox_relay import metrics
from outbox_relay.domain.cursor import Cursor, Position
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.page import TOPIC_REASONS, Knowledge, Page, Parked, Plan, Row, Rules, plan
from outbox_relay.domain.quarantine import NOTICES, Narrowing, narrowed, notices, sent, stepped_over
from outbox_relay.publisher import Publisher, Rejected
from outbox_relay.store.claims import claim
from outbox_relay.store.quarantine import Decided, Shelf
from outbox_relay.store.threads import worked

log = logging.getLogger("outbox_relay")

LOOK_SECONDS = 1.0  # between two looks for decisions
REDRIVE_ROWS, REDRIVE_BYTES = 500, 8 << 20  # in one transaction


class Quarantine:
    """Decides what becomes of the rows of a lane. It outlives a term, each of which has a session of its own.

    planned()   rows as records; what cannot go is parked, what is too large is claimed, before this returns
    decided()   the next decision as records and the cursor that covers it; None when there is none to carry out
    settled()   after that cursor is committed
    refused()   after the broker has refused a plan's records: next time less is tried, or the one row is parked
    """

    def __init__(
        self, lane: Lane, shelf: Callable[[], AbstractAsyncContextManager[Shelf]], rules: Rules
    ) -> None:
        self.lane, self.rules = lane, rules
        self._open = shelf
        self._shelf: Shelf | None = None
        self.narrowing: Narrowing | None = None
        self.rejected: dict[int, str] = {}  # rows that the broker refused when they were alone
        self._missing: dict[str, float] = {}  # topic → since when it has been waited for
        self._forget()

    def _forget(self) -> None:
        """What a term has learned, its successor reads again."""
        self._parked: dict[int, str] = {}
        self._dropped: set[int] = set()
        self._blocked: set[tuple[str, str]] = set()
        self._room, self._looked = 0, 0.0

    @asynccontextmanager
    async def term(self, cursor: Cursor) -> AsyncIterator[None]:
        """Open for one term. Writes: what the term before carried out and could not mark any more."""
        async with self._open() as self._shelf:
            self._forget()
            await self._mark(cursor)
            for row_id, (reason, status) in (await self._shelf.known(cursor.position)).items():
                if status in ("drop", "dropped"):
                    self._dropped.add(row_id)
                else:
                    self._parked[row_id] = reason
            try:
                yield
            finally:
                metrics.quarantined(str(self.lane), {})  # for its next leader to tell

    @property
    def due(self) -> bool:
        """Whether it is time to look for decisions; no page should be read ahead then."""
        return time.monotonic() - self._looked > LOOK_SECONDS

    def narrowed(self, page: Page, position: Position) -> Page:
        """As much of a page as is tried at once."""
        return self.narrowing.cut(page, position) if self.narrowing else page

    async def planned(self, rows: Sequence[Row], cursor: Cursor, publisher: Publisher) -> Plan:
        """Rows after a cursor as records. Writes: claims, and rows that are parked."""
        known = await self._knowledge(rows, cursor, publisher)
        made = await self._claimed(rows, known)
        self._wait_for_topics(made)
        if made.parked:
            await self.shelf.park(made.parked)
            await self._announce(made, cursor, publisher)
            self._remember(made.parked)
        return made

    async def _knowledge(self, rows: Sequence[Row], cursor: Cursor, publisher: Publisher) -> Knowledge:
        now = time.monotonic()
        return Knowledge(
            outbox=f"{self.lane}@{cursor.generation}",
            shards=self.lane.shards,
            partitions=await publisher.partitions({row.topic for row in rows}),
            pseq=cursor.pseq,
            parked={**self._parked, **self.rejected},
            dropped=self._dropped,
            blocked=self._blocked,
            given_up={t for t, since in self._missing.items() if now - since >= self.rules.topic_seconds},
            room=self._room,
        )

    async def _claimed(self, rows: Sequence[Row], known: Knowledge) -> Plan:
        made = await worked(len(rows), 0, plan, rows, self.rules, known)
        if not made.unclaimed:
            return made
        claims = await claim(self.shelf.connection, self.lane.database, made.unclaimed)
        return await worked(len(rows), 0, plan, rows, self.rules, replace(known, claims=claims))

    def _wait_for_topics(self, made: Plan) -> None:
        for topic in made.published:
            self._missing.pop(topic, None)
        if made.held and made.held.reason in TOPIC_REASONS:
            self._missing.setdefault(made.held.topic, time.monotonic())

    async def _announce(self, made: Plan, cursor: Cursor, publisher: Publisher) -> None:
        """Add the notices. Without their topic there are none: the rows in quarantine are what counts."""
        for reason in {parked.reason for parked in made.parked}:
            ids = [parked.row.id for parked in made.parked if parked.reason == reason]
            log.error("rows parked", extra={"lane": str(self.lane), "reason": reason, "outbox_ids": ids[:20]})
            metrics.PARKED.labels(str(self.lane), reason).inc(len(ids))
        count = (await publisher.partitions([NOTICES])).get(NOTICES)
        if not count:
            log.warning("no notice of parked rows: the topic is missing", extra={"topic": NOTICES})
            return
        outbox = f"{self.lane}@{cursor.generation}"
        for number, records in notices(made.parked, outbox, count, datetime.now(UTC)).items():
            made.batches[NOTICES, number] = records

    def _remember(self, parked: Sequence[Parked]) -> None:
        """Later pages of this term build on it: they are planned before this one is published."""
        self._room -= sum(one.row.id not in self._parked for one in parked)
        for row, reason in parked:
            self._parked[row.id] = reason
            self.rejected.pop(row.id, None)
            if row.topic in self.rules.block:
                self._blocked.add((row.topic, row.key))

    def passed(self, made: Plan) -> None:
        """A page is published: the search for a refused row goes on behind it."""
        if self.narrowing:
            self.narrowing = self.narrowing.passed(made.published.get(self.narrowing.topic, 0))

    async def refused(self, made: Plan, refusal: Rejected, decision: int | None = None) -> None:
        """The broker took none of a plan's records, because of some in this topic. What is none of ours to mend,
        such as a cursor that is refused, changes nothing here."""
        ids = sent(made, refusal.topic)
        if len(ids) == 1:
            self.rejected[ids[0]], self.narrowing = "rejected", None
        elif ids and decision is not None:
            await self.shelf.split(decision, ids[len(ids) // 2])
        elif ids:
            self.narrowing = narrowed(self.narrowing, refusal.topic, len(ids))

    async def decided(self, cursor: Cursor, publisher: Publisher) -> tuple[Plan, Cursor] | None:
        """The next decision, ready to be published. Writes: claims, and rows that are parked again."""
        if not self.due:
            return None
        await self._look()
        decision = await self.shelf.next_decision(cursor.redriven)
        if decision is None:
            return None
        found = await self.shelf.decided(decision, REDRIVE_ROWS, REDRIVE_BYTES, self.rules.record_bytes)
        if not stepped_over(cursor.position, [*((row.id, row.xid) for row in found.retry), *found.drop]):
            return None
        made = await self._planned_again(found, cursor, publisher)
        return made, replace(cursor, pseq=made.pseq, redriven=decision)

    async def _planned_again(self, found: Decided, cursor: Cursor, publisher: Publisher) -> Plan:
        """Rows of a decision as records. No topic is waited for: whoever decided can decide again."""
        known = replace(
            await self._knowledge(found.retry, cursor, publisher),
            parked=self.rejected,
            dropped=frozenset(),
            blocked={place for place in found.blocked if place[0] in self.rules.block},
            given_up={row.topic for row in found.retry},
            room=len(found.retry),
        )
        made = await self._claimed(found.retry, known)
        if made.parked:
            await self.shelf.park_again(made.parked)
            await self._announce(made, cursor, publisher)
            for row, _ in made.parked:
                self.rejected.pop(row.id, None)
        return made

    async def settled(self, cursor: Cursor) -> None:
        """A decision is in Kafka. Writes: what became of its rows; those that waited behind them are let go."""
        await self._mark(cursor)
        self._looked = 0.0  # there may be another one

    async def _mark(self, cursor: Cursor) -> None:
        await self.shelf.carried_out(cursor.redriven)
        await self.shelf.release()
        await self._look()

    async def _look(self) -> None:
        """How full it is, and which keys stand still."""
        held = await self.shelf.open()
        self._room = self.rules.parked_max - sum(held.values())
        self._blocked = await self.shelf.blocked(self.rules.block)
        self._looked = time.monotonic()
        metrics.quarantined(str(self.lane), held)

    @property
    def shelf(self) -> Shelf:
        assert self._shelf is not None, "open a term first"
        return self._shelf
