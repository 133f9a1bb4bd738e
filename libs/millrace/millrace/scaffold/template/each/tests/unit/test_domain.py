"""The rules, as a table."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from newcomer.domain import letter_on

TABLE = [
    # created        letter
    ((2026, 7, 1), (2026, 7, 6)),  # Wednesday: Saturday is no day for letters, so Monday
    ((2026, 7, 2), (2026, 7, 6)),  # Thursday: nor is Sunday
    ((2026, 7, 3), (2026, 7, 6)),  # Friday
    ((2026, 7, 6), (2026, 7, 9)),  # Monday
]


@pytest.mark.parametrize(("created", "letter"), TABLE)
def test_a_letter_goes_out_on_the_third_day_and_never_on_a_weekend(
    created: tuple[int, int, int], letter: tuple[int, int, int]
) -> None:
    assert letter_on(datetime(*created, 23, 59, tzinfo=UTC)) == date(*letter)
