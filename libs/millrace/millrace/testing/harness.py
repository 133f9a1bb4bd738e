"""A consumer between a bus and a place to keep things: everything that happens to it in production, on demand."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from millrace.consumer import Batches, Each, Fold, Judged, Record, Report, Rest
from millrace.consumer.record import Partition
from millrace.consumer.store import Store
from millrace.events import Event
from millrace.events.ours import DeadLetter
from millrace.postgres import Pool
from millrace.testing.bus import Bus
from millrace.testing.memory import Memory, in_memory
from millrace.testing.witness import Crashed, Witness, WitnessedStore


class Harness:
    """Runs a `Fold` or an `Each` over a bus, by the very code that runs it in production; only Kafka is replaced.

    Without a pool everything is kept in memory: a fold's states in `states`; the handlers of an `Each` get `tx`,
    an object of yours that understands what they say to it. With a pool on a migrated PostgreSQL they get the real one.
    `limits` go to `Batches`: dead_letters_max, retry_seconds, …
    """

    def __init__(
        self,
        consumer: Fold[Any, Any] | Each,
        *,
        pool: Pool | None = None,
        tx: Any = None,
        bus: Bus | None = None,
        batch_max: int = 500,
        **limits: Any,
    ) -> None:
        if isinstance(consumer, Each) and pool is None and tx is None:
            raise TypeError("handlers write to something: give tx=…, an object of yours, or pool=…")
        self.bus, self.pool, self.batch_max, self.limits = bus or Bus(), pool, batch_max, limits
        self.now = 0.0
        self.witness = Witness()
        self.store: Store = Memory(tx, lambda: self.now) if pool is None else Store(pool, consumer.name)
        self.positions: dict[Partition, int] = {}
        self.resting: Mapping[Partition, Rest] = {}
        self.deploy(consumer)

    def deploy(self, consumer: Fold[Any, Any] | Each) -> None:
        """A new process, perhaps of another version: what was committed is all it knows."""
        self.consumer = in_memory(consumer, self.store) if isinstance(self.store, Memory) else consumer
        store = WitnessedStore(self.store, self.witness)
        self.batches = Batches(self.pool, self.consumer, store=store, **self.limits)  # type: ignore[arg-type]
        self.batches.clock = lambda: self.now
        self.resting = {}

    # --- what happens to it ---

    async def run(self, *events: Event, topic: str = "") -> Report:
        """Send these, then apply what the bus has, to its end. What has to rest is left for the next run."""
        self.bus.send(*events, topic=topic)
        self.resting, total = {}, Report()
        while records := [r for r in self.bus.after(self.positions) if not self._rests(r)][: self.batch_max]:
            report = await self.batches.apply(records)
            self.positions.update(report.ends)
            self.resting = {**self.resting, **report.resting}
            total += report
        return total

    def _rests(self, record: Record) -> bool:
        return (record.topic, record.partition) in self.resting

    async def redeliver(self) -> Report:
        """Everything on the bus once more, as after lost offsets."""
        self.positions = {}
        return await self.run()

    async def redrive(self, key: str | None = None) -> Report:
        """Judge what is parked again, of one record key or all: an operator's redrive."""
        return await self.batches.redrive(key)

    async def crash(self, at: int) -> bool:
        """Run, die at the n-th await of its transactions, and start anew; False when the run had fewer.

        Before and after each statement is an await, before and after each commit as well: what dies after a
        commit has not told Kafka, so that the same records come again.
        """
        self.witness.fuse = at
        try:
            await self.run()
        except Crashed:
            self.deploy(self.consumer)
            return True
        finally:
            self.witness.fuse = 0
        return False

    async def crash_everywhere(self) -> int:
        """Die at the first await, then at the second, and so on, until a run comes to its end; returns how often."""
        for at in itertools.count(1):
            if not await self.crash(at):
                return at - 1
        raise AssertionError

    def wait(self, seconds: float) -> None:
        """Let time pass: what rests for too long is parked at the next run."""
        self.now += seconds

    # --- what came of it ---

    @property
    def judged(self) -> Mapping[str, Judged]:
        """Event id → what became of it last; a record that cannot be read is named by its place."""
        return self.witness.judged

    @property
    def outcomes(self) -> dict[str, str]:
        """Event id → `applied`, `noop`, or `parked` with its status: `parked poison`, `parked behind`, …"""
        return {id: f"{j.outcome} {j.status}".strip() for id, j in self.judged.items()}

    @property
    def reasons(self) -> dict[str, str]:
        """Event id → the sentence that says why."""
        return {id: j.reason for id, j in self.judged.items()}

    @property
    def parked(self) -> list[Judged]:
        """What is parked now."""
        return [j for j in self.judged.values() if j.status]

    @property
    def published(self) -> list[Event]:
        """What it has published, in order, without the notices of parked events."""
        return [event for event in self.witness.published if event.type != DeadLetter.TYPE]

    @property
    def notices(self) -> list[Event]:
        """The notices of parked events."""
        return [event for event in self.witness.published if event.type == DeadLetter.TYPE]

    @property
    def states(self) -> dict[str, Any]:
        """Key → state of a fold in memory."""
        if isinstance(self.consumer, Each) or not isinstance(self.store, Memory):
            raise TypeError(
                "only a fold in memory has states: look into its tables, or into what you gave as tx"
            )
        return self.store.tables.states
