"""A storm as a state machine: somebody acts, time passes, deliveries come, come twice, get lost; something crashes.

After every step the system must say what the oracle says of the deliveries that it took.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from millrace_lab.account import DAY, Account
from millrace_lab.api import Api
from millrace_lab.clockwork import advance, furnished
from millrace_lab.delivery.letters import envelope
from millrace_lab.storm.arrivals import Arrival
from millrace_lab.storm.companies import OPENS, Buyer, Life, Persona, Shop
from millrace_lab.storm.comparing import Answers, differences
from millrace_lab.storm.rare_lives import EVERYBODY

BUYERS = 3


class Receiver(Protocol):
    """What the machine drives. `expected` is what it must answer after these deliveries."""

    aspects: frozenset[str]

    def take(self, arrival: Arrival) -> None: ...
    def crash(self) -> None: ...
    def answers(self) -> Answers: ...


class Storm(RuleBasedStateMachine):
    """A company of three buyers and a receiver. Which receiver, and which lives, a subclass says."""

    cast: Sequence[Persona] = EVERYBODY

    def receiver(self) -> Receiver:
        raise NotImplementedError

    def expected(self, arrivals: list[Arrival]) -> Answers:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.system = self.receiver()
        self.pending: list[Arrival] = []
        self.taken: list[Arrival] = []
        self.unchecked = False

    @initialize(seed=st.integers(0, 999), data=st.data())
    def opens(self, seed: int, data: st.DataObject) -> None:
        cast = data.draw(st.lists(st.sampled_from(self.cast), min_size=BUYERS, max_size=BUYERS))
        self.account = furnished(Account(seed, OPENS))
        self.account.settings["expand_balance_transactions"] = True
        shop = Shop(self.account, Api(self.account))
        shop.opens()
        self.heard = len(self.account.events)  # what is for sale concerns nobody here
        self.lives: list[tuple[int, int, Life]] = [
            (OPENS, number, persona(Buyer(shop, number, seed))) for number, persona in enumerate(cast)
        ]

    @precondition(lambda self: self.lives)
    @rule()
    def act(self) -> None:
        """Whoever wanted to act next does."""
        at, number, life = heapq.heappop(self.lives)
        advance(self.account, max(at, self.account.now))
        if (following := next(life, None)) is not None:
            heapq.heappush(self.lives, (following, number, life))
        self._hear()

    @rule(days=st.integers(1, 20))
    def time_passes(self, days: int) -> None:
        """As far as nobody wanted to act before."""
        until = self.account.now + days * DAY
        advance(self.account, min([until, *(max(at, self.account.now) for at, *_ in self.lives)]))
        self._hear()

    @precondition(lambda self: self.pending)
    @rule(place=st.integers(0, 10_000), count=st.integers(1, 8))
    def deliver(self, place: int, count: int) -> None:
        """Some of what was told, from any place."""
        for _ in range(min(count, len(self.pending))):
            self._take(self.pending.pop(place % len(self.pending)))

    @precondition(lambda self: self.taken)
    @rule(place=st.integers(0, 10_000))
    def duplicate(self, place: int) -> None:
        self._take(self.taken[place % len(self.taken)])

    @precondition(lambda self: self.taken)
    @rule(place=st.integers(0, 10_000))
    def tell_twice(self, place: int) -> None:
        """A second Event object for one change."""
        first = self.taken[place % len(self.taken)]
        self._take(replace(first, event={**first.event, "id": f"{first.id}_twin"}))

    @precondition(lambda self: self.pending)
    @rule(place=st.integers(0, 10_000))
    def lose(self, place: int) -> None:
        self.pending.pop(place % len(self.pending))

    @rule()
    def crash(self) -> None:
        self.system.crash()
        self.unchecked = True

    @precondition(lambda self: self.unchecked)
    @invariant()
    def says_what_is_true(self) -> None:
        self.unchecked = False
        assert differences(self.expected(self.taken), self.system.answers(), self.system.aspects) == []

    def _hear(self) -> None:
        new = [told for told in self.account.events[self.heard :] if not told.thin]
        self.heard = len(self.account.events)
        self.pending += [Arrival(told.number, told.created, envelope(self.account, told)) for told in new]

    def _take(self, arrival: Arrival) -> None:
        self.system.take(arrival)
        self.taken.append(arrival)
        self.unchecked = True
