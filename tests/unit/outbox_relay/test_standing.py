"""A lane's verdict: what a person reads first, at three in the morning."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from outbox_relay.domain.standing import Audited, Leader, Standing, age

NOW = datetime(2026, 11, 28, 3, tzinfo=UTC)
WELL = Standing(
    lane="main", leader=Leader(7, "10.0.0.1", NOW), standbys=1, mode="transactional", generation=0, position="3:3:",
    redriven=0, retired="", moved="", rows=0, bytes=0, oldest=None, parked=0,
    audit=Audited(NOW - timedelta(minutes=50), 0, True), audit_due=NOW - timedelta(minutes=50), days_ahead=7,
)  # fmt: skip


def ago(**how: float) -> datetime:
    return NOW - timedelta(**how)


VERDICTS = [
    (WELL, False, "everything is published"),
    (replace(WELL, standbys=0), False, "everything is published; no standby"),
    (replace(WELL, rows=40, oldest=ago(seconds=2)), False, "publishing"),
    (replace(WELL, rows=40, oldest=ago(seconds=31)), True, "40 rows wait, the oldest since 31 s"),
    (replace(WELL, leader=None), True, "nobody leads: start a relay"),
    (replace(WELL, moved="another timeline"), True, "halted, the cursor belongs to another timeline"),
    (replace(WELL, parked=2), True, "2 rows in quarantine: millrace relay quarantine list"),
    (replace(WELL, audit=Audited(ago(hours=1), 3, False)), True, "the last audit found 3 differences"),
    (replace(WELL, audit=Audited(ago(hours=1), 3, True)), False, "everything is published"),
    (replace(WELL, audit_due=ago(hours=4)), True, "not audited for 4 h: millrace relay audit"),
    (replace(WELL, audit=None, audit_due=ago(hours=4)), True, "not audited for 4 h: millrace relay audit"),
    (replace(WELL, audit=None, audit_due=None), False, "everything is published"),
    (replace(WELL, days_ahead=1), True, "days for 1 more days only: millrace relay partitions make"),
    (replace(WELL, leader=None, retired="main.0of2", parked=3), False, "retired: main.0of2 took over"),
]  # fmt: skip


@pytest.mark.parametrize(("it", "needed", "words"), VERDICTS, ids=[words for *_, words in VERDICTS])
def test_the_verdict_says_whether_a_person_is_needed_and_what_to_type(
    it: Standing, needed: bool, words: str
) -> None:
    assert bool(it.problems(NOW)) == needed
    assert it.verdict(NOW).startswith(words)


def test_the_most_pressing_comes_first() -> None:
    it = replace(WELL, leader=None, parked=2, rows=5, oldest=ago(minutes=9))
    assert [problem.split(":")[0] for problem in it.problems(NOW)] == [
        "nobody leads", "5 rows wait, the oldest since 9 min", "2 rows in quarantine",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_an_age_is_told_in_the_unit_people_use(seconds: int, words: str) -> None:
    assert age(ago(seconds=seconds), NOW) == words
