"""What the commands show: tables for people, JSON for scripts. What came from outside cannot steer a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 110  # of what is not a terminal: a file, a pipe, a build's log
console = Console() if Console().is_terminal else Console(width=WIDTH)


def as_json(value: Any) -> None:
    """Print a value as indented JSON."""
    console.file.write(orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2).decode() + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under columns; see `grid`."""
    console.print(grid(title, columns, rows))


def grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Rows under columns. '#amount' is a number and stands right; '!id' is never broken over lines."""
    made = Table(title=title or None, title_justify="left", title_style="bold", header_style="dim")
    for column in columns:
        made.add_column(
            column.lstrip("#!"),
            justify="right" if column.startswith("#") else "left",
            no_wrap=column.startswith(("#", "!")),
            overflow="fold",
        )
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(_cell(cell)) for cell in row))
    return made


def line(text: str, style: str = "") -> None:
    """Print a sentence."""
    console.print(Text(plain(text), style=style))


def mark(ok: bool) -> Text:
    """A tick or a cross, also without colours."""
    return Text("✓", style="green") if ok else Text("✗", style="bold red")


def plain(text: str) -> str:
    """A text whose control characters are seen instead of obeyed."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text)


def age(seconds: float) -> str:
    """A duration as people say it: 0.4 s, 12 s, 5 min, 3 h, 2 days."""
    for least, unit, name in ((172_800, 86_400, "days"), (7_200, 3_600, "h"), (120, 60, "min")):
        if seconds >= least:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return plain(str(value))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)
