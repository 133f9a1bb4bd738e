"""Two answers to one question, held against each other: what must be true, and what a system says.

Answers are flat: (aspect, object) → value. Nothing, zero and an empty list are the same as no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

Key = tuple[str, str]  # aspect, object id
Answers = Mapping[Key, Any]


class Open(Enum):
    """No value: `OPEN` where the delivered events do not decide, `DOUBT` where a system says that it has to ask."""

    OPEN = "left open"
    DOUBT = "in doubt"


OPEN, DOUBT = Open.OPEN, Open.DOUBT


@dataclass(frozen=True, slots=True)
class OneOf:
    """Any of several values is right."""

    values: frozenset[Any]

    def __str__(self) -> str:
        return " or ".join(sorted(map(str, self.values)))


def one_of(*values: Any) -> OneOf:
    return OneOf(frozenset(values))


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not what it must be."""

    aspect: str
    object: str
    expected: Any
    found: Any

    @property
    def key(self) -> Key:
        return self.aspect, self.object

    def __str__(self) -> str:
        return f"{self.aspect} of {self.object}: {said(self.expected)} at Stripe, {said(self.found)} here"


def differences(expected: Answers, found: Answers, aspects: Iterable[str]) -> list[Difference]:
    """What differs in the aspects that the system answers, in a fixed order."""
    asked = frozenset(aspects)
    keys = sorted(key for key in expected.keys() | found.keys() if key[0] in asked)
    pairs = ((key, expected.get(key), found.get(key)) for key in keys)
    return [Difference(*key, must, is_) for key, must, is_ in pairs if not _fits(must, is_)]


def doubts(found: Answers) -> int:
    """How often the system says that it is not sure."""
    return sum(value is DOUBT for value in found.values())


def _fits(must: Any, is_: Any) -> bool:
    if must is OPEN or is_ is DOUBT:
        return True
    if isinstance(must, OneOf):
        return is_ in must.values
    return must == is_ or (not must and not is_)


def said(value: Any) -> str:
    """A value for people."""
    if value is None or value == ():
        return "nothing"
    if isinstance(value, Open):
        return value.value
    if isinstance(value, tuple):
        return ", ".join(
            " x ".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in value
        )
    return str(value)
