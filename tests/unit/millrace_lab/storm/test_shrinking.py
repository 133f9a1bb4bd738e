"""The shrinker: smallest lists, few tries, and never a longer answer than it was given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_lab.storm.shrinking import Shrunk, shrink

Letters = Sequence[str]


def shrunk(
    items: str,
    fails: Callable[[str], bool],
    *,
    guesses: Iterable[str] = (),
    plainer: Callable[[Letters], Iterable[Letters]] = lambda _: (),
    most: int = 2000,
) -> tuple[str, Shrunk[str]]:
    asked: list[str] = []

    async def ask(some: Letters) -> bool:
        asked.append("".join(some))
        return fails("".join(some))

    found = asyncio.run(shrink(list(items), ask, guesses=map(list, guesses), plainer=plainer, most=most))
    assert found.tries == len(asked)
    return "".join(found.items), found


ALPHABET = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("fails", "least"),
    [
        (lambda s: "q" in s, "q"),
        (lambda s: "b" in s and "y" in s, "by"),
        (lambda s: {"a", "m", "n", "z"} <= set(s), "amnz"),
        (lambda s: len(s) >= 3, "xyz"),
        (lambda s: s == ALPHABET, ALPHABET),
    ],
)
def test_what_is_left_is_what_it_takes(fails: Callable[[str], bool], least: str) -> None:
    left, found = shrunk(ALPHABET, fails)
    assert (len(left), fails(left)) == (len(least), True)
    assert found.done


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(ALPHABET), min_size=1, max_size=30), st.data())
def test_nothing_that_is_left_can_be_left_out(letters: list[str], data: st.DataObject) -> None:
    needed = data.draw(st.lists(st.sampled_from(letters), min_size=1, max_size=5))

    def fails(some: str) -> bool:
        return all(
            some.count(each) >= needed.count(each)
            for each in needed
            if letters.count(each) >= needed.count(each)
        )

    left, _ = shrunk("".join(letters), fails)
    assert fails(left)
    assert not [n for n in range(len(left)) if len(left) > 1 and fails(left[:n] + left[n + 1 :])]


def test_one_thing_in_a_thousand_is_found_in_few_tries() -> None:
    letters = "." * 700 + "x" + "." * 299
    left, found = shrunk(letters, lambda s: "x" in s)
    assert (left, found.tries < 30) == ("x", True)


def test_a_good_guess_saves_tries_and_a_bad_one_costs_one() -> None:
    fails = lambda s: "q" in s and "t" in s  # noqa: E731
    _, plain = shrunk(ALPHABET * 20, fails)
    guessed, helped = shrunk(ALPHABET * 20, fails, guesses=["xyz", "pqrst"])
    assert guessed == "qt"
    assert helped.tries < plain.tries / 2


def test_the_tries_are_bounded_and_it_says_when_they_ran_out() -> None:
    left, found = shrunk(ALPHABET, lambda s: "q" in s and "a" in s and "z" in s, most=5)
    assert (found.tries, found.done) == (5, False)
    assert {"q", "a", "z"} <= set(left)


def test_what_is_left_is_put_in_the_plainest_order_that_still_fails() -> None:
    def plainer(some: Letters) -> Iterable[Letters]:
        yield from ([] if list(some) == sorted(some) else [sorted(some)])
        for n in range(len(some) - 1):
            if some[n] > some[n + 1]:
                yield [*some[:n], some[n + 1], some[n], *some[n + 2 :]]

    free, _ = shrunk("zyxwba", lambda s: {"a", "b", "z"} <= set(s), plainer=plainer)
    bound, _ = shrunk("zyxwba", lambda s: "b" in s and "z" in s and "a" in s[s.index("z") :], plainer=plainer)
    assert (free, bound) == ("abz", "bza")
