"""The pure step: order, parking, waiting, without a database."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from millrace.consumer import Decision, Record, judge, read, run
from millrace.consumer.judge import Stopped, parked
from millrace.errors import Retryable
from millrace.events import Event, headers
from tests.support.events import record
from tests.support.tally import Tally, event, fold


def outcomes(*records: Record, ordered: bool = True, held: frozenset[str] = frozenset()) -> list[str]:
    states: dict[str, Tally] = {}
    return [
        f"{j.outcome} {j.status}".strip()
        for j in judge(fold(ordered=ordered), None, states, records, held=held).judged
    ]


def test_events_of_a_key_are_applied_one_after_another_to_the_state_as_it_evolves() -> None:
    states, judged = run(fold(), None, [record(event("add", f"e{n}", n)) for n in (1, 2, 3)])
    assert states == {"a": Tally(("e1", "e2", "e3"), 6)}
    assert [j.reason for j in judged] == ["added 1", "added 2", "added 3"]


def test_a_type_that_nobody_named_is_a_noop_with_a_reason() -> None:
    _, [judged] = run(fold(), None, [record(event("invented", "e1"))])
    assert (judged.outcome, judged.reason) == ("noop", "stripe.invented does not concern tally")


@pytest.mark.parametrize(
    ("ordered", "expected"),
    [
        (True, ["applied", "parked poison", "parked behind", "applied"]),
        (False, ["applied", "parked poison", "applied", "applied"]),
    ],
)
def test_poison_holds_its_own_key_where_order_matters(ordered: bool, expected: list[str]) -> None:
    stream = [event("add", "e1"), event("add", "e2", "two"), event("add", "e3"), event("add", "e4", of="b")]
    assert outcomes(*map(record, stream), ordered=ordered) == expected


def test_a_key_that_is_held_already_stays_held() -> None:
    assert outcomes(record(event("add", "e1")), held=frozenset({"acct_test/a"})) == ["parked behind"]


def test_a_bug_parks_its_event_and_its_text_is_never_told() -> None:
    _, [judged] = run(fold(), None, [record(event("broken", "e1"))])
    assert (judged.outcome, judged.status) == ("parked", "failed")
    assert "ZeroDivisionError" in judged.reason
    assert "secret" not in judged.reason


def test_the_traceback_of_a_bug_names_the_places_in_the_rule_and_in_the_runtime() -> None:
    _, [judged] = run(fold(), None, [record(event("broken", "e1"))])
    assert judged.reason.startswith("ZeroDivisionError at tally/__init__.py:")
    assert " broken < consumer/judge.py:" in judged.reason


def test_a_rule_that_wants_to_wait_for_the_world_stops_and_names_its_event() -> None:
    def unready(tally: Tally | None, e: Event, _: None) -> Decision[Tally]:
        raise Retryable("no rate for today yet")

    stream = [record(event("add", "e1")), record(event("look", "e2"))]
    with pytest.raises(Stopped) as stopped:
        run(replace(fold(), apply={**fold().apply, "stripe.look": unready}), None, stream)
    assert stopped.value.record is stream[1]


@pytest.mark.parametrize("body", [b"\xff", b"not json", b"[1, 2]"])
def test_a_body_that_cannot_be_read_is_poison_where_its_type_concerns_us_and_nothing_elsewhere(
    body: bytes,
) -> None:
    named = [(name, text.encode()) for name, text in headers(event("add", "e1")).items()]
    other = [(name, b"stripe.other" if name == "ce_type" else raw) for name, raw in named]
    assert outcomes(read("t", 0, 1, b"acct_test/a", named, body)) == ["parked poison"]
    assert outcomes(read("t", 0, 1, b"acct_test/a", other, body)) == ["noop"]


def test_a_reason_that_no_text_column_holds_is_made_one_that_does() -> None:
    judged = parked(record(event("add", "e1")), "poison", "half a pair \ud800 and a \0")
    assert judged.reason == "half a pair ? and a "


def test_a_record_that_is_not_ours_is_poison_and_says_which_header_is_missing() -> None:
    stranger = read("t", 0, 1, b"key", [("ce_id", b"e1")], b"{}")
    assert outcomes(stranger, record(event("add", "e2"))) == ["parked poison", "applied"]
    assert stranger.problem == "ce_type is missing: not a record of ours"


def test_what_waits_is_judged_again_as_soon_as_its_fact_is_there() -> None:
    stream = [event("take", "t5", 5), event("take", "t1", 1), event("add", "a1", 1), event("add", "a5", 5)]
    states, judged = run(fold(), None, list(map(record, stream)))
    assert states["a"] == Tally(("a1", "t1", "a5", "t5"), 0)
    assert {j.record.event.id: j.outcome for j in judged if j.record.event} == dict.fromkeys(
        ("t5", "t1", "a1", "a5"), "applied"
    )


def test_what_waits_for_ever_is_parked_as_waiting_and_holds_nobody() -> None:
    assert outcomes(record(event("take", "t5", 5)), record(event("add", "a1", 1))) == [
        "parked waiting",
        "applied",
    ]


def test_every_order_of_facts_that_wait_for_each_other_ends_in_the_same_total() -> None:
    stream = [event("add", "a1", 1), event("add", "a2", 2), event("take", "t3", 3), event("add", "a4", 4)]
    ends = {run(fold(), None, list(map(record, p)))[0]["a"].total for p in itertools.permutations(stream)}
    assert ends == {4}


def test_the_same_event_twice_is_applied_once() -> None:
    states, judged = run(fold(), None, [record(event("add", "e1")), record(event("add", "e1"))])
    assert (states["a"].total, len(judged)) == (1, 1)
