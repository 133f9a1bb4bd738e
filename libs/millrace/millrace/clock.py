"""Where time comes from: read once at the edge and passed in, so that rules never ask for it.

`system` is the machine's clock. `file:PATH` reads an instant from a file that somebody turns by hand:
the demo moves a whole quarter past every service within a minute.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from millrace.errors import Misconfigured


class Clock(Protocol):
    """Tells the time, always in UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class FrozenClock:
    """Stands still until it is set; for tests."""

    def __init__(self, at: datetime) -> None:
        self.at = at.astimezone(UTC)

    def now(self) -> datetime:
        return self.at


class FileClock:
    """Shows the instant written in a file (RFC 3339), so that many processes share one hand.

    The file is replaced as a whole by `turn`; a reader never sees half an instant.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def now(self) -> datetime:
        # Read each time: two turns within one tick of the file system can look the same from outside.
        return _instant(self.path)

    def turn(self, at: datetime) -> None:
        """Move the hand. Writes: the file, replaced atomically."""
        fresh = self.path.with_suffix(".next")
        fresh.write_text(at.astimezone(UTC).isoformat())
        fresh.replace(self.path)


def clock(setting: str) -> Clock:
    """The clock that a setting names. Raises Misconfigured when it names none."""
    if setting == "system":
        return SystemClock()
    if setting.startswith("file:"):
        path = Path(setting.removeprefix("file:"))
        _instant(path)
        return FileClock(path)
    raise Misconfigured(f"clock: {setting!r} is neither 'system' nor 'file:PATH'")


def _instant(path: Path) -> datetime:
    try:
        at = datetime.fromisoformat(path.read_text().strip())
    except (OSError, ValueError) as problem:
        raise Misconfigured(f"clock: {path} must hold one RFC 3339 instant ({problem})") from problem
    if at.tzinfo is None:
        raise Misconfigured(f"clock: the instant in {path} needs a zone, as in 2026-01-01T00:00:00Z")
    return at.astimezone(UTC)
