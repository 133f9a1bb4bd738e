"""The proof over everything stored: acknowledged = stored = published once = applied + no-op + parked.

Each check compares two independent countings of the same thing and names what differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ingest import commands as ingest
from ledger import commands as ledger
from millrace import audit
from millrace.postgres import Connection
from millrace.topics import RELAY_HEARTBEAT
from operations.services import CONSUMERS, SCHEMAS, Consumer
from outbox_relay import commands as relay

OUTBOX = """
-- What was to be published, by topic, and whether it stands in quarantine instead. Heartbeats are no news.
select event.topic, event.headers->>'ce_source' as source, event.headers->>'ce_id' as id,
       exists (select from outbox.quarantine parked
                where parked.id = event.id and parked.status <> 'published') as parked
  from outbox.event
 where event.topic <> $1
"""

MET = """
-- What a consumer says it has done.
select source, event_id, outcome from {schema}.processed_events
"""

PARKED = """
-- What a consumer keeps parked.
select source, event_id from {schema}.parked_event
"""

AUDITED = """
-- Which schemas keep an audit log.
select table_schema from information_schema.tables where table_name = 'audit' and table_schema = any($1::text[])
 order by 1
"""

Name = tuple[str, str]  # source, id


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison. `detail` names what differs, or the figures that agree."""

    name: str
    ok: bool
    detail: str


async def verify(
    connection: Connection, kafka: str, acknowledged: Collection[str] | None = None
) -> list[Check]:
    """Every check. Reads everything; writes nothing that stays."""
    stored = await ingest.event_ids(connection)
    found = await connection.fetch(OUTBOX, RELAY_HEARTBEAT)
    rows = [(r["topic"], (r["source"], r["id"])) for r in found]
    sent = [(r["topic"], (r["source"], r["id"])) for r in found if not r["parked"]]
    checks = []
    if acknowledged is not None:
        checks.append(_same("acknowledged = stored", set(acknowledged), {e.id for e in stored}))
    checks.append(_outboxed(stored, rows))
    checks += _published(sent, await relay.published(kafka, connection))
    for consumer in CONSUMERS:
        checks += await _applied(connection, consumer, sent)
    checks += await _books(connection)
    checks.append(await _chains(connection))
    return checks


def _same(name: str, left: set[str], right: set[str]) -> Check:
    missing, extra = sorted(left - right), sorted(right - left)
    detail = f"{len(left & right):,} events"
    if missing or extra:
        detail = f"missing {len(missing)} {missing[:3]}, unexpected {len(extra)} {extra[:3]}"
    return Check(name, not missing and not extra, detail)


def _outboxed(stored: Collection[ingest.EventId], rows: list[tuple[str, Name]]) -> Check:
    wanted = Counter((e.topic, (f"stripe/{e.account}", e.id)) for e in stored)
    found = Counter(row for row in rows if row[1][0].startswith("stripe/"))
    differ = [key for key in wanted.keys() | found.keys() if wanted[key] != found[key]]
    detail = (
        f"{len(stored):,} events, one row each"
        if not differ
        else f"{len(differ)} differ: {sorted(differ)[:3]}"
    )
    return Check("stored = outbox, row by row", not differ, detail)


def _published(rows: list[tuple[str, Name]], found: dict[str, Any]) -> list[Check]:
    wanted = Counter(topic for topic, _ in rows)
    records = {topic: counts["records"] for topic, counts in found["topics"].items()}
    differ = {
        t: (wanted[t], records.get(t, 0)) for t in wanted.keys() | records if wanted[t] != records.get(t, 0)
    }
    exact = not differ and not found["missing"] and not found["strange"]
    return [
        Check(
            "outbox = published",
            exact,
            f"{found['rows']:,} rows on {len(records)} topics"
            if exact
            else f"(rows, records) {differ}; {found['missing']} missing, {found['strange']} of no row",
        ),
        Check(
            "no row waits in quarantine",
            not found["parked"],
            f"{found['parked']:,} rows in quarantine, {found['replays']:,} records were published again by an operator",
        ),
        Check(
            "published once", not found["duplicates"], f"{found['duplicates']} duplicates for read_committed"
        ),
        Check(
            "published without a gap", not found["gaps"], f"{found['gaps']} gaps in the partitions' numbering"
        ),
    ]


async def _applied(connection: Connection, consumer: Consumer, rows: list[tuple[str, Name]]) -> list[Check]:
    wanted = {name for topic, name in rows if topic in consumer.topics}
    met = {
        (r["source"], r["event_id"]): r["outcome"]
        for r in await connection.fetch(MET.format(schema=consumer.name))
    }
    parked = {
        (r["source"], r["event_id"]) for r in await connection.fetch(PARKED.format(schema=consumer.name))
    }
    count = Counter(met.values())
    kept = {name for name, outcome in met.items() if outcome == "parked"} == parked
    differ = sorted(wanted ^ {name for name in met if name[0]})  # what could not be read has no source
    told = (
        f"{len(met):,} = {count['applied']:,} applied + {count['noop']:,} no-op + {count['parked']:,} parked"
        + (f" + {count['discarded']:,} discarded" if count["discarded"] else "")
    )
    detail = told if not differ else f"{len(differ)} not met or not asked for: {differ[:3]}"
    return [
        Check(f"{consumer.name}: applied + no-op + parked", not differ, detail),
        Check(f"{consumer.name}: what is parked is kept", kept, f"{len(parked)} parked events kept whole"),
    ]


async def _books(connection: Connection) -> list[Check]:
    unbalanced = await ledger.unbalanced(connection)
    balance = await ledger.trial_balance(connection)
    sums: Counter[str] = Counter()
    for line in balance:
        sums[line.currency] += line.balance_minor
    zero = not any(sums.values())
    drift = await ledger.drift(connection)
    attempts = await _refused(connection)
    allowed = [a.attempt for a in attempts if not a.refused]
    return [
        Check("every journal transaction sums to zero", not unbalanced, f"{len(unbalanced)} unbalanced"),
        Check("running balances are the sum of their lines", not drift, f"{len(drift)} accounts drift"),
        Check("the trial balance sums to zero", zero, ", ".join(f"{c} {n}" for c, n in sorted(sums.items()))),
        Check("the books refuse changes", bool(attempts) and not allowed,
              f"{len(attempts)} attempts refused" if not allowed else f"allowed: {allowed}"),
    ]  # fmt: skip


async def _refused(connection: Connection) -> list[ledger.Attempt]:
    """What the ledger's own role is refused; the role is put off again afterwards."""
    await connection.execute(f"set role {ledger.SCHEMA.role}")
    try:
        return await ledger.refused(connection)
    finally:
        await connection.execute("reset role")


async def _chains(connection: Connection) -> Check:
    schemas = [r["table_schema"] for r in await connection.fetch(AUDITED, [s.name for s in SCHEMAS])]
    broken = [problem for schema in schemas for problem in await audit.verify(connection, schema)]
    return Check(
        "audit chains hold", bool(schemas) and not broken, "; ".join(broken) or f"{len(schemas)} schemas"
    )
