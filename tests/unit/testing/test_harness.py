"""The harness in memory: what a team's test can make happen to its consumer, and what it sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from millrace import outbox
from millrace.consumer import DeadLetterLimit, Each, Rest
from millrace.consumer.store import Store
from millrace.errors import Poison, Retryable
from millrace.events import Event
from millrace.events.ours import RefreshRequested
from millrace.postgres import Transaction
from millrace.testing import Bus, Harness
from millrace.testing.memory import Memory
from tests.support.tally import Tally, event, fold

Says = Callable[[Transaction, Event], Awaitable[str | None]]


class Page:
    """A test's own transaction: it notes what handlers say to it, and forgets what was undone."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.kept = 0

    async def note(self, line: str) -> None:
        self.lines.append(line)

    def rollback(self) -> None:
        self.undone = self.lines[:]
        self.lines.clear()


def each(handler: Says, **how: Any) -> Each:
    return Each("tally", {"stripe.add": handler}, **how)


async def noted(tx: Any, e: Event) -> str:
    await tx.note(e.id)
    return f"noted {e.id}"


def test_whatever_the_store_keeps_memory_keeps() -> None:
    kept = {name for name in vars(Store) if not name.startswith("__")}
    decides_nothing = {"sql", "write", "publish"}  # they only call the others
    assert kept - set(vars(Memory)) == decides_nothing


# --- a fold ---


async def test_events_are_applied_one_after_another_to_the_state_as_it_evolves() -> None:
    harness = Harness(fold())
    report = await harness.run(event("add", "e1", 3), event("add", "e2", 4), event("look", "e3"))
    assert (report.applied, report.noop) == (2, 1)
    assert harness.states == {"a": Tally(("e1", "e2"), 7)}
    assert harness.outcomes == {"e1": "applied", "e2": "applied", "e3": "noop"}
    assert harness.reasons["e2"] == "added 4"


async def test_load_and_save_are_not_called() -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError("the database was asked")

    harness = Harness(replace(fold(), load=never, save=never))
    await harness.run(event("add", "e1"))
    assert harness.states == {"a": Tally(("e1",), 1)}


async def test_what_comes_twice_is_applied_once() -> None:
    harness = Harness(fold())
    report = await harness.run(event("add", "e1"), event("add", "e1"))
    again = await harness.redeliver()
    assert (report.applied, report.duplicate, again.applied, again.duplicate) == (1, 1, 0, 2)
    assert harness.states == {"a": Tally(("e1",), 1)}
    assert [e.id for e in harness.published] == ["tally.e1.0"]


async def test_a_later_run_goes_on_where_the_last_one_ended() -> None:
    harness = Harness(fold())
    await harness.run(event("add", "e1"))
    report = await harness.run(event("add", "e2"))
    assert (report.applied, report.duplicate) == (1, 0)


async def test_its_events_are_seen_with_their_cause() -> None:
    harness = Harness(fold())
    await harness.run(event("add", "e1"))
    [published] = harness.published
    assert (published.type, published.source, published.subject) == (
        "millrace.refresh.requested",
        "millrace/tally",
        "a",
    )
    assert RefreshRequested.of(published).cause == "e1"


async def test_poison_is_parked_with_a_notice_and_holds_its_key() -> None:
    harness = Harness(fold())
    await harness.run(event("add", "e1", "two"), event("add", "e2"), event("add", "e3", of="b"))
    assert harness.outcomes == {"e1": "parked poison", "e2": "parked behind", "e3": "applied"}
    assert [(j.record.name[1], j.reason) for j in harness.parked] == [
        ("e1", "amount is not a whole number"),
        ("e2", "an earlier event of acct_test/a is parked"),
    ]
    assert [e.data["event_id"] for e in harness.notices] == ["e1", "e2"]
    assert [e.subject for e in harness.published] == ["b"]


async def test_after_a_mended_version_a_redrive_restores_what_a_run_without_the_bug_had() -> None:
    harness = Harness(replace(fold(), apply={**fold().apply, "stripe.take": fold().apply["stripe.broken"]}))
    stream = [
        event("add", "e1", 5),
        event("take", "e2", 3),
        event("add", "e3", 1),
        event("add", "x", 1, of="b"),
    ]
    await harness.run(*stream)
    assert harness.outcomes["e2"] == "parked failed"
    assert "secret" not in harness.reasons["e2"]
    report = await harness.redrive()
    assert (report.applied, harness.outcomes["e2"], harness.outcomes["e3"]) == (
        0,
        "parked failed",
        "parked behind",
    )
    harness.deploy(fold())
    report = await harness.redrive("acct_test/a")
    undisturbed = Harness(fold())
    await undisturbed.run(*stream)
    assert harness.states == undisturbed.states
    assert harness.parked == []
    assert (report.applied, {e.id for e in harness.published}) == (2, {e.id for e in undisturbed.published})


async def test_a_redrive_in_vain_lets_nobody_pass_however_many_wait() -> None:
    harness = Harness(fold())
    await harness.run(event("add", "poison", "two"), *(event("add", f"e{n}") for n in range(600)))
    before = harness.outcomes
    await harness.redrive()
    assert (harness.outcomes, harness.states) == (before, {})
    assert before == {"poison": "parked poison"} | {f"e{n}": "parked behind" for n in range(600)}


async def test_who_waited_behind_follows_the_one_that_is_settled() -> None:
    harness = Harness(replace(fold(), apply={**fold().apply, "stripe.take": fold().apply["stripe.broken"]}))
    await harness.run(
        event("add", "e1", 5), event("take", "e2", 3), event("add", "e3"), event("take", "e4", 1)
    )
    harness.deploy(fold())
    parked = harness.store.tables.parked  # type: ignore[attr-defined]  # a Memory's
    front = next(iter(parked))
    parked[front] = replace(parked[front], asked=True)  # an operator who asks for that one alone
    while (await harness.batches.asked()).redrives:
        await harness.batches.redrive_asked()
    assert harness.states == {"a": Tally(("e1", "e2", "e3", "e4"), 2)}


async def test_what_waits_is_released_by_its_fact() -> None:
    harness = Harness(fold())
    await harness.run(event("take", "t", 5))
    assert harness.outcomes == {"t": "parked waiting"}
    await harness.run(event("add", "a", 7))
    assert harness.outcomes == {"a": "applied", "t": "applied"}
    assert harness.states == {"a": Tally(("a", "t"), 2)}


async def test_a_record_that_nobody_can_read_is_parked_by_its_place() -> None:
    harness = Harness(fold())
    stranger = harness.bus.put("stripe.billing", key=b"k", value=b"{}")
    await harness.run(event("add", "e1"))
    assert harness.outcomes == {stranger.place: "parked poison", "e1": "applied"}


async def test_a_bug_with_every_event_halts_before_the_topic_is_drained() -> None:
    harness = Harness(fold(), dead_letters_max=3, batch_max=1)
    with pytest.raises(DeadLetterLimit, match="4 events in 3600 s could not be applied"):
        await harness.run(*(event("broken", f"e{n}", of=f"k{n}") for n in range(9)))
    assert len(harness.parked) == 3
    with pytest.raises(DeadLetterLimit):  # nor does it after a restart
        await harness.run()
    harness.wait(3601)
    with pytest.raises(DeadLetterLimit):
        await harness.run()
    assert len(harness.parked) == 6


# --- dying ---


@pytest.mark.parametrize("batch_max", [1, 2, 500])
async def test_it_dies_at_every_await_and_every_event_is_applied_once(batch_max: int) -> None:
    harness, undisturbed = Harness(fold(), batch_max=batch_max), Harness(fold())
    stream = [event("take", "t", 2), event("add", "e1", 1), event("add", "e2", "two"), event("add", "e3", of="b"),
              event("add", "e1", 1)]  # fmt: skip
    harness.bus.send(*stream)
    died = await harness.crash_everywhere()
    await undisturbed.run(*stream)
    assert died >= 4
    assert harness.states == undisturbed.states
    assert harness.outcomes == undisturbed.outcomes
    assert sorted(e.id for e in harness.published) == sorted(e.id for e in undisturbed.published)


async def test_before_the_commit_nothing_is_kept_and_after_it_everything_is() -> None:
    harness = Harness(fold())
    harness.bus.send(event("add", "e1"))
    at = 0
    while not harness.states:
        at += 1
        assert await harness.crash(at)
        assert (harness.judged == {}) == (harness.states == {}) == (harness.published == [])
    assert at > 1
    assert harness.positions == {}  # it died before it could tell Kafka
    report = await harness.run()
    assert (report.duplicate, harness.states) == (1, {"a": Tally(("e1",), 1)})


async def test_a_run_that_has_fewer_awaits_comes_to_its_end() -> None:
    harness = Harness(fold())
    harness.bus.send(event("add", "e1"))
    assert not await harness.crash(at=1000)
    assert harness.outcomes == {"e1": "applied"}


# --- handlers ---


async def test_handlers_get_what_the_test_gives() -> None:
    page = Page()
    harness = Harness(each(noted), tx=page)
    await harness.run(event("add", "e1"), event("add", "e1"), event("other", "e2"))
    assert page.lines == ["e1"]
    assert harness.outcomes == {"e1": "applied", "e2": "noop"}
    assert harness.reasons["e1"] == "noted e1"


async def test_what_a_handler_wrote_is_undone_with_its_transaction() -> None:
    async def half(tx: Any, e: Event) -> None:
        await tx.note(e.id)
        raise Poison("no")

    page = Page()
    harness = Harness(each(half), tx=page)
    await harness.run(event("add", "e1"))
    assert (page.lines, page.undone) == ([], ["e1"])
    assert harness.outcomes == {"e1": "parked poison"}


async def test_dying_between_two_writes_of_a_handler_leaves_neither() -> None:
    async def twice(tx: Any, e: Event) -> None:
        await tx.note("first")
        await tx.note("second")

    page = Page()
    harness = Harness(each(twice), tx=page)
    harness.bus.send(event("add", "e1"))
    undone = []
    for at in range(1, 7):
        assert await harness.crash(at)
        undone.append(len(page.undone) if hasattr(page, "undone") else 0)
    assert undone == [0, 0, 1, 1, 2, 2]
    assert page.lines == []
    await harness.run()
    assert page.lines == ["first", "second"]


@pytest.mark.parametrize(("ordered", "second"), [(True, "parked behind"), (False, "applied")])
async def test_later_events_wait_behind_a_parked_one_where_order_matters(ordered: bool, second: str) -> None:
    async def picky(tx: Any, e: Event) -> None:
        if e.id == "e1":
            raise Poison("not this one")
        await tx.note(e.id)

    harness = Harness(each(picky, ordered=ordered), tx=Page())
    await harness.run(event("add", "e1"), event("add", "e2"))
    assert harness.outcomes == {"e1": "parked poison", "e2": second}


async def test_what_is_not_ready_rests_alone_and_is_parked_when_its_time_is_over() -> None:
    async def away(tx: Any, e: Event) -> None:
        if e.subject == "a":
            raise Retryable("the mail server is away", after=7)
        await tx.note(e.id)

    page = Page()
    harness = Harness(each(away, ordered=False), tx=page, retry_seconds=60, batch_max=1)
    await harness.run(event("add", "e1", of="b"), event("add", "e2", of="a"), event("add", "e3", of="a"))
    [(_, rest)] = harness.resting.items()
    assert rest == Rest("the mail server is away", 7)
    assert "e2" not in harness.outcomes
    harness.wait(61)
    await harness.run()
    assert harness.outcomes["e2"] == "parked failed"
    assert harness.reasons["e2"] == "not ready for 60 s: the mail server is away"


async def test_a_handler_publishes_through_the_outbox() -> None:
    async def telling(tx: Transaction, e: Event) -> None:
        body = RefreshRequested(account=e.account, customer="", object=e.subject, reason="told", cause=e.id)
        await outbox.publish(tx, outbox.caused(e, "tally", body))

    harness = Harness(each(telling), tx=Page())
    harness.bus.send(event("add", "e1"))
    assert await harness.crash_everywhere() > 2
    assert [(e.id, e.data["reason"]) for e in harness.published] == [("tally.e1.0", "told")]


def test_handlers_without_anything_to_write_to_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"give tx=…, an object of yours, or pool=…"):
        Harness(each(noted))


def test_handlers_have_no_states() -> None:
    with pytest.raises(TypeError, match="only a fold in memory has states"):
        _ = Harness(each(noted), tx=Page()).states


async def test_two_consumers_read_one_bus_each_for_itself() -> None:
    bus = Bus()
    first, second = Harness(fold(), bus=bus), Harness(fold(), bus=bus)
    await first.run(event("add", "e1"))
    assert second.states == {}
    await second.run()
    assert second.states == first.states
