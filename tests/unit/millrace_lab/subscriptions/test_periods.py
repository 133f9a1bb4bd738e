"""Billing periods on the calendar: the anchor's day where the month has it, else its last."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from millrace_lab.periods import day_of_month, moment, period_around, period_before, period_end


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def day(seconds: int) -> str:
    return f"{moment(seconds):%Y-%m-%d}"


ENDS = [
    # anchor         start          every        ends
    ("2026-01-31", "2026-01-31", "month", 1, "2026-02-28"),
    ("2026-01-31", "2026-02-28", "month", 1, "2026-03-31"),
    ("2026-01-31", "2026-03-31", "month", 1, "2026-04-30"),
    ("2027-11-30", "2027-11-30", "month", 3, "2028-02-29"),
    ("2028-02-29", "2028-02-29", "year", 1, "2029-02-28"),
    ("2026-07-01", "2026-07-01", "week", 2, "2026-07-15"),
    ("2026-07-01", "2026-07-01", "day", 1, "2026-07-02"),
]


@pytest.mark.parametrize(("anchor", "start", "interval", "count", "end"), ENDS)
def test_a_period_keeps_the_anchors_day(anchor: str, start: str, interval: str, count: int, end: str) -> None:
    assert day(period_end(at(anchor), at(start), interval, count)) == end


def test_short_months_do_not_drift() -> None:
    anchor = start = at("2026-01-31T10:30:00")
    for _ in range(12):
        start = period_end(anchor, start, "month")
    assert start == at("2027-01-31T10:30:00")


@pytest.mark.parametrize(
    ("anchor", "interval", "start"),
    [
        ("2026-03-31", "month", "2026-02-28"),
        ("2026-07-15", "year", "2025-07-15"),
        ("2026-07-15", "week", "2026-07-08"),
    ],
)
def test_the_natural_period_before_an_anchor(anchor: str, interval: str, start: str) -> None:
    assert day(period_before(at(anchor), interval)) == start


AROUND = [
    # anchor         within         from           to
    ("2026-01-31", "2026-03-15", "2026-02-28", "2026-03-31"),
    ("2026-07-31", "2026-03-15", "2026-02-28", "2026-03-31"),
    ("2026-07-01", "2026-07-01", "2026-07-01", "2026-08-01"),
]


@pytest.mark.parametrize(("anchor", "within", "start", "end"), AROUND)
def test_the_period_around_a_moment(anchor: str, within: str, start: str, end: str) -> None:
    assert [day(each) for each in period_around(at(anchor), at(within), "month")] == [start, end]


def test_the_next_such_day_of_a_month() -> None:
    noon = (12, 0, 0)
    assert day_of_month(at("2026-07-15T13:00:00"), 15, clock=noon) == at("2026-08-15T12:00:00")
    assert day_of_month(at("2026-07-15T11:00:00"), 15, clock=noon) == at("2026-07-15T12:00:00")
    assert day_of_month(at("2026-02-01T00:00:00"), 31, clock=noon) == at("2026-02-28T12:00:00")
    assert day_of_month(at("2026-07-15T13:00:00"), 1, month=3, clock=noon) == at("2027-03-01T12:00:00")
