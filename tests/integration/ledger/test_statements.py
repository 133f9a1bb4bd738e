"""Every statement of the ledger means something to the migrated schema, under the role that runs it."""

from __future__ import annotations

from types import ModuleType

from ledger import store
from ledger.commands import books, refusals
from tests.integration.ledger.conftest import Ledger


def statements(module: ModuleType) -> list[tuple[str, str]]:
    named = [
        (name, value) for name, value in vars(module).items() if name.isupper() and isinstance(value, str)
    ]
    return [(f"{module.__name__}.{name}", sql) for name, sql in named if "ledger." in sql and "{" not in sql]


STATEMENTS = statements(store) + statements(books) + statements(refusals)


def test_they_were_found() -> None:
    assert len(STATEMENTS) >= 13


async def test_each_prepares(ledger: Ledger) -> None:
    for _, sql in STATEMENTS:
        await ledger.role.prepare(sql)


async def test_reports_over_a_few_accounts_do_not_read_the_whole_journal(ledger: Ledger) -> None:
    await ledger.owner.execute("set enable_seqscan = off")
    indexes = {
        books.RECEIVABLE: "entry_default_invoice_idx",
        books.OPEN_ITEMS: "entry_default_account_currency_open_item_idx",
    }
    for query, index in indexes.items():
        arguments = [[1030, 1040, 1050]] if "$1" in query else []
        plan = "\n".join(row[0] for row in await ledger.owner.fetch(f"explain {query}", *arguments))
        assert index in plan, plan


async def test_books_are_loaded_by_index(ledger: Ledger) -> None:
    """Not by reading a month to join it, whatever the planner knows of tables that have just grown."""
    await ledger.owner.execute("set enable_seqscan = off")
    plan = "\n".join(row[0] for row in await ledger.owner.fetch(f"explain {store.LOAD_BOOKS}", ["in_1"]))
    assert not [method for method in ("Seq Scan", "Hash Join", "Merge Join") if method in plan], plan
