"""What the commands show: tables for people, JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from millrace.money import decimal

WIDTH = 110  # of what is not a terminal: a file, a pipe, a build's log
console = Console() if Console().is_terminal else Console(width=WIDTH)


def as_json(value: Any) -> None:
    """Print a value as indented JSON."""
    console.file.write(orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2).decode() + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under columns. '#amount' is a number and stands right; '!id' is never broken over lines."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for column in columns:
        made.add_column(
            column.lstrip("#!"),
            justify="right" if column.startswith("#") else "left",
            no_wrap=column.startswith(("#", "!")),
        )
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else _cell(cell) for cell in row))
    console.print(made)


def mark(ok: bool) -> Text:
    """A tick or a cross, also without colours."""
    return Text("✓", style="green") if ok else Text("✗", style="bold red")


def amount(amount_minor: int, currency: str) -> str:
    """An amount as it is read, in its own decimals; '' for nothing."""
    return decimal(amount_minor, currency) if amount_minor else ""


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)
