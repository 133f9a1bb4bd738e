"""Receivers of webhooks, small enough to see through: a careful one, and four that are not.

The careful one keeps of each subscription the newest second it has heard of, and says that it is in doubt when
that second tells two things; money it counts by the names of its facts. It knows nothing of Millrace.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

from millrace_lab.errors import Body
from millrace_lab.storm import oracle
from millrace_lab.storm.arrivals import Arrival
from millrace_lab.storm.comparing import DOUBT, Answers, Key

ENDED = ("canceled", "incomplete_expired")


class Careful:
    """Takes deliveries one by one. What `save` has kept survives a crash."""

    aspects = frozenset({"status", "refunded", "settled"})

    def __init__(self) -> None:
        self.subscriptions: dict[
            str, tuple[tuple[bool, int], set[str]]
        ] = {}  # rank, and what that second says
        self.facts: dict[Key, dict[str, Any]] = {}  # by aspect and object, amounts by the names of facts
        self.saved = self.memory()

    def memory(self) -> Any:
        return deepcopy((self.subscriptions, self.facts))

    def take(self, arrival: Arrival) -> None:
        """One delivery, acknowledged when this returns."""
        self.apply(arrival)
        self.saved = self.memory()

    def crash(self) -> None:
        self.subscriptions, self.facts = deepcopy(self.saved)

    def apply(self, arrival: Arrival) -> None:
        body = arrival.object
        if body["object"] == "subscription":
            self.subscription(body, arrival)
        elif arrival.type in oracle.SETTLES or body["object"] == "refund":
            self.money(body, arrival)

    def subscription(self, body: Body, arrival: Arrival) -> None:
        rank = (body["status"] in ENDED, arrival.created)
        known, says = self.subscriptions.get(body["id"], ((False, 0), set()))
        if rank > known:
            self.subscriptions[body["id"]] = (rank, {body["status"]})
        elif rank == known:
            says.add(body["status"])

    def money(self, body: Body, arrival: Arrival) -> None:
        if body["object"] == "refund":
            self.fact("refunded", body["id"], body["id"], body["amount"])
        for name in ("balance_transaction", "failure_balance_transaction"):
            if isinstance(moved := body.get(name), dict):
                item = body["payment_intent"] if body["object"] == "charge" else body["id"]
                self.fact("settled", item, moved["id"], moved["net"], moved["currency"])

    def fact(self, aspect: str, object: str, name: str, amount: int, currency: str = "") -> None:
        self.facts.setdefault((aspect, object), {})[name] = (amount, currency)

    def answers(self) -> Answers:
        statuses: dict[Key, Any] = {
            ("status", id_): says.copy().pop() if len(says) == 1 else DOUBT
            for id_, (_, says) in self.subscriptions.items()
        }
        return statuses | {key: _sum(key[0], list(facts.values())) for key, facts in self.facts.items()}


def _sum(aspect: str, facts: list[tuple[int, str]]) -> Any:
    total = sum(amount for amount, _ in facts)
    return total if aspect == "refunded" or not total else (total, facts[0][1])


class Hasty(Careful):
    """Takes whatever arrives last for how things stand."""

    def subscription(self, body: Body, arrival: Arrival) -> None:
        self.subscriptions[body["id"]] = ((False, 0), {body["status"]})


class CountingEvents(Careful):
    """Names money by the event that told it: two events, twice the money."""

    def money(self, body: Body, arrival: Arrival) -> None:
        super().money({**body, "balance_transaction": _named(body, arrival)}, arrival)


def _named(body: Body, arrival: Arrival) -> Any:
    moved = body.get("balance_transaction")
    return {**moved, "id": arrival.id} if isinstance(moved, dict) else moved


class RefundingTwice(Careful):
    """Every event of a refund gives it back once more."""

    def fact(self, aspect: str, object: str, name: str, amount: int, currency: str = "") -> None:
        known = len(self.facts.get((aspect, object), ()))
        super().fact(aspect, object, f"{name}#{known}" if aspect == "refunded" else name, amount, currency)


class Forgetful(Careful):
    """Acknowledges before it saves, and saves only every third time."""

    taken = 0

    def take(self, arrival: Arrival) -> None:
        self.apply(arrival)
        self.taken += 1
        if self.taken % 3 == 0:
            self.saved = self.memory()


class Played:
    """A receiver as a system that is played from nothing."""

    def __init__(self, receiver: type[Careful]) -> None:
        self.receiver, self.aspects = receiver, receiver.aspects

    def expected(self, arrivals: Sequence[Arrival]) -> Answers:
        return oracle.of(arrivals)

    async def play(self, arrivals: Sequence[Arrival], moments: Sequence[int]) -> list[Answers]:
        receiver, answers = self.receiver(), []
        for start, end in pairwise([0, *moments]):
            for arrival in arrivals[start:end]:
                receiver.take(arrival)
            answers.append(receiver.answers())
        return answers
