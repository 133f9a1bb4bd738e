"""The clock: the machine's, one that stands, and one that many processes share and somebody turns."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from millrace.clock import FileClock, FrozenClock, SystemClock, clock
from millrace.errors import Misconfigured

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TURN = """
import sys
from datetime import datetime, timedelta
from pathlib import Path
from millrace.clock import FileClock
hand, start, turns = FileClock(Path(sys.argv[1])), datetime.fromisoformat(sys.argv[2]), int(sys.argv[3])
for n in range(1, turns + 1):
    hand.turn(start + timedelta(seconds=n, microseconds=n % 2))
"""


def test_the_system_clock_tells_the_machines_time_in_utc() -> None:
    before = datetime.now(UTC)
    assert before <= SystemClock().now() <= datetime.now(UTC)
    assert clock("system").now().tzinfo is UTC


def test_a_frozen_clock_stands_and_is_in_utc() -> None:
    frozen = FrozenClock(datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))))
    assert frozen.now() == frozen.now() == NOON
    assert frozen.now().tzinfo is UTC


def test_a_clock_turned_by_another_process_is_seen_here_and_never_half(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    FileClock(path).turn(NOON)
    shown = clock(f"file:{path}")
    turns = 400  # alternating with and without microseconds, so that half a file would not parse or go back
    hand = subprocess.Popen([sys.executable, "-c", TURN, str(path), NOON.isoformat(), str(turns)])
    seen = [shown.now()]
    while hand.poll() is None:
        seen.append(shown.now())
    assert hand.returncode == 0
    assert seen == sorted(seen)
    assert shown.now() == NOON + timedelta(seconds=turns)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("", "must hold one RFC 3339 instant"),
        ("noon", "must hold one RFC 3339 instant"),
        ("2026-03-01T12:00:00", "needs a zone"),
        ("2026-03-01", "needs a zone"),
    ],
)
def test_a_file_without_an_instant_is_refused_before_the_start(
    tmp_path: Path, written: str, complaint: str
) -> None:
    path = tmp_path / "clock"
    path.write_text(written)
    with pytest.raises(Misconfigured, match=complaint) as refused:
        clock(f"file:{path}")
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("setting", ["", "sundial", "file", "System"])
def test_a_setting_that_names_no_clock_is_refused(setting: str) -> None:
    with pytest.raises(Misconfigured, match="neither 'system' nor 'file:PATH'"):
        clock(setting)


def test_a_clock_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="nowhere"):
        clock(f"file:{tmp_path / 'nowhere'}")
