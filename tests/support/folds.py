"""The ledger's fold in memory, and its postings as an accountant writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ledger.domain.chart import CHART, Account
from ledger.domain.journal import Book, Posting
from ledger.fold import fold
from millrace.consumer import Judged, run
from tests.support.events import records_of

NAMES = {row.account: row.name for row in CHART}
Books = Mapping[str, Book]


def keep(events: Iterable[Mapping[str, Any]]) -> tuple[Books, list[Judged]]:
    """The books that these Stripe events leave behind, and what became of each event."""
    return run(fold(), None, records_of(events))


def postings(books: Books) -> list[Posting]:
    return [posting for book in books.values() for posting in book.facts.values()]


def facts(books: Books) -> dict[str, str]:
    """Every fact and the hash of what it says: two histories are one when these are equal."""
    return {one.fact: one.content_hash.hex() for one in postings(books)}


def balances(books: Books) -> dict[tuple[Account, str], int]:
    """Account and currency → balance, those at zero left out."""
    sums: Counter[tuple[Account, str]] = Counter()
    for one in postings(books):
        for line in one.lines:
            sums[line.account, line.money.currency] += line.money.amount_minor
    return {account: amount for account, amount in sums.items() if amount}


def entry(posted: Sequence[Posting]) -> list[list[str]]:
    """Postings as rows: the fact, then debit | credit | amount | currency."""
    rows = []
    for one in posted:
        rows.append([one.fact])
        for line in one.lines:
            amount = line.money.amount_minor
            sides = [NAMES[line.account], ""] if amount > 0 else ["", NAMES[line.account]]
            rows.append([*sides, str(abs(amount)), line.money.currency])
    return rows


def rows(table: str) -> list[list[str]]:
    """The rows of a table in a test; its heading is left out."""
    lines = [line.strip() for line in table.strip().splitlines()]
    return [[cell.strip() for cell in line.split("|")] for line in lines if not line.startswith("debit")]
