"""The ledger rebuilt from its events: by which rules, and what of it is compared."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.domain.journal import Book
from ledger.fold import fold
from millrace.consumer import Fold
from millrace.consumer.compared import NUMBERED, WRITTEN, Compared

FACT = (
    "(select f.fact_key from ledger.fact f where f.tx_id = t.tx_id)"  # what a transaction's number stands for
)

COMPARED: Mapping[str, Compared] = {
    "fact": Compared(apart={"tx_id": NUMBERED, "recorded_at": WRITTEN}),
    "journal_tx": Compared(
        apart={"recorded_at": WRITTEN, "xid": "the database's own number of the writing"},
        named={"tx_id": FACT},
        known_by=("fact_key", "tx_id"),  # both, so that a header under another fact's number is found
    ),
    "entry": Compared(apart={"recorded_at": WRITTEN}, named={"tx_id": FACT}, known_by=("tx_id", "line_no")),
    "balance_delta": Compared(  # one a statement, and where batches were cut decides how many those were
        apart={"id": NUMBERED, "recorded_at": WRITTEN}, summed=("debit", "credit", "entries")
    ),
}


def rebuilt() -> tuple[Fold[Book, None], str]:
    """The fold as it runs in the service, and the version of the rules that it judges by."""
    return fold(), "the chart of this release"
