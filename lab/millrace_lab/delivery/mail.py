"""The book of deliveries: what is to be posted when, what came of it, and what follows.

It makes no request itself: `take` hands letters out in the order of virtual time, `record` takes the answer.
Only an automatic attempt decides about further ones: copies and resends are sent and written down, no more.

Source: docs.stripe.com/webhooks; docs/lab/behaviours.md.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from millrace_lab.account import Account, Told
from millrace_lab.delivery import retries
from millrace_lab.delivery.schedule import Schedule
from millrace_lab.errors import Body, missing
from millrace_lab.invoices import drafting
from millrace_lab.platform import destinations, endpoints
from millrace_lab.platform.event_types import matches


@dataclass(frozen=True, slots=True)
class Letter:
    """One POST to make. `way`: automatic, copy, resend, or stray (an event of the other mode)."""

    at: int
    event: str
    endpoint: str
    attempt: int = 1
    way: str = "automatic"
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the endpoint answered; without a `status` none was heard, and `error` says why."""

    status: int | None = None
    milliseconds: int = 0
    error: str = ""

    @property
    def accepted(self) -> bool:
        """Anything but a success is a failure, a redirection included."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Attempt:
    letter: Letter
    answer: Answer


class Mail:
    """The deliveries of one account.

    A new invoice that all its endpoints have accepted is acknowledged: until then it stays a draft.
    """

    def __init__(self, account: Account, schedule: Schedule) -> None:
        self.account, self.schedule = account, schedule
        self.log: list[Attempt] = []  # in the order in which they were made
        self._attempts: dict[str, list[Attempt]] = {}  # by event
        self.open: dict[str, list[str]] = {}  # event → endpoints that have not accepted it
        self.unplugged: set[str] = set()  # endpoints that a person took down
        self._due: list[tuple[int, float, int, Letter]] = []
        self._serial = 0
        account.listeners.append(self.hear)

    # What is to be sent.

    def hear(self, told: Told) -> None:
        """Put a first letter down for every endpoint that wants the event."""
        wanting = [endpoint["id"] for endpoint in self.endpoints() if wants(endpoint, told)]
        if not wanting:
            return
        self.open[told.id] = wanting
        self.account.pending[told.id] = len(wanting)
        at = self.account.now if told.clock else max(told.created, self.account.now)
        for endpoint in wanting:
            self._automatic(told.id, endpoint, 1, at)

    def endpoints(self) -> Iterator[Body]:
        for kind in (endpoints.KIND, destinations.KIND):
            yield from self.account.all(kind)

    def resend(self, event: str, endpoint: str | None = None) -> list[Letter]:
        """Send an event again by hand, to one endpoint or to all that want it. Retries go on as they were."""
        told = self.account.told(event)
        if told is None:
            raise missing("event", event)
        chosen = [e["id"] for e in self.endpoints() if endpoint in (None, e["id"]) and wants(e, told)]
        if endpoint is not None and not chosen:
            raise missing("webhook_endpoint", endpoint)
        letters = [Letter(self.account.now, event, each, 0, "resend") for each in chosen]
        for letter in letters:
            self._put(letter, 0.0)
        return letters

    def next_at(self) -> int | None:
        """The second of the earliest letter."""
        return self._due[0][0] if self._due else None

    def take(self, until: int) -> list[Letter]:
        """The letters of the earliest second that is not after `until`, in their order."""
        at = self.next_at()
        taken: list[Letter] = []
        while at is not None and at <= until and self._due and self._due[0][0] == at:
            letter = heapq.heappop(self._due)[3]
            if self.is_wanted(letter):
                taken.append(letter)
            elif letter.way == "automatic":
                self._settle(letter)
        return taken

    def is_wanted(self, letter: Letter) -> bool:
        """Whether its endpoint is still there and enabled: retries to others stop."""
        endpoint = self.account.find(letter.endpoint)
        return endpoint is not None and not endpoint.get("deleted") and endpoint["status"] == "enabled"

    def waiting(self) -> list[Letter]:
        """All letters that are still to be sent, earliest first."""
        return [letter for *_, letter in sorted(self._due, key=lambda due: due[:3])]

    def awaited(self) -> set[str]:
        """The events of which something is still to be sent."""
        return {letter.event for *_, letter in self._due}

    # What came of it.

    def record(self, letter: Letter, answer: Answer) -> Attempt:
        """Write an attempt down; decide on the next one."""
        attempt = Attempt(letter, answer)
        self._keep(attempt)
        if answer.accepted and letter.way != "stray":
            self._settle(letter)
        if letter.way == "automatic" and not answer.accepted:
            following = retries.next_try(self.waits, letter.attempt, letter.at)
            if following is not None:
                self._automatic(letter.event, letter.endpoint, letter.attempt + 1, following)
        return attempt

    def attempts(self, event: str) -> list[Attempt]:
        """What was done about one event, oldest first."""
        return self._attempts.get(event, [])

    def _keep(self, attempt: Attempt) -> None:
        self.log.append(attempt)
        self._attempts.setdefault(attempt.letter.event, []).append(attempt)

    @property
    def waits(self) -> tuple[int, ...]:
        by_mode = "live" if self.account.livemode else "sandbox"
        chosen = self.account.settings["retries"]
        return retries.WAITS[by_mode if chosen == "by_mode" else chosen]

    def _settle(self, letter: Letter) -> None:
        """Its endpoint has accepted the event, or is not waited for any longer."""
        still = self.open.get(letter.event, [])
        if letter.endpoint not in still:
            return
        still.remove(letter.endpoint)
        self.account.pending[letter.event] = len(still)
        if still:
            return
        del self.open[letter.event], self.account.pending[letter.event]
        told = self.account.told(letter.event)
        if told is not None and told.type == "invoice.created":
            drafting.acknowledged(self.account.owner(told), told.object["id"])

    def _automatic(self, event: str, endpoint: str, attempt: int, due: int) -> None:
        decision = self.schedule.decide(event, endpoint, attempt, due)
        letter = Letter(due + decision.delay_seconds, event, endpoint, attempt, "automatic", decision.fault)
        self._put(letter, decision.tie)
        if decision.stray:
            self._put(Letter(letter.at, event, endpoint, attempt, "stray"), decision.tie)
        if decision.arrives:
            for after in decision.copies:
                self._put(Letter(letter.at + after, event, endpoint, attempt, "copy"), decision.tie + 1.0)

    def _put(self, letter: Letter, tie: float) -> None:
        self._serial += 1
        heapq.heappush(self._due, (letter.at, tie, self._serial, letter))

    # For keeping it in a file.

    def state(self) -> Body:
        return {
            "serial": self._serial,
            "due": [[at, tie, serial, _plain(letter)] for at, tie, serial, letter in sorted(self._due)],
            "open": self.open,
            "unplugged": sorted(self.unplugged),
            "attempts": [
                [_plain(each.letter), [each.answer.status, each.answer.milliseconds, each.answer.error]]
                for each in self.log
            ],
        }

    def restore(self, state: Body) -> None:
        """Take up what `state` gave. The account has been loaded already."""
        self._serial = state["serial"]
        self._due = [(at, tie, serial, Letter(*letter)) for at, tie, serial, letter in state["due"]]
        self.open, self.unplugged = state["open"], set(state["unplugged"])
        self.account.pending = {event: len(endpoints) for event, endpoints in self.open.items()}
        for letter, answer in state["attempts"]:
            self._keep(Attempt(Letter(*letter), Answer(*answer)))


def wants(endpoint: Body, told: Told) -> bool:
    """Whether an endpoint is enabled and has asked for this type: by name, by `invoice.*`, or all by `*`.

    What happens on connected accounts goes to endpoints made for them, and nothing else does.
    """
    if endpoint["object"] == destinations.KIND:
        return destinations.wants(endpoint, told)
    return (
        endpoint["status"] == "enabled"
        and bool(endpoint.get("_connect")) == bool(told.account)
        and not told.thin
        and matches(told.type, endpoint["enabled_events"])
    )


def _plain(letter: Letter) -> list[str | int]:
    return [letter.at, letter.event, letter.endpoint, letter.attempt, letter.way, letter.fault]
