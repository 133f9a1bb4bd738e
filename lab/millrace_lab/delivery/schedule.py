"""What becomes of every attempt to deliver, decided from a seed and written down.

A profile is a row of knobs. Each knob draws from the seed, its own name and the delivery alone, so that
turning one leaves what the others chose as it was. A list of decisions replays exactly, without a seed.

Source: docs.stripe.com/webhooks says that events come late, twice and in any order; how often is our reading.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from millrace_lab import ids
from millrace_lab.account import DAY, HOUR, MINUTE
from millrace_lab.errors import Body


@dataclass(frozen=True, slots=True)
class Profile:
    """Shares from 0 to 1 of the attempts to which something happens. All zero is kind."""

    twice: float = 0.0  # sent again: at once, minutes later, or both
    echo: float = 0.0  # sent again one to five days after it was delivered
    late: float = 0.0  # held back by seconds to hours, rather less than more
    days_late: float = 0.0  # held back by one to three days
    ties: float = 0.0  # takes a random place among what is sent in the same second
    lost: float = 0.0  # the first attempt never arrives
    gone: float = 0.0  # no attempt ever arrives
    unheard: float = 0.0  # arrives, but the answer does not: counts as timed out
    stalled: float = 0.0  # breaks off in the middle of the body
    down: float = 0.0  # days on which the endpoint cannot be reached for one to five hours
    rotated: float = 0.0  # the first attempt is signed with a secret that has been rolled out
    stray: float = 0.0  # an event of the other mode comes along with it


PROFILES: dict[str, Profile] = {
    "kind": Profile(),
    "usual": Profile(twice=0.10, late=0.05, ties=0.5),
    "hostile": Profile(
        twice=0.25, echo=0.05, late=0.25, days_late=0.03, ties=1.0, lost=0.10, gone=0.002,
        unheard=0.05, stalled=0.02, down=0.10, rotated=0.02, stray=0.02,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to one attempt at one event for one endpoint. The defaults are a delivery as it should be."""

    event: str
    endpoint: str
    attempt: int  # counts from 1
    delay_seconds: int = 0
    tie: float = 0.0  # the place among the deliveries of one second, smallest first
    copies: tuple[int, ...] = ()  # sent again so many seconds after it arrived
    fault: str = ""  # "" or: lost gone unheard stalled down rotated
    stray: bool = False

    @property
    def arrives(self) -> bool:
        """Whether a receiver gets it whole and with a good signature."""
        return self.fault in ("", "unheard")

    @property
    def oddities(self) -> tuple[str, ...]:
        """In words, what is unusual about it."""
        late = ("days late",) if self.delay_seconds >= DAY else ("late",) if self.delay_seconds else ()
        twice = ("twice",) if self.copies else ()
        return (*late, *twice, *filter(None, (self.fault, "stray" if self.stray else "")))


class Schedule:
    """Decisions from a seed, each made once and kept in `records`, in the order in which they were asked for.

    `known` are decisions that were written down earlier: they hold, whatever the seed would say.
    """

    def __init__(self, seed: int, profile: Profile | str = "kind", known: Iterable[Decision] = ()) -> None:
        self.seed = seed
        self.profile = PROFILES[profile] if isinstance(profile, str) else profile
        self.records: list[Decision] = []
        self._known = {(each.event, each.endpoint, each.attempt): each for each in known}
        self._asked: set[tuple[str, str, int]] = set()

    def decide(self, event: str, endpoint: str, attempt: int, due: int) -> Decision:
        """The same answer for the same attempt, however often. `due` is its second without any delay."""
        key = (event, endpoint, attempt)
        if key not in self._known:
            self._known[key] = self._decided(event, endpoint, attempt, due)
        if key not in self._asked:
            self._asked.add(key)
            self.records.append(self._known[key])
        return self._known[key]

    def state(self) -> Body:
        """All of it as plain data, for `restored`."""
        return {
            "seed": self.seed,
            "profile": asdict(self.profile),
            "known": [_row(each) for each in self._known.values()],
            "asked": [[each.event, each.endpoint, each.attempt] for each in self.records],
        }

    def _decided(self, event: str, endpoint: str, attempt: int, due: int) -> Decision:
        delay = self._delay(event, endpoint) if attempt == 1 else 0
        return Decision(
            event,
            endpoint,
            attempt,
            delay,
            self._draw("place", event, endpoint, attempt)
            if self._hits("ties", event, endpoint, attempt)
            else 0.0,
            self._copies(event, endpoint) if attempt == 1 else (),
            self._fault(event, endpoint, attempt, due + delay),
            attempt == 1 and self._hits("stray", event, endpoint),
        )

    def _delay(self, event: str, endpoint: str) -> int:
        if self._hits("days_late", event, endpoint):
            return DAY + int(2 * DAY * self._draw("how many days", event, endpoint))
        if self._hits("late", event, endpoint):
            return 1 + int((6 * HOUR - 1) * self._draw("how late", event, endpoint) ** 3)
        return 0

    def _copies(self, event: str, endpoint: str) -> tuple[int, ...]:
        copies: tuple[int, ...] = ()
        if self._hits("twice", event, endpoint):
            minutes = MINUTE + int(29 * MINUTE * self._draw("minutes", event, endpoint))
            copies = ((0,), (minutes,), (0, minutes))[int(3 * self._draw("kind of copy", event, endpoint))]
        if self._hits("echo", event, endpoint):
            copies += (DAY + int(4 * DAY * self._draw("echo after", event, endpoint)),)
        return copies

    def _fault(self, event: str, endpoint: str, attempt: int, at: int) -> str:
        """The first that applies, worst first."""
        if self._hits("gone", event, endpoint):
            return "gone"
        if self._is_down(endpoint, at):
            return "down"
        if attempt == 1:
            for knob in ("lost", "rotated"):
                if self._hits(knob, event, endpoint):
                    return knob
        for knob in ("stalled", "unheard"):
            if self._hits(knob, event, endpoint, attempt):
                return knob
        return ""

    def _is_down(self, endpoint: str, at: int) -> bool:
        day, second = divmod(at, DAY)
        if not self._hits("down", endpoint, day):
            return False
        start = int((DAY - 5 * HOUR) * self._draw("down from", endpoint, day))
        return start <= second < start + HOUR + int(4 * HOUR * self._draw("down for", endpoint, day))

    def _hits(self, knob: str, *what: object) -> bool:
        share: float = getattr(self.profile, knob)
        return share > 0 and self._draw(knob, *what) < share

    def _draw(self, knob: str, *what: object) -> float:
        return ids.chance(self.seed, knob, *what)


class Replay(Schedule):
    """Decisions as they were written down; an attempt of which nothing was written is a kind one."""

    def __init__(self, records: Iterable[Decision]) -> None:
        super().__init__(0, "kind", records)


def restored(state: Body) -> Schedule:
    """The schedule that `state` gave, with what it has decided so far."""
    known = [Decision(**dict(zip(COLUMNS, _values(row), strict=True))) for row in state["known"]]
    schedule = Schedule(state["seed"], Profile(**state["profile"]), known)
    for event, endpoint, attempt in state["asked"]:
        schedule.decide(event, endpoint, attempt, 0)
    return schedule


def _values(row: list[Any]) -> list[Any]:
    return [tuple(value) if isinstance(value, list) else value for value in row]


def _row(decision: Decision) -> list[Any]:
    return [getattr(decision, name) for name in COLUMNS]


KNOBS = tuple(each.name for each in fields(Profile))
COLUMNS = tuple(each.name for each in fields(Decision))
