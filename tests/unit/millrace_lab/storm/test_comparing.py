"""Two answers held against each other: what counts as a difference, and how it is said."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_lab.storm.comparing import DOUBT, OPEN, differences, doubts, one_of

KEY = ("status", "sub_1")


@pytest.mark.parametrize(
    ("must", "is_", "differ"),
    [
        ("active", "active", False),
        ("active", "paused", True),
        ("active", None, True),
        (None, "active", True),
        (0, None, False),  # nothing owed, and no such row
        ((), None, False),
        (OPEN, "active", False),  # the deliveries do not decide
        ("active", DOUBT, False),  # the system knows that it has to ask
        (one_of("open", "grace"), "grace", False),
        (one_of("open", "grace"), "closed", True),
        (one_of("open", "grace"), None, True),
        (one_of("open", None), None, False),
    ],
)
def test_what_differs(must: Any, is_: Any, differ: bool) -> None:
    found = {} if is_ is None else {KEY: is_}
    assert bool(differences({KEY: must}, found, ["status"])) == differ


def test_only_what_a_system_answers_is_asked() -> None:
    assert differences({KEY: "active"}, {}, ["items"]) == []


def test_a_difference_reads_as_a_sentence() -> None:
    [one] = differences({("items", "sub_1"): (("price_a", 2), ("price_b", None))}, {}, ["items"])
    assert str(one) == "items of sub_1: price_a x 2, price_b x None at Stripe, nothing here"
    [two] = differences({KEY: one_of("open", "grace")}, {KEY: "closed"}, ["status"])
    assert str(two) == "status of sub_1: grace or open at Stripe, closed here"


def test_doubts_are_counted() -> None:
    assert doubts({KEY: DOUBT, ("items", "sub_1"): ()}) == 1
