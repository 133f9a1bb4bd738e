"""The operators' commands: thin over `flow`, `verify`, `send` and the services' own read functions.

Exit codes: 0 all is well · 1 something could not be done · 3 something is not as it should be · 78 configuration.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from dunning import commands as dunning
from entitlement import commands as entitlement
from ingest import commands as ingest
from ledger import commands as ledger
from millrace import outbox, postgres
from millrace.clock import clock
from millrace.errors import Misconfigured
from operations import (
    endpoints,
    erase,
    events,
    flow,
    importing,
    kafka,
    keys,
    rebuild,
    relay,
    running,
    send,
    show,
)
from operations import verify as proof
from operations.running import DRIFT, Json
from operations.services import SCHEMAS
from operations.settings import Settings


def commands(app: typer.Typer) -> None:
    """Add the operators' commands to the `millrace` application."""
    for command in (migrate, send_, status, access, books, dunning_, verify):
        app.command(command.__name__.rstrip("_"))(command)
    app.add_typer(endpoints.app)
    app.add_typer(events.app)
    app.command("import")(importing.import_)
    app.add_typer(keys.app)
    app.add_typer(relay.app)
    app.command()(erase.erase)
    app.command()(rebuild.replay)


def migrate(
    partitions: Annotated[int, typer.Option(help="Partitions of a new topic; never changed later.")] = 24,
    replication: Annotated[int, typer.Option(help="Copies of a new topic: 3 in production.")] = 3,
    json: Json = False,
) -> None:
    """Bring every schema up to date; make the missing topics and days of the outbox. Before a release; safe to repeat.

    Example: millrace migrate --partitions 6 --replication 1
    """
    settings = Settings.read()

    async def run() -> dict[str, list[str]]:
        dsn = settings.database.get_secret_value()
        applied = [name for schema in SCHEMAS for name in await postgres.migrate(dsn, schema)]
        async with running.connection(settings) as connection:
            days = [str(day) for day in await outbox.make_days(connection)]
        made = await kafka.create_topics(settings.kafka, partitions=partitions, replication=replication)
        return {"migrations": applied, "topics": made, "days": days}

    done = running.run(run())
    if json:
        show.as_json(done)
    else:
        days = [f"outbox's day {day}" for day in done["days"]]
        for name in [*done["migrations"], *days, *(f"topic {t}" for t in done["topics"])] or [
            "nothing to do"
        ]:
            show.console.print(name)


def send_(
    file: Annotated[
        Path,
        typer.Argument(help="Events: one JSON a line, an array or a Stripe list; '-' reads standard input."),
    ],
    at_once: Annotated[int, typer.Option(min=1, help="Deliveries side by side.")] = 16,
    json: Json = False,
) -> None:
    """Sign events with the endpoint's secret and deliver them, retrying on 5xx the way Stripe does.

    Example: stripe events list --limit 100 | millrace send -
    """  # fmt: skip
    settings = Settings.read()
    secret = settings.webhook_secret.get_secret_value()
    if not secret:
        raise Misconfigured("MILLRACE_WEBHOOK_SECRET: is empty; set it to the endpoint's whsec_…")
    text = sys.stdin.buffer.read() if str(file) == "-" else _bytes(file)
    bodies = send.events_in(text, str(file))

    async def run() -> send.Sent:
        async with send.sender(settings.webhook, secret, clock(settings.clock), at_once=at_once) as sender:
            with Progress(console=show.console, transient=True, disable=json) as bar:
                task = bar.add_task("delivering", total=len(bodies))
                await sender.send_all(bodies, at_once=at_once, progress=lambda: bar.advance(task))
            return sender.sent

    sent = running.run(run())
    if json:
        show.as_json(sent)
    else:
        show.console.print(f"{len(sent.acknowledged):,} acknowledged, {sent.retries:,} tried again")
        show.table("Refused", ["event", "#status", "why"], sent.refused) if sent.refused else None
    raise typer.Exit(DRIFT if sent.refused else 0)


def status(json: Json = False) -> None:
    """How far events have come: stored, published, applied by each consumer, parked and why.

    `millrace consumers status` has each consumer's lag, rate and members, `millrace parked list` what is parked.

    Example: millrace status --json | jq '.consumers[].behind'
    """
    settings = Settings.read()

    async def run() -> dict[str, Any]:
        async with running.connection(settings) as connection:
            unpublished, oldest = await flow.unpublished(connection, settings)
            return {
                "stored": await ingest.stored(connection),
                "unpublished": {"rows": unpublished, "oldest": oldest},
                "consumers": await flow.stages(connection),
                "timers_overdue": len(await dunning.overdue_timers(connection, clock(settings.clock).now())),
            }

    found = running.run(run())
    if json:
        show.as_json(found)
    else:
        _show_status(found)


def access(
    customer: Annotated[str, typer.Argument(help="Stripe's customer id, cus_…")],
    json: Json = False,
) -> None:
    """What a customer may do now, why, and the events that prove it. Exit code 3 for an unknown customer.

    Example: millrace access cus_NffrFeUfNV2Hib
    """
    settings = Settings.read()

    async def run() -> list[dict[str, Any]]:
        async with running.connection(settings) as connection:
            return await entitlement.access(connection, customer)

    reports = running.run(run())
    if json:
        show.as_json(reports)
    for report in [] if json else reports:
        show_access(report)
    if not reports:
        typer.echo(f"no subscription of {customer} has arrived", err=True)
        raise typer.Exit(DRIFT)


def books(json: Json = False) -> None:
    """The trial balance by currency, what has not cleared and what waits. Exit code 3 when it does not balance.

    Example: millrace books --json | jq '.trial_balance[] | select(.account == 1100)'
    """
    settings = Settings.read()

    async def run() -> dict[str, Any]:
        async with running.connection(settings) as connection:
            return {
                "trial_balance": await ledger.trial_balance(connection),
                "clearing": await ledger.clearing(connection),
                "unbalanced": await ledger.unbalanced(connection),
                "waiting": await ledger.waiting(connection),
            }

    found = running.run(run())
    if json:
        show.as_json(found)
    else:
        show_books(found["trial_balance"])
        _show_clearing(found)
    raise typer.Exit(DRIFT if found["unbalanced"] else 0)


def dunning_(
    all_: Annotated[bool, typer.Option("--all", help="Ended cases as well.")] = False, json: Json = False
) -> None:
    """The dunning cases: what is owed, since when, what access it costs, and why.

    Example: millrace dunning --all
    """
    settings = Settings.read()

    async def run() -> list[dict[str, Any]]:
        async with running.connection(settings) as connection:
            return await dunning.cases(connection, open_only=not all_)

    cases = running.run(run())
    if json:
        show.as_json(cases)
    else:
        show_cases("Dunning cases" if all_ else "Open dunning cases", cases)


def verify(
    acknowledged: Annotated[
        Path | None, typer.Option(help="A file of event ids that were answered 2xx, one a line.")
    ] = None,
    json: Json = False,
) -> None:
    """Prove that nothing is missing or doubled, from the webhook to the books. Exit code 3 when something is.

    Reads every event ever stored: minutes on a large database. Example: millrace verify --json
    """
    settings = Settings.read()
    ids = _bytes(acknowledged).decode().split() if acknowledged else None

    async def run() -> list[proof.Check]:
        async with running.connection(settings) as connection:
            with show.console.status("reading everything that is stored"):
                return await proof.verify(connection, settings.kafka, ids)

    checks = running.run(run())
    if json:
        show.as_json(checks)
    else:
        show_checks(checks)
    raise typer.Exit(0 if all(check.ok for check in checks) else DRIFT)


def show_checks(checks: list[proof.Check]) -> None:
    """The proof, a line a check."""
    show.table("Proof", ["", "!check", "found"], [(show.mark(c.ok), c.name, c.detail) for c in checks])


def show_access(report: dict[str, Any]) -> None:
    """One customer's access with its evidence."""
    title = (
        f"{report['customer']} · catalog {report['catalog']} · as of {report['as_of']:%Y-%m-%d %H:%M:%S} UTC"
    )
    rows = [
        (show.mark(v["verdict"] != "denied"), name, v.get("limit"), v["reason"], "\n".join(v["evidence"]))
        for name, v in report["features"].items()
    ]
    show.table(title, ["", "!feature", "#limit", "why", "evidence"], rows)


def show_books(balances: Sequence[ledger.Balance]) -> None:
    """The trial balance, a table a currency, each with its sums."""
    for currency in sorted({line.currency for line in balances}):
        lines = [line for line in balances if line.currency == currency]
        sums = [sum(column) for column in zip(*(line[3:] for line in lines), strict=True)]
        rows: list[tuple[Any, ...]] = [
            (str(x.account), x.name, *(show.amount(minor, currency) for minor in x[3:])) for x in lines
        ]
        rows.append(("", "sum", *(show.amount(minor, currency) or "0" for minor in sums)))
        columns = ["account", "!name", "#debit", "#credit", "#balance"]
        show.table(f"Trial balance {currency.upper()}", columns, rows)


def _show_clearing(found: dict[str, Any]) -> None:
    """What one side has told and the other has not, and what waits to be told."""
    rows = [
        (c.name, c.currency.upper(), show.amount(c.balance_minor, c.currency) or "0",
         ", ".join(i.item for i in c.open_items[:3]) + (" …" if len(c.open_items) > 3 else ""))
        for c in found["clearing"]
    ]  # fmt: skip
    show.table("Not cleared yet", ["!account", "currency", "#balance", "open"], rows)
    waiting = [(w.event, w.type, w.reason) for w in found["waiting"]]
    show.table("Waiting for another fact", ["!event", "type", "why"], waiting)


def show_cases(title: str, cases: Sequence[dict[str, Any]]) -> None:
    """Dunning cases, oldest failure first."""
    rows = [
        (f"{case['customer']}\n{case['invoice']}", case["stage"], case["attempts"], case["reason"])
        for case in cases
    ]
    show.table(title, ["!customer, invoice", "!stage", "#attempts", "why"], rows)


def _show_status(found: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    stored, unpublished = found["stored"], found["unpublished"]
    show.console.print(f"stored       {stored['events']:,} events, newest {stored['newest'] or 'never'}")
    show.console.print(
        f"unpublished  {unpublished['rows']:,} outbox rows, oldest {_age(unpublished['oldest'], now)}"
    )
    show.console.print(f"timers       {found['timers_overdue']:,} overdue")
    rows = [
        (s.consumer, s.applied, s.noop, s.parked, s.behind, _age(s.oldest, now),
         "; ".join(f"{r['events']} {r['status']}: {r['reason']}" for r in s.reasons))
        for s in found["consumers"]
    ]  # fmt: skip
    show.table(
        "Consumers",
        ["!consumer", "#applied", "#no-op", "#parked", "#behind", "oldest", "parked because"],
        rows,
    )


def _age(since: datetime | None, now: datetime) -> str:
    return f"{(now - since).total_seconds():.1f} s ago" if since else "none"


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise Misconfigured(f"{file}: {problem.strerror}") from None
