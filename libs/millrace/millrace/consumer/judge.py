"""The pure step of a fold: records and states in, judgements out. No await, no clock, no database.

The same step runs in the consumer, in a rebuild, and over every permutation in the property tests.
"""

from __future__ import annotations

import traceback
from collections.abc import Container, Iterable, Mapping, MutableMapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple

from millrace.consumer.decision import Applied, Decision, Each, Fold, Outcome, R, S
from millrace.consumer.record import Record
from millrace.errors import Poison, Retryable
from millrace.events import Event
from millrace.events.ours import Payload

POISON, FAILED, BEHIND, WAITING = "poison", "failed", "behind", "waiting"  # why an event is parked
HOLDING = frozenset({POISON, FAILED, BEHIND})  # what later events of the key wait behind, where order matters
FRAMES_MAX = 12  # places of a traceback that are kept, innermost first

Condemned = Mapping[str, tuple[str, str]]  # place → (status, reason)


class Stopped(Exception):
    """One record cannot go on, and the transaction with it; `problem` says why."""

    def __init__(self, record: Record, problem: Exception) -> None:
        super().__init__(record.place)
        self.record, self.problem = record, problem


class Judged(NamedTuple):
    """What became of one record. `status` says why it is parked; '' when it is not."""

    record: Record
    outcome: str  # applied | noop | parked
    reason: str
    key: str = ""  # the state it concerned, or waits for
    status: str = ""
    effects: tuple[Payload, ...] = ()


@dataclass(slots=True)
class Verdict(Generic[S]):
    """A whole batch judged: one judgement a record, and what to save, both in order."""

    judged: list[Judged] = field(default_factory=list)
    changes: list[Applied[S]] = field(default_factory=list)


def key_of(fold: Fold[S, R], record: Record) -> str | None:
    """The state a record concerns; None when it has none or cannot say."""
    if record.event is None or record.event.type not in fold.apply:
        return None
    try:
        return fold.key(record.event)
    except Exception:  # judged again below, where it is parked with its reason
        return None


def judge(
    fold: Fold[S, R],
    rules: R,
    states: MutableMapping[str, S],
    records: Sequence[Record],
    *,
    held: AbstractSet[str] = frozenset(),
    waiting: Iterable[tuple[str, Record]] = (),
    condemned: Condemned | None = None,
) -> Verdict[S]:
    """Judge records in order; `states` evolves with them.

    held       record keys with a parked event: later events of these wait behind it, if the fold is ordered
    waiting    (key, record) parked for a fact of that key; judged again whenever the key's state changes
    condemned  place → (status, reason) of records that were tried and found to be the cause of a failure

    Raises: Stopped when a rule raises Retryable.
    """
    batch = _Batch(fold, rules, states, set(held), condemned or {})
    for key, record in waiting:
        batch.waiting.setdefault(key, []).append(record)
    for record in records:
        batch.take(record)
    return batch.verdict()


class _Batch(Generic[S, R]):
    """The state of one batch while it is judged."""

    def __init__(
        self,
        fold: Fold[S, R],
        rules: R,
        states: MutableMapping[str, S],
        held: set[str],
        condemned: Condemned,
    ) -> None:
        self.fold, self.rules, self.states, self.held, self.condemned = fold, rules, states, held, condemned
        self.waiting: dict[str, list[Record]] = {}
        self.judged: dict[Record, Judged] = {}  # what waited for a later record is judged again
        self.changes: list[Applied[S]] = []

    def verdict(self) -> Verdict[S]:
        return Verdict(list(self.judged.values()), self.changes)

    def take(self, record: Record) -> None:
        """Judge one record, and whatever waited for it."""
        judged = self._judge(record)
        self.judged[record] = judged
        if judged.status in HOLDING and self.fold.ordered and record.order_key:
            self.held.add(record.order_key)
        if judged.status == WAITING:
            self.waiting.setdefault(judged.key, []).append(record)
        elif judged.outcome == Outcome.APPLIED:
            self._release(judged.key)

    def _release(self, key: str) -> None:
        """Judge again what waits for this key, until nothing more moves."""
        moved = True
        while moved and (pending := self.waiting.get(key)):
            moved = False
            for record in list(pending):
                judged = self._judge(record)
                if judged.status != WAITING:
                    pending.remove(record)
                    self.judged[record] = judged
                    moved = moved or judged.outcome == Outcome.APPLIED

    def _judge(self, record: Record) -> Judged:
        if judged := before(self.fold, self.fold.apply, record, self.held, self.condemned):
            return judged
        assert record.event is not None
        try:
            return self._applied(record, record.event)
        except Poison as poison:
            return parked(record, POISON, str(poison))
        except Retryable as problem:
            raise Stopped(record, problem) from problem
        except Exception as bug:  # the rule is pure: trying again would fail again
            return parked(record, FAILED, broke(bug))

    def _applied(self, record: Record, event: Event) -> Judged:
        key = self.fold.key(event)
        if key is None:
            return Judged(record, "noop", f"{event.type} concerns no state of {self.fold.name}")
        decision: Decision[S] = self.fold.apply[event.type](self.states.get(key), event, self.rules)
        if decision.outcome == Outcome.WAITING:
            return Judged(record, "parked", decision.reason, key, WAITING)
        if decision.outcome == Outcome.APPLIED and decision.state is not None:
            self.states[key] = decision.state
            self.changes.append(Applied(key, event, decision.state, decision.reason))
        return Judged(record, decision.outcome.value, decision.reason, key, effects=decision.effects)


def before(
    consumer: Fold[Any, Any] | Each,
    types: Container[str],
    record: Record,
    held: AbstractSet[str],
    condemned: Condemned,
) -> Judged | None:
    """What is decided about a record before its rule or handler is asked."""
    if condemned and record.place in condemned:
        return parked(record, *condemned[record.place])
    if record.event is None:
        return parked(record, POISON, record.problem)
    if held and consumer.ordered and record.order_key in held:
        return parked(record, BEHIND, behind(record))
    if record.event.type not in types:
        return Judged(record, "noop", f"{record.event.type} does not concern {consumer.name}")
    return None


def behind(record: Record) -> str:
    """Why an event waits that nothing is wrong with."""
    return f"an earlier event of {record.order_key} is parked"


def parked(record: Record, status: str, reason: str) -> Judged:
    """Parked, with a reason that any text column can hold."""
    return Judged(
        record, "parked", reason.replace("\0", "").encode("utf-8", "replace").decode(), status=status
    )


def broke(problem: BaseException) -> str:
    """An exception by its type and its places in the code, innermost first; never its text, which may quote a body."""
    frames = traceback.extract_tb(problem.__traceback__)[-FRAMES_MAX:]
    places = " < ".join(
        f"{'/'.join(f.filename.split('/')[-2:])}:{f.lineno} {f.name}" for f in reversed(frames)
    )
    cause = f", from {broke(problem.__cause__)}" if problem.__cause__ else ""
    return f"{type(problem).__name__} at {places}{cause}" if places else type(problem).__name__


def run(
    fold: Fold[S, R], rules: R, records: Sequence[Record], states: MutableMapping[str, S] | None = None
) -> tuple[MutableMapping[str, S], list[Judged]]:
    """Fold records in memory, each event once: what a consumer without a database would know."""
    ends: MutableMapping[str, S] = states if states is not None else {}
    once = {record.name: record for record in reversed(records)}
    fresh = [record for record in records if once[record.name] is record]
    return ends, judge(fold, rules, ends, fresh).judged
