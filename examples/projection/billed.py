"""What each customer was billed, month by month, kept from the ledger's journal transactions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date

from millrace import Event, Fold, applied, latest, noop, run, topics
from millrace.consumer import Applied, Decision
from millrace.events.ours import LedgerPosted
from millrace.postgres import Transaction

DEFERRED = "2100"  # what is billed for a period stands there first, and moves to income (4…) later
Billed = dict[str, int]  # currency → minor units


def key(event: Event) -> str:
    """A customer's month."""
    posted = LedgerPosted.of(event)
    return f"{posted.account}/{posted.customer}/{posted.effective_at.astimezone(UTC):%Y-%m-01}"


def add(before: Billed | None, event: Event, _: None) -> Decision[Billed]:
    """Pure: the same event over the same state is the same decision, today and in a rebuild."""
    moved: Billed = defaultdict(int)
    for entry in LedgerPosted.of(event).entries:
        if entry.account == DEFERRED or entry.account.startswith("4"):
            moved[entry.currency] -= entry.amount_minor  # income is a credit: negative in the journal
    moved = {currency: amount for currency, amount in moved.items() if amount}
    if not moved:
        return noop("nothing was billed by it")
    after = {c: (before or {}).get(c, 0) + moved.get(c, 0) for c in {*(before or {}), *moved}}
    return applied(after, ", ".join(f"billed {amount} {currency}" for currency, amount in moved.items()))


LOAD = """
-- Every currency of these customers' months.
select key, currency, amount_minor
  from unnest($1::text[], $2::text[], $3::text[], $4::date[]) as wanted (key, account, customer, month)
  join billed.billed using (account, customer, month)
 order by account, customer, month, currency
   for update of billed
"""


async def load(tx: Transaction, keys: Sequence[str]) -> dict[str, Billed]:
    found: dict[str, Billed] = defaultdict(dict)
    for row in await tx.fetch(LOAD, list(keys), *_columns(keys)):
        found[row["key"]][row["currency"]] = row["amount_minor"]
    return found


SAVE = """
-- The months as they are now.
insert into billed.billed (account, customer, month, currency, amount_minor)
select * from unnest($1::text[], $2::text[], $3::date[], $4::text[], $5::bigint[])
    on conflict (account, customer, month, currency) do update set amount_minor = excluded.amount_minor
"""


async def save(tx: Transaction, changes: Sequence[Applied[Billed]]) -> None:
    rows = [(k, *amount) for k, change in latest(changes).items() for amount in change.state.items()]
    currencies, amounts = [row[1] for row in rows], [row[2] for row in rows]
    await tx.execute(SAVE, *_columns([row[0] for row in rows]), currencies, amounts)


def _columns(keys: Sequence[str]) -> tuple[list[str], list[str], list[date]]:
    parts = [k.split("/") for k in keys]
    return [p[0] for p in parts], [p[1] for p in parts], [date.fromisoformat(p[2]) for p in parts]


BILLED = Fold(
    name="billed",
    apply={LedgerPosted.TYPE: add},
    key=key,
    load=load,
    save=save,
    rules=lambda: None,
    ordered=False,  # sums come out the same in any order: nothing has to wait behind what is parked
)

if __name__ == "__main__":
    run(BILLED, topics=[topics.LEDGER_POSTED], migrations="migrations")
