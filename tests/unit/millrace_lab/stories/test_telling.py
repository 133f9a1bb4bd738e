"""The language itself: a table that does not tell what happened fails, and says where."""

from __future__ import annotations

import pytest

from tests.support.double import Refused
from tests.unit.millrace_lab.stories.stage import Stage

TRUE = """
    day    | what happens             | subscription | invoice | lines          | total | told
    0      | ada has a card           |              |         |                |       |
    0      | ada subscribes to 2 Team | active       | 1 paid  | 2 x Team 40.00 | 40.00 | invoice.paid
    31     |                          |              | 2 draft | 2 x Team 40.00 | 40.00 |
    31 +1h |                          |              | 2 paid  |                | 40.00 | invoice.paid
"""
FALSE = {
    # one thing in the table that is otherwise → the column or the sentence that says so
    "2 x Team 40.00 | 40.00 | invoice.paid": ("2 x Team 40.00 | 40.01 | invoice.paid", "total shows"),
    "1 paid  | 2 x Team 40.00": ("1 paid  | 2 x Team 41.00", "lines shows"),
    "| active ": ("|  ", "subscription shows"),
    "| 2 draft | 2 x Team 40.00 | 40.00 |": ("| | | |", "invoice shows"),
    "|                | 40.00 | invoice.paid": ("|                | 40.00 |", "told shows"),
    "ada subscribes to 2 Team": ("ada dreams of 2 Team", "nobody understands"),
    "31 +1h": ("30", "day 30 is over"),
}


def company() -> Stage:
    made = Stage(hears="invoice.paid")
    made.sells("Team", "20.00")
    return made


def test_a_true_table_is_played() -> None:
    company().plays(TRUE)


@pytest.mark.parametrize("part", FALSE)
def test_one_wrong_cell_is_enough(part: str) -> None:
    otherwise, said = FALSE[part]
    assert TRUE.count(part) == 1
    with pytest.raises(AssertionError, match=said):
        company().plays(TRUE.replace(part, otherwise))


def test_a_refusal_without_a_column_is_a_failure() -> None:
    with pytest.raises(Refused, match="no attached payment source"):
        company().plays("""
        day | what happens             | invoice
        0   | ada subscribes to 1 Team |
        """)
