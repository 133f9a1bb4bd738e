"""A calendar month in UTC: what a partition of the event log holds, and what leaves it as one."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import NamedTuple

MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


class Month(NamedTuple):
    """A month; earlier is less."""

    year: int
    month: int

    @classmethod
    def of(cls, at: datetime | date) -> Month:
        """The month of an instant in UTC, or of a day."""
        return cls(at.year, at.month)

    @classmethod
    def read(cls, text: str) -> Month | None:
        """The month written as 2026-05; None for anything else."""
        found = MONTH.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found and found[1] != "0000" else None

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    def later(self, months: int) -> Month:
        count = self.year * 12 + self.month - 1 + months
        return Month(count // 12, count % 12 + 1)

    def and_next(self, ahead: int) -> list[Month]:
        """This month and so many more."""
        return [self.later(n) for n in range(ahead + 1)]

    @property
    def starts(self) -> datetime:
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def ends(self) -> datetime:
        """The first instant that is no longer in it."""
        return self.later(1).starts

    @property
    def partition(self) -> str:
        """The name of its table."""
        return f"event_{self.year:04}_{self.month:02}"
