"""`millrace erase`: a customer's data keys are destroyed, and whatever they sealed is noise from then on.

Nothing is deleted: rows, topics, hashes and books stay as they are, and prove what they proved.
docs/erasure.md says what that covers and what it does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer

from ingest import commands as ingest
from millrace import sealing
from millrace.postgres import Connection
from operations import running, show
from operations.running import DRIFT, Json
from operations.settings import Settings

MEMORY_SECONDS = 300  # how long a process may go on with a key it holds: `seconds_max` of its Keys
ADDRESS = re.compile(r"\S@\S+\.\S")
REMAINS = (
    "what names the customer only through another object: it is sealed under the account's key",
    f"for up to {MEMORY_SECONDS} s, what processes hold in memory",
    "backups of the database with the keys, until they expire",
    "the customer's id, amounts and dates: the books are built on them",
)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a customer in one account. `keys` are those that still open something."""

    account: str
    keys: int
    erased_at: datetime | None


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was destroyed. `already` says that there was nothing left to destroy."""

    customer: str
    account: str
    already: bool = False
    keys: int = 0
    index_rows: int = 0
    events: int = 0  # in the log, unreadable from now on
    memory_seconds_max: int = MEMORY_SECONDS
    remains: tuple[str, ...] = REMAINS


def erase(
    customer: Annotated[str, typer.Argument(help="Stripe's customer id, cus_…")],
    reason: Annotated[
        str,
        typer.Option(
            help="Why, as a ticket's number. It stays for ever, so it must not say who the person is."
        ),
    ],
    account: Annotated[
        str, typer.Option(help="The Stripe account, acct_…; needed when several know the customer.")
    ] = "",
    in_advance: Annotated[
        bool, typer.Option("--in-advance", help="Also a customer of whom nothing has arrived yet.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Destroy what opens a customer's personal data, everywhere and for ever. Nobody can undo it.

    Tables, topics and exports keep what they hold, and nobody can read it; what still comes of the customer is
    stored, published and applied as ever, and cannot be read either. The books do not change. Done before, it says
    so and does nothing. Exit code 3 when nobody knows the customer. Counts the customer's events: minutes on a
    large log.

    Example: millrace erase cus_NffrFeUfNV2Hib --reason "erasure request 4711"
    """
    settings = Settings.read()
    _well_asked(customer, reason, asks=not yes, json=json)

    async def run() -> Erasure:
        async with running.connection(settings) as connection:
            known = _chosen(await _known(connection, customer), customer, account, in_advance=in_advance)
            if known.erased_at and not known.keys:
                return Erasure(customer, known.account, already=True)
            events = await ingest.count_of(connection, known.account, customer)
            if not yes:
                _confirm(customer, known, events)
            return await _erased(connection, settings, known.account, customer, events, reason)

    erased = running.run(run())
    if json:
        show.as_json(erased)
    else:
        _tell(erased)


KNOWN = """
-- In which accounts this customer has, or had, keys of its own.
select account, count(wrapped) as keys, max(destroyed_at) as erased_at
  from sealing.subject_key
 where customer = $1 and purpose = 'data'
 group by account
 order by account
"""


async def _known(connection: Connection, customer: str) -> list[Known]:
    return [Known(**row) for row in await connection.fetch(KNOWN, customer)]


INDEXED = """
-- What could be asked about this customer.
select count(*) from sealing.blind_index where (account, customer) = ($1, $2)
"""


async def _erased(
    connection: Connection, settings: Settings, account: str, customer: str, events: int, reason: str
) -> Erasure:
    """Writes: the keys' end, the index, and who did it and why; all of it, or nothing."""
    async with connection.transaction():
        indexed = await connection.fetchval(INDEXED, account, customer)
        keys = await sealing.destroy(connection, account, customer)
        await running.audited(connection, settings, "erased customer", customer, reason)
    return Erasure(customer, account, keys=keys, index_rows=indexed, events=events)


def _chosen(found: list[Known], customer: str, account: str, *, in_advance: bool) -> Known:
    """The one account that is meant."""
    meant = [known for known in found if not account or known.account == account]
    if len(meant) > 1:
        raise typer.BadParameter(
            f"{customer} is known to {', '.join(k.account for k in meant)}: name one with --account"
        )
    if meant:
        return meant[0]
    if in_advance and account:
        return Known(account, 0, None)
    if in_advance:
        raise typer.BadParameter("--in-advance needs --account: nobody knows the customer yet")
    typer.echo(
        f"millrace: nothing of {customer} has arrived{f' in {account}' if account else ''}, and nothing was done. "
        "Look at the id; --in-advance erases it all the same",
        err=True,
    )
    raise typer.Exit(DRIFT)


def _well_asked(customer: str, reason: str, *, asks: bool, json: bool) -> None:
    if not customer.strip():
        raise typer.BadParameter("name a customer: cus_…")
    if not reason.strip():
        raise typer.BadParameter('say why with --reason "…": it goes into the audit log')
    if ADDRESS.search(reason):
        raise typer.BadParameter(
            "--reason holds an e-mail address and would keep it for ever: write a ticket's number"
        )
    if asks and json:
        raise typer.BadParameter("--json cannot ask: add --yes")


def _confirm(customer: str, known: Known, events: int) -> None:
    """Ask a person. Raises Abort when the answer is no, or nobody is there."""
    typer.confirm(
        f"Destroy {known.keys:,} keys of {customer} in {known.account}? {events:,} events become unreadable for ever.",
        abort=True,
        err=True,
    )


def _tell(erased: Erasure) -> None:
    if erased.already:
        show.console.print(f"{erased.customer} in {erased.account} was erased already; nothing was done")
        return
    show.console.print(
        f"{erased.customer} in {erased.account} is erased: {erased.keys:,} keys and {erased.index_rows:,} rows of "
        f"the index destroyed, {erased.events:,} events unreadable in every table, topic and export",
        soft_wrap=True,
    )
    show.console.print("What remains:", *(f"  · {what}" for what in erased.remains), sep="\n", soft_wrap=True)
