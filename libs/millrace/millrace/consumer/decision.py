"""What a consumer decides about an event, as plain values.

Decision   applied, with the new state and what to publish · noop, with the reason · waiting, for another fact
Fold       the four things a service gives: key, load, a pure apply, save
Each       the short form for other teams: one handler an event, in the batch's transaction
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from millrace.events import OURS, Event
from millrace.events.ours import VERSIONS, Payload
from millrace.postgres import Transaction

if TYPE_CHECKING:
    from millrace.sealing import Opener  # only who opens something needs what it needs

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")  # it names a schema, and a role with a prefix

S = TypeVar("S")  # the state that one key has in one consumer
R = TypeVar("R")  # the rules it is judged by: a catalog, policies; a version of them


class Outcome(StrEnum):
    """The three ends of a judgement; `parked` is added by the runtime for what could not be judged."""

    APPLIED = "applied"
    NOOP = "noop"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Decision(Generic[S]):
    """One event judged. `reason` is a sentence that a support agent can read."""

    outcome: Outcome
    reason: str
    state: S | None = None  # what the key's state becomes; only when applied
    effects: tuple[Payload, ...] = ()  # published if, and only if, the rest commits


def applied(state: S, reason: str, *effects: Payload) -> Decision[S]:
    """The event changed the state."""
    return Decision(Outcome.APPLIED, reason, state, effects)


def noop(reason: str, *effects: Payload) -> Decision[Any]:
    """The event changes nothing here, and this is why."""
    return Decision(Outcome.NOOP, reason, None, effects)


def waiting(reason: str) -> Decision[Any]:
    """The event needs a fact of the same key that is not here yet; it is judged again when one arrives."""
    return Decision(Outcome.WAITING, reason)


@dataclass(frozen=True, slots=True)
class Applied(Generic[S]):
    """An event that changed the state of its key, in the order of application."""

    key: str
    event: Event
    state: S
    reason: str


Apply = Callable[[S | None, Event, R], Decision[S]]


@dataclass(frozen=True, slots=True)
class Fold(Generic[S, R]):
    """A consumer as a fold over events: everything it knows of a key is what its events made of it.

    key      the state an event belongs to, or None when it concerns none of ours. May raise Poison.
    load     the states of these keys, locked in a fixed order; keys without one are left out. Set-based.
             Where events wait, a key without a state is locked too (an advisory lock, say), or a fact that another
             member applies just now would pass by whoever begins to wait for it.
    apply    event type → the pure rule that judges it. Types that are not named here are no-ops.
    save     everything this batch applied, in order; the last state of a key is the one to keep. Set-based.
    ordered  whether later events of a parked record key wait behind it. False where facts come in any order.

    Raises: TypeError, ValueError when it is put together wrongly.
    Replay: the same events over the same rules end in the same states, whatever the batches were.
    """

    name: str  # consumer group, Postgres schema, prefix of the dead-letter topic
    apply: Mapping[str, Apply[S, R]]
    key: Callable[[Event], str | None]
    load: Callable[[Transaction, Sequence[str]], Awaitable[Mapping[str, S]]]
    save: Callable[[Transaction, Sequence[Applied[S]]], Awaitable[None]]
    rules: Callable[[], R]  # asked once a batch, so that a reloaded file takes effect between batches
    ordered: bool = True

    def __post_init__(self) -> None:
        who = _named(self.name, "Fold", self.apply)
        for type_, rule in self.apply.items():
            if not callable(rule) or _is_async(rule):
                raise TypeError(
                    f"{who}: the rule of {type_} must be a plain `def apply(state, event, rules)`"
                )
        for part in ("load", "save"):
            if not _is_async(getattr(self, part)):
                raise TypeError(f"{who}: {part} must be an `async def {part}(tx, …)`")


Handler = Callable[[Transaction, Event], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Each:
    """A consumer as one handler an event type; its writes commit with the event's dedupe row.

    A handler returns nothing, or the sentence that says what it did, which is audited. It may raise Retryable or
    Poison, and is called again whenever its transaction is tried again.

    ordered       whether later events of a parked record key wait behind it
    independent   over how many transactions side by side the keys of a batch are spread; the events of one key
                  stay one after another. Each takes a connection of the pool.
    opens         opens the sealed fields that it may open, for the handler alone: what is parked stays sealed
    batch_seconds when a transaction takes no further event: slow handlers hold no lock for longer

    Raises: TypeError, ValueError when it is put together wrongly.
    """

    name: str
    handlers: Mapping[str, Handler]
    ordered: bool = True
    independent: int = 1
    opens: Opener | None = None
    batch_seconds: float = 2.0

    def __post_init__(self) -> None:
        who = _named(self.name, "Each", self.handlers)
        for type_, handler in self.handlers.items():
            if not _is_async(handler) or not _takes_two(handler):
                raise TypeError(f"{who}: the handler of {type_} must be an `async def handler(tx, event)`")
        if self.independent < 1:
            raise ValueError(f"{who}: independent is {self.independent}; 1 is one event after another")
        if self.batch_seconds <= 0:
            raise ValueError(f"{who}: batch_seconds is {self.batch_seconds}; give it some time")


def _named(name: str, kind: str, types: Iterable[str]) -> str:
    """How errors call it. Raises ValueError for a name that can name no schema, or a type that nobody can read."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{kind}({name!r}): a name is lower case letters, digits and _, up to 40")
    for type_ in types:
        if type_.startswith(OURS) and type_ not in VERSIONS:
            raise ValueError(
                f"{kind}({name!r}): no schema knows {type_}; known are {', '.join(sorted(VERSIONS))}"
            )
    return f"{kind}({name!r})"


def _is_async(made: Any) -> bool:
    return inspect.iscoroutinefunction(made) or inspect.iscoroutinefunction(type(made).__call__)


def _takes_two(handler: Any) -> bool:
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError:
        return False
    return True


def latest(changes: Sequence[Applied[S]]) -> dict[str, Applied[S]]:
    """The last change of each key: what a table of current states has to keep."""
    return {change.key: change for change in changes}
