"""The transaction of a batch: effect, dedupe, audit and outgoing events commit together or not at all.

    apply(records)   one transaction; when the database refuses it, halves, until the one bad event has a name
    redrive(key)     parked events once more, in the order in which they were parked

Nothing here knows Kafka: the loop feeds it, and so do rebuilds and tests.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import asyncpg

from millrace import audit, outbox, topics
from millrace.consumer.decision import Each, Fold
from millrace.consumer.judge import BEHIND, FAILED, POISON, Judged, judge, key_of
from millrace.consumer.record import Record
from millrace.consumer.store import Store
from millrace.errors import Failure, Poison, Retryable
from millrace.events import Event
from millrace.events.ours import DeadLetter
from millrace.postgres import CUT_OFF, Pool, Series, Transaction, transaction
from millrace.telemetry import child_trace, describe

log = logging.getLogger("millrace.consumer")

TABLES: tuple[Series, ...] = (
    outbox.WRITES,
    audit.TABLE,
    Series("consumer", "millrace.migrations.consumer"),
)  # what every consumer's schema is built on

_EPOCH = datetime.fromtimestamp(0, UTC)  # the time of a record that cannot be read
BUG_TRIES = 3  # how often an exception of our own may be a passing one
DATA_ERRORS = ("22", "23")  # SQLSTATE classes that the data is to blame for: it would fail again
Condemned = Mapping[str, tuple[str, str]]  # place → (status, reason)
Partition = tuple[str, int]  # topic and number


@dataclass(frozen=True, slots=True)
class Rest:
    """Why a partition cannot go on yet. Units: `after`, seconds at least."""

    reason: str
    after: float


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a batch, and how far each partition has come: the offsets that may be committed.

    A partition that rests has come as far as `ends` says, or nowhere when it is not named there.
    """

    applied: int = 0
    noop: int = 0
    parked: int = 0
    duplicate: int = 0
    poisoned: int = 0  # of the parked: those that nothing in the stream will ever release
    ends: Mapping[Partition, int] = field(
        default_factory=dict, compare=False
    )  # the first offset not decided yet
    resting: Mapping[Partition, Rest] = field(default_factory=dict, compare=False)

    def __add__(self, other: Report) -> Report:
        counts = (getattr(self, name) + getattr(other, name) for name in COUNTS)
        return Report(*counts, {**self.ends, **other.ends}, {**self.resting, **other.resting})


COUNTS = ("applied", "noop", "parked", "duplicate", "poisoned")


class Batches:
    """Applies batches of records for one consumer.

    Writes: the consumer's own tables, processed_events, parked_event, audit, outbox rows: one transaction.
    Raises: Retryable when the world is not ready; nothing of the batch is kept then.
    Replay: a record that was applied before is a duplicate, and changes nothing.
    """

    def __init__(
        self, pool: Pool, consumer: Fold[Any, Any] | Each, *, schema: str | None = None, chain: str = ""
    ) -> None:
        self.pool, self.consumer = pool, consumer
        self.schema = schema or consumer.name
        self.chain = chain or consumer.name  # of the audit log: one a process, so that none waits for another
        self.store = Store(self.schema)

    async def apply(self, records: Sequence[Record]) -> Report:
        """Apply records, those of a partition in order. What cannot go on yet rests, and no other partition with it.

        All partitions share one transaction, which costs what one event costs; when the world is not ready for
        some of them, each has its own.
        """
        try:
            return replace(await self._settle(list(records), {}), ends=_ends(records))
        except Retryable as problem:
            by_partition = _by_partition(records)
            if len(by_partition) == 1:
                return Report(resting={next(iter(by_partition)): Rest(str(problem), problem.after)})
            report = Report()
            for part in by_partition.values():
                report += await self.apply(part)
            return report

    async def redrive(self, record_key: str | None = None) -> Report:
        """Judge parked events again, those of one record key or all."""
        async with transaction(self.pool) as tx:
            records = await self.store.parked(tx, record_key)
            return await self._write(tx, await self._judge(tx, records, set(), {}))

    async def _settle(self, records: list[Record], condemned: Condemned) -> Report:
        """One transaction, or, when the database refuses it, two of half the size."""
        problem: Exception
        for _ in range(BUG_TRIES):
            try:
                return await self._transact(records, condemned)
            except Retryable:
                raise
            except Exception as raised:
                problem = _classified(raised)
                if isinstance(problem, Retryable):
                    raise problem from raised
                if _for_sure(problem):
                    break
        if len(records) == 1:
            return await self._condemn(records[0], problem)
        middle = len(records) // 2
        first = await self._settle(records[:middle], condemned)
        return first + await self._settle(records[middle:], condemned)

    async def _condemn(self, record: Record, problem: Exception) -> Report:
        """Park the one record that was found to be the cause."""
        status = POISON if isinstance(problem, Poison) else FAILED
        log.error(
            "event parked",
            extra={"consumer": self.consumer.name, "place": record.place, "error": describe(problem)},
        )
        reason = str(problem) if isinstance(problem, Poison) else _named(problem)
        return await self._transact([record], {record.place: (status, reason)})

    async def _transact(self, records: list[Record], condemned: Condemned) -> Report:
        async with transaction(self.pool) as tx:
            fresh = await self.store.fresh(tx, records)
            held = await self.store.held(tx, fresh) if self.consumer.ordered else set()
            report = await self._write(tx, await self._judge(tx, fresh, held, condemned))
            return replace(report, duplicate=len(records) - len(fresh))

    async def _judge(
        self, tx: Transaction, records: list[Record], held: set[str], condemned: Condemned
    ) -> list[Judged]:
        if isinstance(self.consumer, Each):
            return await _handle(tx, self.consumer, records, held, condemned)
        return await self._fold(tx, self.consumer, records, held, condemned)

    async def _fold(
        self,
        tx: Transaction,
        fold: Fold[Any, Any],
        records: list[Record],
        held: set[str],
        condemned: Condemned,
    ) -> list[Judged]:
        keys = sorted({key for record in records if (key := key_of(fold, record))})
        states = dict(await fold.load(tx, keys)) if keys else {}
        waiting = await self.store.waiters(tx, keys) if keys else []
        verdict = judge(fold, fold.rules(), states, records, held=held, waiting=waiting, condemned=condemned)
        if verdict.changes:
            await fold.save(tx, verdict.changes)
        return verdict.judged

    async def _write(self, tx: Transaction, judged: list[Judged]) -> Report:
        await self.store.write(tx, judged)
        await audit.append(tx, self.schema, self.chain, list(_audited(self.consumer.name, judged)))
        await outbox.publish(tx, [m for j in judged for m in self._messages(j)])
        count = Counter(j.outcome for j in judged)
        return Report(
            applied=count["applied"],
            noop=count["noop"],
            parked=count["parked"],
            poisoned=sum(j.status in (POISON, FAILED) for j in judged),
        )

    def _messages(self, judged: Judged) -> list[outbox.Message]:
        """The effects of one judgement, or the notice that it was parked."""
        event, name = judged.record.event, self.consumer.name
        if judged.status in (POISON, FAILED, BEHIND) and judged.record.parked is None:
            return [outbox.Message(topics.dead_letter(name), _notice(name, judged))]
        if event is None:
            return []
        return [
            outbox.Message(payload.TOPIC, _caused(payload, event, name, place))
            for place, payload in enumerate(judged.effects)
        ]


async def _handle(
    tx: Transaction, each: Each, records: list[Record], held: set[str], condemned: Condemned
) -> list[Judged]:
    """Run a handler an event, by the same rules of order and parking as a fold."""
    done: list[Judged] = []
    for record in records:
        judged = _before(each, record, held, condemned)
        if judged is None and record.event:
            reason = await each.handlers[record.event.type](tx, record.event)
            judged = Judged(record, "applied", reason or "handled", record.event.key)
        if judged:
            done.append(judged)
            if judged.status and each.ordered and record.order_key:
                held.add(record.order_key)
    return done


def _before(each: Each, record: Record, held: set[str], condemned: Condemned) -> Judged | None:
    """What is decided about a record without asking its handler."""
    if record.place in condemned:
        status, reason = condemned[record.place]
        return Judged(record, "parked", reason, status=status)
    if record.event is None:
        return Judged(record, "parked", record.problem, status=POISON)
    if each.ordered and record.order_key in held:
        return Judged(record, "parked", f"an earlier event of {record.order_key} is parked", status=BEHIND)
    if record.event.type not in each.handlers:
        return Judged(record, "noop", f"{record.event.type} does not concern {each.name}")
    return None


def _by_partition(records: Sequence[Record]) -> dict[Partition, list[Record]]:
    found: dict[Partition, list[Record]] = {}
    for record in records:
        found.setdefault((record.topic, record.partition), []).append(record)
    return found


def _ends(records: Sequence[Record]) -> dict[Partition, int]:
    return {(record.topic, record.partition): record.offset + 1 for record in records}


def _caused(payload: Any, cause: Event, name: str, place: int) -> Event:
    """The event that carries an effect: same cause, same id."""
    step = f"{name}.{cause.id}.{place}"
    event: Event = payload.event(
        id=step, source=f"millrace/{name}", at=cause.time, trace=child_trace(cause.trace, step)
    )
    return event


def _notice(name: str, judged: Judged) -> Event:
    record, event = judged.record, judged.record.event
    account, _, customer = record.order_key.partition("/")
    notice = DeadLetter(
        account=account or "unknown",
        customer=customer,
        consumer=name,
        reason=f"{judged.status}: {judged.reason}",
        event_id=event.id if event else "",
        event_type=event.type if event else "",
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        record_key=record.order_key,
    )
    at = event.time if event else _EPOCH
    return notice.event(id=f"{name}.parked.{record.place}", source=f"millrace/{name}", at=at)


def _audited(name: str, judged: Sequence[Judged]) -> Iterator[audit.Entry]:
    """An entry for whatever changed something."""
    for j in judged:
        event = j.record.event
        if event and j.outcome != "noop" and not (j.record.parked is not None and j.status):
            action = f"{j.status or j.outcome} {event.type}"
            yield audit.Entry(event.time, name, action, j.key, event.id, j.reason)


def _classified(problem: Exception) -> Exception:
    """What the database says, in our words: whether trying again can help."""
    if isinstance(problem, asyncpg.PostgresError):
        state = problem.sqlstate or ""
        return problem if state[:2] in DATA_ERRORS else Retryable(f"{type(problem).__name__} ({state})")
    if isinstance(problem, ValueError):  # asyncpg's refusal of an argument is one too: our bug, or the data's
        return problem
    if isinstance(problem, CUT_OFF):
        return Retryable(type(problem).__name__)
    return problem


def _for_sure(problem: Exception) -> bool:
    """Whether it would fail again for certain."""
    return isinstance(problem, (Failure, asyncpg.PostgresError))


def _named(problem: Exception) -> str:
    """A failure without the values it quotes: the constraint or column that refused, or where our code broke."""
    if isinstance(problem, asyncpg.PostgresError):
        named = getattr(problem, "constraint_name", None) or getattr(problem, "column_name", None) or ""
        return f"{type(problem).__name__} {named}".strip()
    return describe(problem)
