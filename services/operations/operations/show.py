"""What the commands show: the library's tables and JSON, and amounts of money."""

from __future__ import annotations

from millrace.commands.show import as_json, console, mark, table
from millrace.money import decimal

__all__ = ["amount", "as_json", "console", "mark", "table"]


def amount(amount_minor: int, currency: str) -> str:
    """An amount as it is read, in its own decimals; '' for nothing."""
    return decimal(amount_minor, currency) if amount_minor else ""
