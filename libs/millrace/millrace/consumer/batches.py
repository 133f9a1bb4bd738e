"""The transaction of a batch: effect, dedupe, audit, outgoing events and progress commit together or not at all.

    apply(records)    a transaction takes as many as it can; what stands in its way is named, and parked or rested
    redrive_asked(n)  parked events once more, in the order in which they were parked

Nothing here knows Kafka: the loop feeds it, and so do rebuilds and tests. Nothing here knows SQL: `store` does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from millrace import audit, outbox, topics, tracing
from millrace.consumer.decision import Each, Fold
from millrace.consumer.judge import (
    BEHIND,
    FAILED,
    HOLDING,
    POISON,
    Condemned,
    Judged,
    Stopped,
    before,
    behind,
    broke,
    judge,
    key_of,
)
from millrace.consumer.progress import Anomaly, Progress, advanced, counted
from millrace.consumer.record import EPOCH, Partition, Record, by_partition
from millrace.consumer.store import Asked, Known, Store
from millrace.errors import Failure, Poison, Retryable
from millrace.events import Event
from millrace.events.ours import DeadLetter
from millrace.postgres import CUT_OFF, Pool, Series, Transaction
from millrace.telemetry import trace_id

if TYPE_CHECKING:
    from millrace.sealing import Opener

log = logging.getLogger("millrace.consumer")

T = TypeVar("T")

TABLES: tuple[Series, ...] = (
    outbox.WRITES,
    audit.TABLE,
    Series("consumer", "millrace.migrations.consumer"),
)  # what every consumer's schema is built on

BUG_TRIES = 3  # how often an exception of our own may be a passing one
GROWTH = 8  # how much more is tried after what has gone well
HANDLED = "handled"  # a handler that says nothing: processed_events holds as much as an audit entry would


class DeadLetterLimit(Failure):
    """Too many events cannot be applied: more likely our bug than theirs. Nothing more is parked."""


class Down(Retryable):
    """The database, or what opens sealed fields, is away: no event is to blame, however long it takes."""


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
    ends: Mapping[Partition, int] = field(default_factory=dict, compare=False)  # the first offset not decided
    resting: Mapping[Partition, Rest] = field(default_factory=dict, compare=False)
    sequence: Mapping[str, int] = field(default_factory=dict, compare=False)  # anomaly → how many

    def __add__(self, other: Report) -> Report:
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        return Report(
            **counts,
            ends={**self.ends, **other.ends},
            resting={**self.resting, **other.resting},
            sequence=Counter(self.sequence) + Counter(other.sequence),
        )


COUNTS = ("applied", "noop", "parked", "duplicate", "poisoned")


class Batches:
    """Applies batches of records for one consumer.

    Units:  `retry_seconds`: how long one event may keep its partition waiting before it is parked;
            `dead_letters_max` events in `dead_letters_seconds` may turn out to be inapplicable.
    Writes: the consumer's own tables, processed_events, parked_event, progress, audit, outbox rows: one transaction.
    Raises: DeadLetterLimit; never for a world that is not ready: then partitions rest, and nothing of them is kept.
    Replay: a record that was applied before is a duplicate, and changes nothing.
    """

    def __init__(
        self,
        pool: Pool,
        consumer: Fold[Any, Any] | Each,
        *,
        schema: str | None = None,
        chain: str = "",
        store: Store | None = None,
        retry_seconds: float = 600.0,
        dead_letters_max: int = 100,
        dead_letters_seconds: float = 3600.0,
    ) -> None:
        self.consumer = consumer
        self.store = store or Store(pool, schema or consumer.name)
        self.chain = chain or consumer.name  # of the audit log: one a process, so that none waits for another
        self.retry_seconds = retry_seconds
        self.dead_letters_max, self.dead_letters_seconds = dead_letters_max, dead_letters_seconds
        self.clock = time.monotonic
        self.lanes = consumer.independent if isinstance(consumer, Each) else 1
        self._rested: dict[str, float] = {}  # place → when it first could not go on
        if self.lanes > 1 and store is None and pool.get_max_size() <= self.lanes:
            raise ValueError(
                f"{consumer.name}: independent={self.lanes} takes as many connections and one more; "
                f"the pool has {pool.get_max_size()}: make it with postgres.pool(…, size={self.lanes + 1})"
            )

    async def apply(self, records: Sequence[Record]) -> Report:
        """Apply records, those of a partition in order. What cannot go on yet rests, and no other partition with it."""
        with _span(self.consumer.name, records) as span:
            report = await self._apply(records)
            span.tell({f"millrace.{name}": getattr(report, name) for name in COUNTS})
            return report

    async def _apply(self, records: Sequence[Record]) -> Report:
        if self.lanes == 1:
            report = await self._lane(records)
            return replace(report, ends=_ends(records, [report]))
        lanes: list[list[Record]] = [[] for _ in range(self.lanes)]
        for record in records:
            lanes[hash(record.order_key or record.place) % self.lanes].append(record)
        reports = await _together([self._lane(lane) for lane in lanes if lane])
        ends = _ends(records, reports)
        done = [r for r in records if r.offset < ends.get((r.topic, r.partition), 0)]
        return replace(sum(reports, await self._advance(done)), ends=ends)

    async def redrive(self, record_key: str | None = None) -> Report:
        """Judge parked events again, those of one record key or all, and what they held back. Raises Retryable."""
        async with self.store.transaction() as tx:
            await self.store.ask(tx, record_key, self.consumer.name)
        report, more = Report(), True
        while more:
            done = await self.redrive_asked()
            report, more = report + done, done != Report()
        return report

    async def redrive_asked(self, limit: int = 500) -> Report:
        """Judge again the first of what is asked for, in order: one transaction. Nothing while another member does.

        Raises: Retryable when the world is not ready; all of it is still asked for then.
        """
        trial = _Trial([], limit)
        while True:
            try:
                return await self._redrive(trial)
            except Exception as raised:
                if stop := trial.learn(trial.left, raised):
                    record, problem = stop
                    if record is None or isinstance(problem, Down):
                        raise problem  # noqa: B904 it may be what was raised
                    trial.condemned[record.place] = FAILED, f"not ready: {problem}"

    async def progress(self) -> dict[Partition, Progress]:
        """How far this consumer has come in each partition. Raises Retryable."""
        return await self._asked_of(self.store.progress)

    async def introduced(self, topics: Sequence[str]) -> None:
        """Write down what starts here. Raises Retryable."""
        ordered = self.consumer.ordered
        await self._asked_of(lambda tx: self.store.introduce(tx, self.consumer.name, topics, ordered))

    async def asked(self) -> Asked:
        """What operators want. Raises Retryable."""
        return await self._asked_of(lambda tx: self.store.asked(tx, self.consumer.name))

    async def _lane(self, records: Sequence[Record]) -> Report:
        """Records one after another, as many a transaction as go together."""
        trial, report = _Trial(list(records)), Report()
        while part := trial.part():
            try:
                done, count = await self._transact(part, trial.condemned)
            except DeadLetterLimit:
                raise
            except Exception as raised:
                if stop := trial.learn(part, raised):
                    report += self._rest(trial, *stop)
            else:
                report += done
                self._decided(part[:count])
                trial.took(count)
        return report

    async def _transact(self, records: list[Record], condemned: Condemned) -> tuple[Report, int]:
        """One transaction; and how many of the records it took."""
        async with self.store.transaction() as tx:
            known = await self.store.known(tx, records, ordered=self.consumer.ordered)
            judged, rest = await self._judge(tx, known.fresh, known.held, condemned)
            count = len(records) if rest is None else records.index(rest)
            report = await self._write(tx, judged)
            anomalies = await self._progress(tx, known, records[:count]) if self.lanes == 1 else []
        self._tell(judged, anomalies)
        fresh = sum(j.record.parked is None for j in judged)
        return replace(report, duplicate=count - fresh, sequence=counted(anomalies)), count

    async def _judge(
        self, tx: Transaction, records: list[Record], held: set[str], condemned: Condemned
    ) -> tuple[list[Judged], Record | None]:
        """Judge and save; and the first record that the transaction did not take any more."""
        if isinstance(self.consumer, Each):
            return await self._handle(tx, self.consumer, records, held, condemned)
        return await self._fold(tx, self.consumer, records, held, condemned), None

    async def _fold(
        self,
        tx: Transaction,
        fold: Fold[Any, Any],
        records: list[Record],
        held: set[str],
        condemned: Condemned,
    ) -> list[Judged]:
        asked = [record for record in records if record.place not in condemned] if condemned else records
        keys = sorted({key for record in asked if (key := key_of(fold, record))})
        states = dict(await fold.load(tx, keys)) if keys else {}
        here = {record.parked for record in records} - {None}
        waiting = [w for w in await self.store.waiters(tx, keys) if w[1].parked not in here] if keys else []
        verdict = judge(fold, fold.rules(), states, records, held=held, waiting=waiting, condemned=condemned)
        if verdict.changes:
            await fold.save(tx, verdict.changes)
        return verdict.judged

    async def _handle(
        self, tx: Transaction, each: Each, records: list[Record], held: set[str], condemned: Condemned
    ) -> tuple[list[Judged], Record | None]:
        """Run a handler an event, by the same rules of order and parking as a fold."""
        done: list[Judged] = []
        until = self.clock() + each.batch_seconds
        for record in records:
            if done and self.clock() >= until:
                return done, record
            judged = before(each, each.handlers, record, held, condemned)
            if judged is None and record.event is not None:
                judged = await self._handled(tx, each, record, record.event)
            if judged:
                done.append(judged)
                if judged.status and each.ordered and record.order_key:
                    held.add(record.order_key)
        return done, None

    async def _handled(self, tx: Transaction, each: Each, record: Record, event: Event) -> Judged:
        """Raises Stopped, which names the record."""
        try:
            if each.opens is not None:
                event = await _opened(each.opens, event)
            said = await each.handlers[event.type](tx, event)
            if said is not None and not isinstance(said, str):
                raise TypeError("a handler returns nothing, or a sentence")
        except asyncpg.InFailedSQLTransactionError:
            raise  # a handler before it passed over an error of the database: a search finds out which
        except Exception as problem:
            if _cut_off(problem) and not self.store.lost(tx):
                raise Stopped(
                    record, Retryable(type(problem).__name__)
                ) from problem  # its own mail server, say
            raise Stopped(record, problem) from problem
        return Judged(record, "applied", said or HANDLED, event.key)

    async def _write(self, tx: Transaction, judged: list[Judged], *, redriven: bool = False) -> Report:
        """What became of each, and what follows from it. Raises DeadLetterLimit."""
        await self.store.write(tx, judged, redriven=redriven)
        if lost := [j for j in judged if j.status in (POISON, FAILED) and j.record.parked is None]:
            await self._limit(tx, lost[-1])
        await self.store.audit(tx, self.chain, list(_audited(self.consumer.name, judged)))
        await self.store.publish(tx, [m for j in judged for m in self._messages(j)])
        count = Counter(j.outcome for j in judged)
        return Report(
            applied=count["applied"],
            noop=count["noop"],
            parked=count["parked"],
            poisoned=sum(j.status in (POISON, FAILED) for j in judged),
        )

    async def _limit(self, tx: Transaction, last: Judged) -> None:
        """The database remembers what was parked: a process that is started again and again parks no more by it."""
        lately = await self.store.lately(tx, self.dead_letters_seconds)
        if lately > self.dead_letters_max:
            name = self.consumer.name
            raise DeadLetterLimit(
                f"{name}: {lately} events in {self.dead_letters_seconds:.0f} s could not be applied, "
                f"{self.dead_letters_max} may be; the last is {last.record.place}: {last.status}: {last.reason}. "
                f"See `millrace parked list {name}`, mend the cause, then `millrace parked redrive {name} --all` "
                f"or `discard`; or raise dead_letters_max"
            )

    def _messages(self, judged: Judged) -> list[outbox.Message]:
        """The effects of one judgement, or the notice that it was parked."""
        event, name = judged.record.event, self.consumer.name
        if judged.status in HOLDING and judged.record.parked is None:
            return [outbox.Message(topics.dead_letter(name), _notice(name, judged))]
        return outbox.caused(event, name, *judged.effects) if event and judged.effects else []

    async def _progress(self, tx: Transaction, known: Known, records: Sequence[Record]) -> list[Anomaly]:
        ends, anomalies = advanced(known.progress, records)
        await self.store.advance(tx, ends)
        return anomalies

    async def _advance(self, records: Sequence[Record]) -> Report:
        """Write how far lanes came together: none of them knows it alone. Without it they are read again."""
        if not records:
            return Report()
        try:
            async with self.store.transaction() as tx:
                known = await self.store.known(tx, records, ordered=False)
                anomalies = await self._progress(tx, known, records)
        except Exception as raised:
            problem = _classified(raised)
            if not isinstance(problem, Retryable):
                raise
            return Report(resting=dict.fromkeys(by_partition(records), Rest(str(problem), problem.after)))
        self._tell([], anomalies)
        return Report(sequence=counted(anomalies))

    async def _redrive(self, trial: _Trial) -> Report:
        async with self.store.transaction() as tx:
            if not await self.store.redriving(tx):
                return Report()
            asked = await self.store.asked_for(tx, trial.size)
            trial.left = [record for record, _ in asked]
            stay = {r.place: (BEHIND, behind(r)) for r, held in asked if held and self.consumer.ordered}
            judged, _ = await self._judge(tx, trial.left, set(), {**stay, **trial.condemned})
            report = await self._write(tx, judged, redriven=True)
            settled = {j.record.order_key for j in judged if j.record.parked and j.status not in HOLDING}
            if self.consumer.ordered and settled:
                await self.store.follow(tx, sorted(settled))
        self._tell(judged, [])
        return report

    def _rest(self, trial: _Trial, record: Record | None, problem: Retryable) -> Report:
        """Let a partition rest from a record on, or, when none is to blame, all that are left."""
        if record is not None and not isinstance(problem, Down):
            since = self._rested.setdefault(record.place, self.clock())
            if self.clock() - since >= self.retry_seconds:
                trial.condemned[record.place] = FAILED, f"not ready for {self.retry_seconds:.0f} s: {problem}"
                return Report()
        stops = trial.drop(record)
        return Report(ends=stops, resting=dict.fromkeys(stops, Rest(str(problem), problem.after)))

    def _decided(self, records: Sequence[Record]) -> None:
        if self._rested:
            for record in records:
                self._rested.pop(record.place, None)

    def _tell(self, judged: Sequence[Judged], anomalies: Sequence[Anomaly]) -> None:
        """A line for each event that is parked now and was not, and one for all numbers that are out of order."""
        for j in judged:
            if j.status in HOLDING and j.record.parked is None:
                log.log(logging.INFO if j.status == BEHIND else logging.ERROR, "event parked", extra={
                    "consumer": self.consumer.name,
                    "event": j.record.name[1],
                    "type": j.record.event.type if j.record.event else "",
                    "place": j.record.place,
                    "status": j.status,
                    "reason": j.reason,
                    "trace": trace_id(j.record.event.trace) if j.record.event else "",
                })  # fmt: skip
        if (span := tracing.current()).recording:
            for j in judged[: tracing.EVENTS_MAX]:
                span.happened(f"event {j.status or j.outcome}", _said(j))
        if anomalies:
            log.error("the numbers of records are not whole", extra={
                "consumer": self.consumer.name,
                "anomalies": dict(counted(anomalies)),
                "first": anomalies[0]._asdict(),
            })  # fmt: skip

    async def _asked_of(self, question: Callable[[Transaction], Awaitable[T]]) -> T:
        """An answer of the database. Raises Retryable when it is not ready."""
        try:
            async with self.store.transaction() as tx:
                return await question(tx)
        except Exception as raised:
            raise _classified(raised)  # noqa: B904 it may be what was raised


class _Trial:
    """Records while they are tried: how many at a time, and what failures have taught.

    A failure that names its record needs no search. For any other, half as many are tried: what is alone is named.
    """

    def __init__(self, records: list[Record], size: int = 0) -> None:
        self.left, self.size = records, size or len(records)
        self.condemned: dict[str, tuple[str, str]] = {}
        self.tries: Counter[str] = Counter()

    def part(self) -> list[Record]:
        return self.left[: self.size]

    def took(self, count: int) -> None:
        self.left, self.size = self.left[count:], GROWTH * self.size

    def drop(self, record: Record | None) -> dict[Partition, int]:
        """Leave out what its partition has from this record on, or everything; returns where each stops."""
        if record is None:
            stops = {partition: found[0].offset for partition, found in by_partition(self.left).items()}
        else:
            stops = {(record.topic, record.partition): record.offset}
        self.left = [r for r in self.left if r.offset < stops.get((r.topic, r.partition), r.offset + 1)]
        return stops

    def learn(self, part: Sequence[Record], raised: Exception) -> tuple[Record | None, Retryable] | None:
        """What has to wait, and why; None when there is another way to go on, which is then set out."""
        problem = _classified(raised)
        culprit = raised.record if isinstance(raised, Stopped) and raised.record in part else None
        if culprit is None and isinstance(problem, Down):
            return None, problem
        if not part:
            raise problem
        if culprit is None and len(part) > 1:
            self.size = len(part) // 2
            return None
        culprit = culprit or part[0]
        self.size = part.index(culprit) + 1
        if isinstance(problem, Retryable):
            return culprit, problem
        if culprit.place in self.condemned:
            return culprit, Down(f"{culprit.place} cannot be parked: {_reason(problem)}", after=30)
        self.tries[culprit.place] += 1
        if _for_sure(problem) or self.tries[culprit.place] >= BUG_TRIES:
            self.condemned[culprit.place] = _sentence(problem)
        return None


def _span(name: str, records: Sequence[Record]) -> tracing.Span:
    """The span of a batch, which links to the traces of its events."""
    events = [r.event for r in records if r.event]
    since = min((e.recorded or e.time for e in events), default=None) if len(events) == 1 else None
    told: tracing.Attributes = {
        tracing.SYSTEM: "kafka",
        tracing.OPERATION: "process",
        tracing.OPERATION_TYPE: "process",
        tracing.GROUP: name,
        tracing.COUNT: len(records),
    }
    return tracing.many("process", "consumer", (e.trace for e in events), since=since, attributes=told)


def _said(judged: Judged) -> tracing.Attributes:
    event = judged.record.event
    named = tracing.about(event) if event else {tracing.EVENT_ID: judged.record.name[1]}
    return {**named, tracing.REASON: judged.reason}


async def _together(lanes: Sequence[Coroutine[Any, Any, Report]]) -> list[Report]:
    """All of them to their ends; then the first failure, if any."""
    reports = []
    for outcome in await asyncio.gather(*lanes, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
        reports.append(outcome)
    return reports


async def _opened(opener: Opener, event: Event) -> Event:
    try:
        return await opener.event(event)
    except Retryable as problem:
        raise Down(str(problem), after=problem.after) from problem


def _ends(records: Sequence[Record], reports: Sequence[Report]) -> dict[Partition, int]:
    """Where each partition's first undecided record is, of those that came anywhere."""
    first = {(r.topic, r.partition): r.offset for r in reversed(records)}
    ends = {(r.topic, r.partition): r.offset + 1 for r in records}
    for report in reports:
        for partition in report.resting:
            ends[partition] = min(ends[partition], report.ends[partition])
    return {partition: end for partition, end in ends.items() if end > first[partition]}


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
    at = event.time if event else EPOCH
    return notice.event(id=f"{name}.parked.{record.place}", source=f"millrace/{name}", at=at)


def _audited(name: str, judged: Sequence[Judged]) -> Iterator[audit.Entry]:
    """An entry for whatever changed something."""
    for j in judged:
        event = j.record.event
        again = j.record.parked is not None and j.status
        if event and j.outcome != "noop" and not again and j.reason != HANDLED:
            action = f"{j.status or j.outcome} {event.type}"
            yield audit.Entry(event.time, name, action, j.key, event.id, j.reason)


# What the database says, by SQLSTATE. Whatever is not named here is the event's fault, or our own bug.
AWAY = ("08", "28", "3D", "53", "57", "58", "XX", "25006", "42P01", "42501")  # not there, full, not migrated
AGAIN = ("40", "55", "57014")  # somebody was in the way
DATA = ("22", "23")  # it would fail again for certain


def _classified(problem: Exception) -> Exception:
    """A failure in our words: whose fault it is, and whether trying again can help."""
    if isinstance(problem, Stopped):
        return _classified(problem.problem)
    if isinstance(problem, asyncpg.PostgresError):
        state, said = problem.sqlstate or "XX000", f"{type(problem).__name__} ({problem.sqlstate})"
        if state.startswith(AGAIN):
            return Retryable(said)
        return Down(said) if state.startswith(AWAY) else problem
    return Down(type(problem).__name__) if _cut_off(problem) else problem


def _cut_off(problem: Exception) -> bool:
    """A lost connection. asyncpg's refusal of an argument looks like one: it is a ValueError as well."""
    return isinstance(problem, CUT_OFF) and not isinstance(problem, ValueError)


def _for_sure(problem: Exception) -> bool:
    """Whether it would fail again for certain."""
    return isinstance(problem, Failure) or (
        isinstance(problem, asyncpg.PostgresError) and (problem.sqlstate or "").startswith(DATA)
    )


def _sentence(problem: Exception) -> tuple[str, str]:
    """The status and reason that an event is parked with."""
    return (POISON, str(problem)) if isinstance(problem, Poison) else (FAILED, _reason(problem))


def _reason(problem: Exception) -> str:
    """A failure without the values it quotes: the constraint or column that refused, or where the code broke."""
    if isinstance(problem, asyncpg.PostgresError):
        named = getattr(problem, "constraint_name", None) or getattr(problem, "column_name", None) or ""
        return f"{type(problem).__name__} {named}".strip()
    return broke(problem)
