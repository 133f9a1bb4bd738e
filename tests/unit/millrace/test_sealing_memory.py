"""What is kept in memory is bounded in number and time; what many ask for at once is asked for once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from millrace.sealing.keys import Gathered, Memory


class Hand:
    """Seconds that a test turns."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


def test_the_one_used_longest_ago_makes_room() -> None:
    memory: Memory[str, int] = Memory(2, 10, Hand())
    memory.put("a", 1)
    memory.put("b", 2)
    assert memory.get("a") == 1
    memory.put("c", 3)
    assert [memory.get(name) for name in "abc"] == [1, None, 3]
    assert len(memory) == 2


def test_what_is_old_is_gone_however_often_it_is_used() -> None:
    hand = Hand()
    memory: Memory[str, int] = Memory(2, 10, hand)
    memory.put("a", 1)
    hand.at = 9.9
    assert memory.get("a") == 1
    hand.at = 10
    assert memory.get("a") is None
    assert len(memory) == 0


class Source:
    """Answers when it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.may_answer = asyncio.Event()
        self.was_asked = asyncio.Event()
        self.problem: Exception | None = None

    async def __call__(self, names: Sequence[str]) -> dict[str, str]:
        self.asked.append(list(names))
        self.was_asked.set()
        await self.may_answer.wait()
        if self.problem:
            raise self.problem
        return {name: name.upper() for name in names}


async def test_what_is_asked_while_a_question_is_under_way_gathers() -> None:
    source = Source()
    gathered: Gathered[str, str] = Gathered(source)
    first = asyncio.create_task(gathered.get("a"))
    await source.was_asked.wait()
    others = [asyncio.create_task(gathered.get(name)) for name in "abbc"]
    await asyncio.sleep(0)
    source.may_answer.set()
    assert await asyncio.gather(first, *others) == ["A", "A", "B", "B", "C"]
    assert source.asked == [["a"], ["b", "c"]]


async def test_whoever_goes_away_takes_no_answer_along() -> None:
    source = Source()
    gathered: Gathered[str, str] = Gathered(source)
    gone, stays = asyncio.create_task(gathered.get("a")), asyncio.create_task(gathered.get("a"))
    await source.was_asked.wait()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    source.may_answer.set()
    assert await stays == "A"


async def test_a_failure_is_told_to_all_who_waited_and_the_next_try_works() -> None:
    source = Source()
    source.problem = ValueError("no")
    source.may_answer.set()
    gathered: Gathered[str, str] = Gathered(source)
    answers = await asyncio.gather(*(gathered.get(name) for name in "aab"), return_exceptions=True)
    assert all(answer is source.problem for answer in answers)
    source.problem = None
    assert await gathered.get("a") == "A"
    assert source.asked == [["a", "b"], ["a"]]


async def test_an_answer_that_leaves_one_out_fails_for_all_and_hangs_for_none() -> None:
    async def forgetful(names: Sequence[str]) -> dict[str, str]:
        return {"a": "A"}

    gathered: Gathered[str, str] = Gathered(forgetful)
    answers = await asyncio.gather(gathered.get("a"), gathered.get("b"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [KeyError, KeyError]
