"""Telemetry: lines that hold ids and places, never what a body said; and traces that can be followed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from millrace.telemetry import JsonLines, Sparing, child_trace, describe, logs, new_trace, trace_id

SECRET = "jane@example.com"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class QuotingError(Exception):
    """An exception whose text quotes what came in."""


def raised() -> QuotingError:
    try:
        raise QuotingError(SECRET)
    except QuotingError as problem:
        return problem


def line(log: Callable[[logging.Logger], None]) -> dict[str, Any]:
    """What one log call writes."""
    written: list[str] = []
    logger = logging.Logger("millrace.test")
    handler = logging.Handler()
    handler.emit = lambda record: written.append(JsonLines("ledger").format(record))  # type: ignore[method-assign]  # a handler that keeps
    logger.addHandler(handler)
    log(logger)
    (only,) = written
    found: dict[str, Any] = orjson.loads(only)
    assert "\n" not in only
    return found


def in_handler(log: logging.Logger) -> None:
    try:
        raise QuotingError(SECRET)
    except QuotingError:
        log.exception("could not apply")


WAYS: dict[str, Callable[[logging.Logger], None]] = {
    "the exception being handled": in_handler,
    "an exception given": lambda log: log.error("failed", exc_info=raised()),
    "an exception as argument": lambda log: log.error("could not reach %s: %s", "broker", raised()),
    "an exception quoted as argument": lambda log: log.error("could not reach %r", raised()),
    "an exception as extra": lambda log: log.error("failed", extra={"cause": raised()}),
    "bytes as extra": lambda log: log.error("failed", extra={"body": SECRET.encode()}),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_line_ever_holds_an_exceptions_text(way: str) -> None:
    assert SECRET not in str(line(WAYS[way]))


def test_a_failure_is_told_by_type_and_place() -> None:
    found = line(in_handler)
    assert found["error"].startswith("QuotingError at test_telemetry.py:")
    assert found["error"].endswith(" in_handler")
    assert line(lambda log: log.error("no %s", raised()))["message"].startswith(
        "no QuotingError at test_telemetry"
    )
    assert describe(ValueError(SECRET)) == "ValueError"


def test_a_line_says_when_who_what_and_the_ids_given() -> None:
    found = line(lambda log: log.warning("parked %d events", 3, extra={"event": "evt_1", "key": "a/cus_1"}))
    assert found.pop("at").endswith("+00:00")
    assert found == {
        "level": "warning",
        "service": "ledger",
        "logger": "millrace.test",
        "message": "parked 3 events",
        "event": "evt_1",
        "key": "a/cus_1",
    }


def test_a_message_with_named_arguments_or_none_is_written_as_it_is() -> None:
    assert line(lambda log: log.error("%(n)d parked", {"n": 3}))["message"] == "3 parked"
    assert line(lambda log: log.error("100% sure"))["message"] == "100% sure"


def record(at: float, message: str = "no broker", lineno: int = 1) -> logging.LogRecord:
    made = logging.LogRecord("aiokafka", logging.ERROR, __file__, lineno, message, (), None)
    made.created = at
    return made


def test_a_chatty_library_is_let_through_once_a_period_with_the_number_held_back() -> None:
    sparing = Sparing(seconds=5)
    passed = [r for r in map(record, (100.0, 101.0, 104.9, 105.0, 106.0, 110.5)) if sparing.filter(r)]
    assert [(r.created, vars(r)["held_back"]) for r in passed] == [(100.0, 0), (105.0, 2), (110.5, 1)]


def test_one_chatty_place_does_not_silence_another() -> None:
    sparing = Sparing(seconds=5)
    assert sparing.filter(record(100.0))
    assert sparing.filter(record(100.0, lineno=2))
    assert not sparing.filter(record(100.1))


def test_a_process_writes_json_lines_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.root.handlers[:], logging.root.level
    try:
        logs("ledger", "info")
        logging.getLogger("millrace.x").info("up")
        logging.getLogger("aiokafka.x").info("chatter")
        for handler in logging.root.handlers:
            handler.flush()
    finally:
        logging.root.handlers[:], logging.root.level = before
    written = [orjson.loads(text) for text in capfd.readouterr().err.splitlines()]
    assert [w["message"] for w in written] == ["up"]


def test_the_steps_of_an_event_share_its_trace_and_the_same_step_is_the_same_span() -> None:
    step = child_trace(TRACE, "ledger")
    assert trace_id(step) == trace_id(TRACE) == "0af7651916cd43dd8448eb211c80319c"
    assert step == child_trace(TRACE, "ledger")
    assert len({TRACE, step, child_trace(TRACE, "dunning"), child_trace(step, "ledger")}) == 4


def test_a_new_trace_is_one_and_nobody_elses() -> None:
    assert len({trace_id(new_trace()) for _ in range(100)} - {""}) == 100


@pytest.mark.parametrize("wrong", ["", "00-xyz", TRACE.upper(), f"{TRACE}-extra", f" {TRACE}"])
def test_what_is_no_traceparent_starts_no_trace(wrong: str) -> None:
    assert child_trace(wrong, "ledger") == ""
    assert trace_id(wrong) == ""


def test_so_many_lines_of_a_kind_go_through_and_each_kind_is_counted_apart() -> None:
    sparing = Sparing(seconds=1, lines=2, kind=lambda line: line.getMessage())
    said = [(100.0, "wrong"), (100.1, "wrong"), (100.2, "wrong"), (100.3, "late"), (101.0, "wrong")]
    passed = [r for r in (record(at, what) for at, what in said) if sparing.filter(r)]
    assert [(r.created, r.getMessage()) for r in passed] == [said[0], said[1], said[3], said[4]]
    assert vars(passed[-1])["held_back"] == 1
