"""What a consumer decides about an event, as plain values.

Decision   applied, with the new state and what to publish · noop, with the reason · waiting, for another fact
Fold       the four things a service gives: key, load, a pure apply, save
Each       the short form for other teams: one handler an event, in the batch's transaction
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from millrace.events import Event
from millrace.events.ours import Payload
from millrace.postgres import Transaction

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
    apply    event type → the pure rule that judges it. Types that are not named here are no-ops.
    save     everything this batch applied, in order; the last state of a key is the one to keep. Set-based.
    ordered  whether later events of a parked record key wait behind it. False where facts come in any order.

    Replay: the same events over the same rules end in the same states, whatever the batches were.
    """

    name: str  # consumer group, Postgres schema, prefix of the dead-letter topic
    apply: Mapping[str, Apply[S, R]]
    key: Callable[[Event], str | None]
    load: Callable[[Transaction, Sequence[str]], Awaitable[Mapping[str, S]]]
    save: Callable[[Transaction, Sequence[Applied[S]]], Awaitable[None]]
    rules: Callable[[], R]  # asked once a batch, so that a reloaded file takes effect between batches
    ordered: bool = True


Handler = Callable[[Transaction, Event], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Each:
    """A consumer as one handler an event type; its writes commit with the event's dedupe row.

    A handler returns nothing, or the sentence that says what it did. It may raise Retryable or Poison.
    """

    name: str
    handlers: Mapping[str, Handler]
    ordered: bool = True


def latest(changes: Sequence[Applied[S]]) -> dict[str, Applied[S]]:
    """The last change of each key: what a table of current states has to keep."""
    return {change.key: change for change in changes}
