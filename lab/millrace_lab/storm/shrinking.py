"""The shortest list that still fails, found by trying. Pure: it knows neither events nor systems.

First coarse guesses, then delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing
Input", 2002) until no single thing can be left out, then whatever makes what is left plainer: in the true
order, on time, once. Every try costs the caller something, so tries are counted, remembered and bounded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
Fails = Callable[[Sequence[T]], Awaitable[bool]]
TRIES_MOST = 2000


@dataclass(slots=True)
class Shrunk(Generic[T]):
    """What is left, and whether it is certain that nothing more can go."""

    items: list[T]
    tries: int
    done: bool


@dataclass(slots=True)
class Trying(Generic[T]):
    """Asks whether a list fails, each list once, until the tries are spent."""

    fails: Fails[T]
    most: int
    progress: Callable[[int, int], None]
    tries: int = 0
    known: dict[tuple[int, ...], bool] = field(default_factory=dict)
    kept: list[Sequence[T]] = field(default_factory=list)  # so that no identity is used twice

    async def __call__(self, items: Sequence[T]) -> bool:
        name = tuple(map(id, items))
        if name not in self.known:
            if self.spent:
                return False
            self.tries += 1
            self.kept.append(items)
            self.known[name] = await self.fails(items)
            self.progress(self.tries, len(items))
        return self.known[name]

    @property
    def spent(self) -> bool:
        return self.tries >= self.most


async def shrink(
    items: Sequence[T],
    fails: Fails[T],
    *,
    guesses: Iterable[Sequence[T]] = (),
    plainer: Callable[[Sequence[T]], Iterable[Sequence[T]]] = lambda _: (),
    most: int = TRIES_MOST,
    progress: Callable[[int, int], None] = lambda tries, left: None,
) -> Shrunk[T]:
    """A list that fails like `items`, from which nothing can be left out.

    `guesses` are parts that may well fail already, boldest first: the first that does is where it begins.
    `plainer` proposes lists of the same length that are easier to read, best first; taken while they fail.
    `progress` hears the tries so far and the length of the list that was tried.
    """
    trying = Trying(fails, most, progress)
    left: Sequence[T] = items
    for guess in guesses:
        if 0 < len(guess) < len(left) and await trying(guess):
            left = guess
            break
    left = await _least(left, trying)
    left = await _plainest(left, trying, plainer)
    return Shrunk(list(await _least(left, trying)), trying.tries, not trying.spent)


async def _least(items: Sequence[T], fails: Trying[T]) -> Sequence[T]:
    """Delta debugging: ever smaller parts are left out, until single ones cannot be."""
    parts = 2
    while len(items) > 1:
        parts = min(parts, len(items))
        smaller = await _first(fails, _without(items, parts))
        if smaller is not None:
            items, parts = smaller, max(parts - 1, 2)
        elif parts == len(items):
            break
        else:
            parts *= 2
    return items


def _without(items: Sequence[T], parts: int) -> Iterator[Sequence[T]]:
    """At two parts each half; at more the list without each of its parts."""
    size = len(items) / parts
    for number in range(parts):
        start, end = round(number * size), round((number + 1) * size)
        yield [*items[:start], *items[end:]]


async def _plainest(
    items: Sequence[T], fails: Trying[T], plainer: Callable[[Sequence[T]], Iterable[Sequence[T]]]
) -> Sequence[T]:
    while (found := await _first(fails, plainer(items))) is not None:
        items = found
    return items


async def _first(fails: Trying[T], choices: Iterable[Sequence[T]]) -> Sequence[T] | None:
    for choice in choices:
        if await fails(choice):
            return choice
    return None
