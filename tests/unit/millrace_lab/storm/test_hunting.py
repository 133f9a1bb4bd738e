"""The hunt: a fault in a receiver is found by a storm, and told as a story of a few deliveries."""

from __future__ import annotations

import ast
import asyncio
import runpy
from collections.abc import Sequence
from pathlib import Path

import pytest

from millrace_lab.delivery.schedule import Schedule
from millrace_lab.storm import lives
from millrace_lab.storm.arrivals import Arrival, arrivals
from millrace_lab.storm.companies import Company
from millrace_lab.storm.hunting import found, hunt, judge
from millrace_lab.storm.simpler import plainer
from millrace_lab.storm.story import Story, oddities
from millrace_lab.storm.writing import read, write
from tests.unit.millrace_lab.storm.hand_made import arrival, refund, subscription
from tests.unit.millrace_lab.storm.receivers import Careful, CountingEvents, Hasty, Played, RefundingTwice

ELDER = arrival(3, "customer.subscription.updated", subscription("active", 5), late=7200)
YOUNGER = arrival(7, "customer.subscription.updated", subscription("past_due", 5))


CAST = (lives.steady, lives.never_paid, lives.leaves_at_once, lives.is_refunded)


def run(seed: int) -> list[Arrival]:
    return arrivals(Company(seed, 45, 12, CAST, twins=0.1).play(), Schedule(seed, "hostile"))


def hunted(receiver: type[Careful], seeds: range = range(1, 11)) -> Story | None:
    return asyncio.run(hunt(Played(receiver), run, seeds))


def types(story: Story) -> list[str]:
    return [each.type for each in story.arrivals]


def test_a_careful_receiver_is_clean() -> None:
    assert hunted(Careful, range(1, 3)) is None


@pytest.mark.parametrize("receiver", [Hasty, CountingEvents, RefundingTwice])
def test_a_fault_is_found_and_shrunk_to_two_deliveries(receiver: type[Careful]) -> None:
    story = hunted(receiver)
    assert story is not None
    assert len(story.arrivals) == 2


def test_a_system_is_judged_at_every_moment_and_by_what_has_arrived_until_then() -> None:
    """Wrong in the middle and right in the end is wrong; and what comes later is not asked of it yet."""
    last = arrival(9, "customer.subscription.deleted", subscription("canceled"))
    came = [YOUNGER, ELDER, last]
    assert asyncio.run(found(Played(Hasty), came)) == []
    judged = asyncio.run(judge(Played(Hasty), came, moments=3))
    assert list(judged.arrivals) == [YOUNGER, ELDER]
    assert [str(each) for each in judged.differences] == ["status of sub_1: past_due at Stripe, active here"]
    assert asyncio.run(judge(Played(Careful), came, moments=3)).differences == []


STORY = """\
status of sub_1: past_due at Stripe, active here

   arrives          event                          about  says                       odd
1  01 Jul 00:00:07  customer.subscription.updated  sub_1  past_due: price_team x 5   before its elder 2
2  01 Jul 00:00:07  customer.subscription.updated  sub_1  active: price_team x 5     4 s late
found by seed 9"""


def of_hasty(events: Sequence[Arrival]) -> Story:
    async def shortest() -> Story:
        story = await hunt(Played(Hasty), lambda _: events, [9])
        assert story is not None
        return story

    return asyncio.run(shortest())


def test_a_story_reads_as_a_table() -> None:
    other = arrival(1, "refund.created", refund("succeeded"))
    lines = str(of_hasty([other, YOUNGER, ELDER])).splitlines()
    assert [line.split() for line in lines] == [line.split() for line in STORY.splitlines()]


def test_what_is_odd_is_said_of_each_delivery() -> None:
    body = subscription("active")
    once, twin, later = arrival(1, "a", body), arrival(1, "a", body, id="evt_x"), arrival(2, "a", body)
    shown = [list(oddities([later, once, once, twin], place)) for place in range(4)]
    assert shown == [["before its elders 2, 3, 4"], [], ["again, as 2"], ["twin of 2"]]


def test_the_first_thing_that_is_tried_is_everything_in_order_and_on_time() -> None:
    first = next(iter(plainer([YOUNGER, ELDER])))
    assert [(each.number, each.at - each.created) for each in first] == [(3, 0), (7, 0)]


def test_a_story_is_put_in_order_where_order_does_not_matter() -> None:
    late = [
        arrival(2, "refund.updated", refund("succeeded"), late=50),
        arrival(1, "refund.created", refund("pending"), late=90),
    ]
    story = asyncio.run(hunt(Played(RefundingTwice), lambda _: late, [1]))
    assert story is not None
    assert [(each.number, each.at - each.created) for each in story.arrivals] == [(1, 0), (2, 0)]


def test_a_story_is_written_as_a_test_and_read_again(tmp_path: Path) -> None:
    story = of_hasty([YOUNGER, ELDER])
    file = write(story, tmp_path)
    module = ast.parse(file.read_text())
    docstring = ast.get_docstring(module) or ""
    assert docstring.startswith("status of sub_1: past_due at Stripe, active here")
    assert "before its elder 2" in docstring
    again = read(file.with_suffix(".json"))
    assert [(e.number, e.at, e.event, e.attempt) for e in again] == [
        (e.number, e.at, e.event, e.attempt) for e in story.arrivals
    ]
    [test] = [made for name, made in runpy.run_path(str(file)).items() if name.startswith("test_")]
    asyncio.run(test(Played(Careful)))
    with pytest.raises(AssertionError):
        asyncio.run(test(Played(Hasty)))
