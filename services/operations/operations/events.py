"""`millrace events`: the event log, read, opened with a reason, exported, and relieved of old months.

What is personal stays sealed on the screen and in files unless `--reveal` asks otherwise; then the reason is in
the audit log before anything is shown.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import orjson
import typer
from rich.progress import Progress

from ingest import commands as ingest
from millrace import postgres
from millrace.clock import clock
from millrace.sealing import Unopenable, lookup
from operations import running, show
from operations.running import DRIFT, Json, instant
from operations.settings import Settings

app = typer.Typer(
    name="events", help="The event log: list, show, export, and its partitions.", no_args_is_help=True
)

EMAIL = "customer.email"  # as the sealing policy names the index
LISTED = {  # column of the table → field
    "!event": "id",
    "type": "type",
    "created": "created",
    "received": "received_at",
    "customer": "customer",
    "object": "object_id",
    "endpoint": "endpoint",
    "#cards": "cards",
}


def _month(text: str) -> ingest.Month:
    return ingest.Month.read(text) or _misspelt(f"{text!r} is no month; write it as 2026-05")


Account = Annotated[str | None, typer.Option(help="Only this Stripe account, acct_…")]
Month = Annotated[ingest.Month, typer.Option(parser=_month, metavar="YYYY-MM", help="By arrival, in UTC.")]
Reveal = Annotated[
    bool, typer.Option("--reveal", help="Open what is sealed; needs --reason and MILLRACE_KEYS.")
]
Reason = Annotated[str, typer.Option(help="Why; goes into the audit log, with your name.")]


@app.command("list")
def list_(
    customer: Annotated[list[str] | None, typer.Option(help="Only of these customers, cus_…")] = None,
    email: Annotated[str, typer.Option(help="Only of customers with this address; needs --account.")] = "",
    account: Account = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Only this type; * stands for anything.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Received since: 2026-11-01, 24h, 30d.")] = None,
    until: Annotated[str | None, typer.Option(help="Received before.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: Json = False,
) -> None:
    """The newest events of what is asked for. Shows no personal data.

    Example: millrace events list --customer cus_NffrFeUfNV2Hib --type 'invoice.*' --since 30d
    """
    settings = Settings.read()
    now = clock(settings.clock).now()
    if email and not account:
        _misspelt("--email needs --account: each account has an index of its own")

    async def run() -> list[ingest.Record]:
        customers = [*(customer or []), *await _with_email(settings, account or "", email)]
        wanted = ingest.Search(
            account, customers if customer or email else None, ingest.type_like(type_) if type_ else None,
            instant(since, now) if since else None, instant(until, now) if until else None, limit,
        )  # fmt: skip
        async with running.connection(settings) as connection:
            return await ingest.search(connection, wanted)

    found = running.run(run())
    if json:
        show.as_json(found)
    else:
        show.table("Events", list(LISTED), [[row[field] for field in LISTED.values()] for row in found])


@app.command("show")
def show_(
    event: Annotated[str, typer.Argument(help="Stripe's event id, evt_…")],
    account: Account = None,
    reveal: Reveal = False,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """One event: what is known of it, and its body as it was published, sealed. Exit code 3 when it is not there.

    Example: millrace events show evt_1QmT4K --reveal --reason "ticket 4711: customer disputes the address"
    """
    settings = Settings.read()
    _need_reason(reveal, reason)

    async def run() -> dict[str, Any]:
        async with running.connection(settings) as connection:
            row = _only(await ingest.find(connection, event, account), event)
            known = {name: value for name, value in row.items() if name != "raw"}
            if not reveal:
                return {
                    "event": known,
                    "body": await ingest.published(connection, row["received_at"], row["account"], event),
                }
            return {"event": known, "body": await _revealed(settings, connection, row, reason)}

    found = running.run(run())
    body: bytes | None = found["body"]
    if json:
        show.as_json({"event": found["event"], "body": _parsed(body)})
    else:
        show.table(event, ["!field", "value"], found["event"].items())
        typer.echo(body or "The outbox no longer holds what was published.")


@app.command()
def export(
    month: Month,
    to: Annotated[Path, typer.Option(help="Folder for the files; made if it is not there.")],
    reveal: Reveal = False,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Write a month into files with a manifest. Sealed, unless told otherwise: then no erasure reaches the files.

    Example: millrace events export --month 2026-05 --to archive/2026-05
    """
    settings = Settings.read()
    _need_reason(reveal, reason)

    async def run() -> ingest.Manifest:
        async with (
            running.connection(settings) as connection,
            running.keys(settings) if reveal else nullcontext() as keys,
        ):
            if reveal:
                await _written_down(connection, settings, "revealed month", str(month), reason)
            with _progress(json) as bar:
                task = bar.add_task(f"exporting {month}", total=await ingest.count(connection, month))
                now = clock(settings.clock).now()
                return await ingest.export(
                    connection, month, to, now=now, keys=keys, moved=lambda rows: bar.advance(task, rows)
                )

    manifest = running.run(run())
    if json:
        show.as_json(manifest)
    else:
        show.console.print(
            f"{manifest.rows:,} events in {len(manifest.files)} files, {'sealed' if manifest.sealed else 'OPENED'}"
        )


@app.command("verify-export")
def verify_export(
    folder: Annotated[Path, typer.Argument(help="The folder of an export.")], json: Json = False
) -> None:
    """Read an export again and compare it with its manifest; needs no database. Exit code 3 when it differs.

    Example: millrace events verify-export archive/2026-05
    """
    with _progress(json) as bar:
        task = bar.add_task("reading", total=ingest.read_manifest(folder / ingest.MANIFEST).rows)
        found = ingest.faults(folder, lambda rows: bar.advance(task, rows))
    if json:
        show.as_json({"faults": found})
    else:
        show.console.print("\n".join(found) or f"{folder} is as its manifest says", markup=False)
    raise typer.Exit(DRIFT if found else 0)


@app.command()
def detach(
    month: Month,
    manifest: Annotated[Path, typer.Option(help="manifest.json of the month's export, sealed.")],
    keep_years: Annotated[int, typer.Option(min=0, help="Years a month stays; fewer need --reason.")] = (
        ingest.KEEP_YEARS
    ),
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Take an old month out of the log, once its export is proven against it. Deletes nothing: a table is left.

    Example: millrace events detach --month 2019-05 --manifest archive/2019-05/manifest.json
    """
    settings = Settings.read()
    if keep_years < ingest.KEEP_YEARS and not reason.strip():
        _misspelt(f'fewer than {ingest.KEEP_YEARS} years: say why with --reason "…"')
    if early := ingest.too_early(month, clock(settings.clock).now(), keep_years):
        _stop(early)

    async def run() -> str:
        async with running.connection(settings) as connection:
            await _proven(connection, month, manifest, json)
            why = reason or f"exported and kept for {keep_years} years"

            async def witness(tx: postgres.Transaction) -> None:
                await running.audited(tx, settings, "detached month", str(month), why)

            return await ingest.detach(connection, month, witness)

    table = running.run(run())
    if json:
        show.as_json({"month": str(month), "table": table})
    else:
        show.console.print(f"{month} has left the log; its table is {table}")


@app.command()
def partitions(
    make: Annotated[bool, typer.Option("--make", help="Make those of this month and the next ones.")] = False,
    months: Annotated[int, typer.Option(min=1, max=120, help="How many ahead.")] = ingest.MONTHS_AHEAD,
    json: Json = False,
) -> None:
    """The log's partitions, with what they hold. Exit code 3 when this month's or the next one's is missing.

    Example: millrace events partitions --make
    """
    settings = Settings.read()
    now = clock(settings.clock).now()

    async def run() -> tuple[list[str], ingest.Partitions]:
        async with running.connection(settings) as connection:
            made = await ingest.make_partitions(connection, now, months) if make else []
            return made, await ingest.partitions(connection, now)

    made, found = running.run(run())
    if json:
        show.as_json({"made": made, **asdict(found)})
    else:
        _show_partitions(made, found)
    raise typer.Exit(DRIFT if found.missing else 0)


async def _with_email(settings: Settings, account: str, email: str) -> list[str]:
    """The customers who have this address, as the blind index tells without holding it."""
    if not email:
        return []
    async with running.keys(settings) as keys:
        return await lookup(keys.pool, keys.provider, account, EMAIL, email)


def _only(found: list[ingest.Record], event: str) -> ingest.Record:
    """The one event of that id."""
    if len(found) > 1:
        _misspelt(f"{event} is in {', '.join(row['account'] for row in found)}: name one with --account")
    if not found:
        _stop(f"{event} has never arrived")
    if found[0]["raw"] is None:
        _stop(
            f"{event} arrived on {found[0]['received_at']:%Y-%m-%d}; that month has left the log: see its export"
        )
    return found[0]


async def _revealed(
    settings: Settings, connection: postgres.Connection, row: ingest.Record, reason: str
) -> bytes:
    """The body as it was received. Writes: why, before anything is opened."""
    async with running.keys(settings) as keys:
        await _written_down(connection, settings, "revealed event", row["id"], reason)
        try:
            (body,) = await ingest.opened(keys, [row])
        except Unopenable as problem:
            _stop(f"{row['id']} does not open: {problem}")
        whose = row["customer"] or "somebody"
        return body or _stop(f"{row['id']} is of {whose}, who was erased: nothing opens it any more")


async def _written_down(
    connection: postgres.Connection, settings: Settings, action: str, subject: str, reason: str
) -> None:
    """Committed when this returns: whatever happens next, it is known who asked and why."""
    async with connection.transaction():
        await running.audited(connection, settings, action, subject, reason)


async def _proven(connection: postgres.Connection, month: ingest.Month, manifest: Path, json: bool) -> None:
    """Go on only if the files are whole and hold just what the month does."""
    told = ingest.read_manifest(manifest)
    if told.month != str(month) or not told.sealed:
        _stop(
            f"{manifest}: is of {told.month}{'' if told.sealed else ', opened'}; a sealed export of {month} is needed"
        )
    with _progress(json) as bar:
        task = bar.add_task("comparing", total=2 * told.rows)
        found = ingest.faults(manifest.parent, lambda rows: bar.advance(task, rows))
        found += await ingest.differences(connection, told, lambda rows: bar.advance(task, rows))
    if found:
        _stop("; ".join(found))


def _show_partitions(made: list[str], found: ingest.Partitions) -> None:
    show.console.print(f"made {', '.join(made)}") if made else None
    rows = [(p.name, p.starts, p.ends, p.rows, p.bytes) for p in found.partitions]
    show.table("Partitions", ["!partition", "from", "to", "#rows, about", "#bytes"], rows)
    for month, count in found.outside.items():
        typer.echo(
            f"warning: {count:,} events of {month} lie in the default partition and stay there", err=True
        )
    for month in found.missing:
        typer.echo(f"{month} has no partition: millrace events partitions --make", err=True)


def _progress(json: bool) -> Progress:
    return Progress(console=show.console, transient=True, disable=json)


def _parsed(body: bytes | None) -> Any:
    """A body for JSON's sake; as a text where it holds what our writer does not take."""
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return (body or b"").decode()


def _need_reason(reveal: bool, reason: str) -> None:
    if reveal and not reason.strip():
        _misspelt('--reveal needs a reason for the audit log: --reason "…"')


def _misspelt(what: str) -> NoReturn:
    raise typer.BadParameter(what)


def _stop(what: str) -> NoReturn:
    """Something is not as it should be: a sentence, and the exit code that says so."""
    typer.echo(f"millrace: {what}", err=True)
    raise typer.Exit(DRIFT)
