"""What operators write on the command line is read as they mean it, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import typer

from ingest.commands import KEEP_YEARS, Month, too_early, type_like
from operations.running import instant

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

INSTANTS = {
    "2026-11-01": "2026-11-01T00:00:00+00:00",
    "2026-11-01T08:30:00Z": "2026-11-01T08:30:00+00:00",
    "2026-11-01T08:30:00+09:00": "2026-10-31T23:30:00+00:00",
    "90m": "2026-11-21T10:30:00+00:00",
    "24h": "2026-11-20T12:00:00+00:00",
    "30d": "2026-10-22T12:00:00+00:00",
}


@pytest.mark.parametrize("text", INSTANTS)
def test_an_instant_is_a_day_a_time_with_its_zone_or_so_long_ago(text: str) -> None:
    assert instant(text, NOW) == datetime.fromisoformat(INSTANTS[text])
    assert instant(text, NOW).tzinfo == UTC


@pytest.mark.parametrize(
    "text", ["", "24", "h", "1w", "-1h", "yesterday", "2026-02-30", "2026-11-01T08:30:00", "999999d"]
)
def test_what_could_mean_two_things_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="24h or 30d"):
        instant(text, NOW)


@pytest.mark.parametrize(
    ("pattern", "like"),
    [
        ("invoice.*", "invoice.%"),
        ("*", "%"),
        ("invoice_payment.paid", r"invoice\_payment.paid"),
        (r"50%\*", r"50\%\\%"),
    ],
)
def test_only_a_star_stands_for_anything(pattern: str, like: str) -> None:
    assert type_like(pattern) == like


@pytest.mark.parametrize(
    "text", ["2026-5", "2026-13", "2026-00", "0000-01", "26-05", "2026-05-01", "may", ""]
)
def test_a_month_is_written_in_one_way(text: str) -> None:
    assert Month.read(text) is None


def test_months_follow_each_other_over_the_year() -> None:
    assert [str(month) for month in Month(2026, 11).and_next(3)] == [
        "2026-11",
        "2026-12",
        "2027-01",
        "2027-02",
    ]
    assert str(Month(2026, 1).later(-1)) == "2025-12"
    assert Month(2026, 12).starts == datetime(2026, 12, 1, tzinfo=UTC)
    assert Month(2026, 12).ends == datetime(2027, 1, 1, tzinfo=UTC)
    assert Month(2026, 5).partition == "event_2026_05"
    assert Month(2025, 12) < Month(2026, 1) < Month(2026, 2)


KEPT = """
 month    years  now         | why
 2026-11  7      2026-11-21  | 2026-11 has not ended
 2026-12  7      2026-11-21  | 2026-12 has not ended
 2026-10  7      2026-11-21  | 2026-10 is kept for 7 years, until the end of 2033-10
 2019-10  7      2026-11-01  |
 2019-11  7      2026-11-30  | 2019-11 is kept for 7 years, until the end of 2026-11
 2019-11  7      2026-12-01  |
 2026-10  0      2026-11-01  |
 2026-11  0      2026-11-30  | 2026-11 has not ended
"""  # fmt: skip


@pytest.mark.parametrize("line", KEPT.strip().splitlines()[1:])
def test_a_month_is_kept_whole_years_counted_from_its_end(line: str) -> None:
    asked, why = (part.strip() for part in line.split("|"))
    month, years, now = asked.split()
    read = Month.read(month)
    assert read is not None
    assert too_early(read, datetime.fromisoformat(now).replace(tzinfo=UTC), int(years)) == why


def test_the_law_asks_for_seven_years() -> None:
    assert KEEP_YEARS == 7
