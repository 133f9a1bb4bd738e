"""Every SQL statement of dunning. Sets in, sets out: a batch of any size costs the same few round trips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, TypeVar

import asyncpg

from dunning.domain import CUSTOMER_GONE, Attempt, Case, Decline, Departed, End, Facts, Kind, Stage
from dunning.domain.case import Standing
from millrace.consumer import TABLES, Applied, latest
from millrace.errors import Retryable
from millrace.events import instant
from millrace.postgres import Connection, Schema, Series, Transaction

State = Case | Departed  # what a key of dunning stands for: an invoice, or a customer who was deleted
S = TypeVar("S", Case, Departed)
OPEN = frozenset({Stage.OPEN, Stage.GRACE, Stage.RESTRICTED, Stage.EXHAUSTED})

SCHEMA = Schema("dunning", (*TABLES, Series("dunning", "dunning.migrations")))

LOAD_CASES = """
-- What is known of the invoices in this batch, locked in a fixed order.
select c.*
  from dunning."case" c
  join unnest($1::text[], $2::text[]) as wanted (account, invoice) using (account, invoice)
 order by c.account, c.invoice
   for update of c
"""


async def load_cases(tx: Transaction, keys: Sequence[str]) -> Mapping[str, State]:
    """The cases of these keys (account/invoice). A customer who is gone needs no loading: gone is gone."""
    named = [key.partition("/") for key in keys]
    rows = await tx.fetch(LOAD_CASES, [n[0] for n in named], [n[2] for n in named])
    return {f"{row['account']}/{row['invoice']}": case_of(row) for row in rows}


NEW_CASES = """
-- Cases that were not there when they were loaded. One that was made meanwhile stays and is not returned.
insert into dunning."case"
select * from jsonb_populate_recordset(null::dunning."case", $1)
 order by account, invoice
    on conflict (account, invoice) do nothing
returning 1
"""

MOVE_CASES = """
-- The last state of cases that were there. One that moved since it was loaded stays and is not returned.
update dunning."case" as c
   set customer = n.customer, subscription = n.subscription, stage = n.stage, access = n.access,
       attempts = n.attempts, failed_at = n.failed_at, grace_until = n.grace_until, reason = n.reason,
       sold = n.sold, latest = n.latest, decline = n.decline, gave_up = n.gave_up,
       grace_ended = n.grace_ended, ended = n.ended, version = n.version,
       last_event = n.last_event, changed_at = n.changed_at
  from jsonb_array_elements($1) as changed (row),
       jsonb_populate_record(null::dunning."case", changed.row) as n
 where c.account = n.account and c.invoice = n.invoice
   and c.version = (changed.row ->> 'loaded_version')::bigint
returning 1
"""


async def save_states(tx: Transaction, changes: Sequence[Applied[State]]) -> None:
    """Keep what a batch changed: cases, their timers, and the customers who are gone. Raises: Retryable.

    A departure meets the cases as they are when it comes, so what is before and after it is saved apart: which
    timers there are must not depend on where batches were cut.
    """
    for departed, run in groupby(changes, lambda change: isinstance(change.state, Departed)):
        if departed:
            await save_departed(tx, [_change(c, c.state) for c in run if isinstance(c.state, Departed)])
        else:
            await save_cases(tx, [_change(c, c.state) for c in run if isinstance(c.state, Case)])


def _change(change: Applied[State], state: S) -> Applied[S]:
    return Applied(change.key, change.event, state, change.reason)


async def save_cases(tx: Transaction, changes: Sequence[Applied[Case]]) -> None:
    """Keep the last state of each case, and set the timer of each deadline that it had, if only for one event.

    Raises: Retryable when a case moved since it was loaded; the batch is judged again on what it is now.
    """
    loaded: dict[str, int] = {}
    for change in changes:
        loaded.setdefault(change.key, change.state.version - 1)
    last = latest(changes)
    rows = {key: row_of(change, loaded[key]) for key, change in last.items()}
    new = [row for key, row in rows.items() if loaded[key] == 0]
    moved = [row for key, row in rows.items() if loaded[key] != 0]
    saved = [
        *(await tx.fetch(NEW_CASES, new) if new else ()),
        *(await tx.fetch(MOVE_CASES, moved) if moved else ()),
    ]
    if len(saved) != len(rows):
        raise Retryable("a case was changed by somebody else meanwhile", after=0.05)
    await set_timers(tx, changes)
    await close_cases(tx, changes)


SAVE_DEPARTED = """
-- Customers who are gone; they stay gone.
insert into dunning.departed (account, customer, at)
select * from unnest($1::text[], $2::text[], $3::timestamptz[])
    on conflict (account, customer) do nothing
"""


async def save_departed(tx: Transaction, changes: Sequence[Applied[Departed]]) -> None:
    """Keep who is gone, and see to it that their open cases are closed."""
    rows = [(c.state.account, c.state.customer, c.state.at, c.event.trace) for c in changes]
    accounts, customers, at, traces = map(list, zip(*rows, strict=True))
    await tx.execute(SAVE_DEPARTED, accounts, customers, at)
    await tx.execute(CLOSE_OF_DEPARTED, accounts, customers, traces, CUSTOMER_GONE)


CLOSE_OF_DEPARTED = """
-- A timer, due at once, for each case of these customers that stands open.
insert into dunning.timer (account, invoice, timer, customer, due_at, trace)
select c.account, c.invoice, $4, c.customer, d.at, gone.trace
  from unnest($1::text[], $2::text[], $3::text[]) with ordinality as gone (account, customer, trace, place)
  join dunning.departed as d using (account, customer)
  join dunning."case" as c using (account, customer)
 where c.stage in ('open', 'grace', 'restricted', 'exhausted')
 order by gone.place
    on conflict (account, invoice, timer) do nothing
"""

CLOSE_CASES = """
-- The same for cases that were open, if only for one event, when their customer was gone already.
insert into dunning.timer (account, invoice, timer, customer, due_at, trace)
select account, invoice, $5, customer, d.at, open.trace
  from unnest($1::text[], $2::text[], $3::text[], $4::text[]) with ordinality
       as open (account, invoice, customer, trace, place)
  join dunning.departed as d using (account, customer)
 order by open.place
    on conflict (account, invoice, timer) do nothing
"""


async def close_cases(tx: Transaction, changes: Sequence[Applied[Case]]) -> None:
    """See to it that no case stays open which opens after its customer has gone."""
    rows = [
        (c.state.account, c.state.invoice, c.state.facts.customer, c.event.trace)
        for c in changes
        if c.state.standing.stage in OPEN
    ]
    if rows:
        await tx.execute(CLOSE_CASES, *map(list, zip(*rows, strict=True)), CUSTOMER_GONE)


SET_TIMERS = """
-- A timer for each deadline. The same deadline again, fired or not, is the same timer.
insert into dunning.timer (account, invoice, timer, customer, due_at, trace)
select account, invoice, timer, customer, due_at, trace
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[]) with ordinality
       as set (account, invoice, timer, customer, due_at, trace, place)
 order by place
    on conflict (account, invoice, timer) do nothing
"""


async def set_timers(tx: Transaction, changes: Sequence[Applied[Case]]) -> None:
    """Set a timer for each grace that has an end. Of a deadline that is told again, the first one counts."""
    rows = [
        (c.state.account, c.state.invoice, grace_timer(until), c.state.facts.customer, until, c.event.trace)
        for c in changes
        if (until := c.state.standing.grace_until)
    ]
    if rows:
        await tx.execute(SET_TIMERS, *map(list, zip(*rows, strict=True)))


def grace_timer(until: datetime) -> str:
    """The name of a deadline's timer. It carries the instant: another deadline is another timer and event."""
    return f"grace.{until.astimezone(UTC):%Y%m%dT%H%M%SZ}"


@dataclass(frozen=True, slots=True)
class Due:
    """A timer that has been claimed: its event is to be written in the same transaction."""

    account: str
    invoice: str
    timer: str
    customer: str
    due_at: datetime
    trace: str


CLAIM_DUE = """
-- The oldest due timers that nobody else is claiming, marked as fired until this transaction says otherwise.
with due as materialized (
    select account, invoice, timer
      from dunning.timer
     where fired_at is null and due_at <= $1
     order by due_at
     limit $2
       for update skip locked)
update dunning.timer t
   set fired_at = $1
  from due
 where (t.account, t.invoice, t.timer) = (due.account, due.invoice, due.timer)
returning t.account, t.invoice, t.timer, t.customer, t.due_at, t.trace
"""


async def claim_due(tx: Transaction, now: datetime, limit: int) -> list[Due]:
    """Timers that are due, each given to one claimer. Writes: fired_at."""
    return sorted((Due(**row) for row in await tx.fetch(CLAIM_DUE, now, limit)), key=lambda due: due.due_at)


CASES = """
-- The cases, the oldest failure first.
select account, customer, subscription, invoice, stage, access, attempts, decline ->> 'code' as decline_code,
       failed_at, grace_until, reason, last_event
  from dunning."case"
 where stage in ('open', 'grace', 'restricted', 'exhausted') or (not $1 and stage is not null)
 order by failed_at, account, invoice
"""


async def cases(connection: Connection, open_only: bool) -> list[dict[str, Any]]:
    return [dict(row) for row in await connection.fetch(CASES, open_only)]


CASE = """
-- Everything known of one invoice, in every account that has it.
select account, customer, subscription, invoice, stage, access, attempts, failed_at, grace_until, reason,
       sold, latest, decline, gave_up, ended, version, last_event, changed_at
  from dunning."case"
 where invoice = $1
 order by account
"""

TIMERS = """
-- An invoice's deadlines.
select timer, due_at, fired_at from dunning.timer where account = $1 and invoice = $2 order by due_at, timer
"""

HISTORY = """
-- How an invoice's case came to stand where it does: the audit rows about it, in the order of writing.
select at, action, event, reason
  from dunning.audit
 where subject = $1
 order by recorded_at, chain, seq
"""


async def case(connection: Connection, invoice: str) -> dict[str, Any] | None:
    row = await connection.fetchrow(CASE, invoice)
    if row is None:
        return None
    timers = await connection.fetch(TIMERS, row["account"], invoice)
    history = await connection.fetch(HISTORY, f"{row['account']}/{invoice}")
    return {**row, "timers": [dict(t) for t in timers], "history": [dict(h) for h in history]}


OVERDUE = """
-- Timers that should have fired by now, the most overdue first.
select account, customer, invoice, timer, due_at
  from dunning.timer
 where fired_at is null and due_at <= $1
 order by due_at, account, invoice, timer
"""


async def overdue(connection: Connection, now: datetime) -> list[dict[str, Any]]:
    return [dict(row) for row in await connection.fetch(OVERDUE, now)]


DIGEST = """
-- What equal histories must agree on, whatever order they were told in: all that is known and what follows.
-- Left out: versions, the last event and its time, which count and name the steps of one particular order.
select account, invoice, customer, subscription, stage, access, attempts, failed_at, grace_until, reason,
       array(select unnest(sold) order by 1) as sold, latest, decline, gave_up, ended
  from dunning."case"
 order by account collate "C", invoice collate "C"
"""


async def state(connection: Connection) -> list[list[Any]]:
    """The rows that a digest covers, in a canonical order."""
    return [[_plain(value) for value in row.values()] for row in await connection.fetch(DIGEST)]


def _plain(value: Any) -> Any:
    return instant(value) if isinstance(value, datetime) else value


def row_of(change: Applied[Case], loaded_version: int) -> dict[str, Any]:
    """A case as its row."""
    case, facts, stands = change.state, change.state.facts, change.state.standing
    return {
        "account": case.account,
        "invoice": case.invoice,
        "customer": facts.customer,
        "subscription": facts.subscription,
        "stage": stands.stage,
        "access": stands.access,
        "attempts": facts.attempts,
        "failed_at": facts.failed_at,
        "grace_until": stands.grace_until,
        "reason": stands.reason,
        "sold": sorted(facts.sold),
        "latest": facts.latest and asdict(facts.latest),
        "decline": facts.decline and asdict(facts.decline),
        "gave_up": facts.gave_up,
        "grace_ended": facts.grace_ended,
        "ended": facts.end and facts.end.name.lower(),
        "version": case.version,
        "last_event": change.event.id,
        "changed_at": change.event.time,
        "loaded_version": loaded_version,
    }


def case_of(row: asyncpg.Record) -> Case:
    """A row as the case it holds."""
    stage = Stage(row["stage"]) if row["stage"] else None
    facts = Facts(
        customer=row["customer"],
        subscription=row["subscription"],
        sold=frozenset(row["sold"]),
        attempts=row["attempts"],
        failed_at=row["failed_at"],
        latest=_attempt(row["latest"]),
        decline=_decline(row["decline"]),
        gave_up=row["gave_up"],
        grace_ended=row["grace_ended"],
        end=End[row["ended"].upper()] if row["ended"] else None,
    )
    standing = Standing(stage, row["access"], row["grace_until"], row["reason"])
    return Case(row["account"], row["invoice"], facts, standing, row["version"])


def _attempt(found: dict[str, Any] | None) -> Attempt | None:
    return Attempt(**{**found, "at": datetime.fromisoformat(found["at"])}) if found else None


def _decline(found: dict[str, Any] | None) -> Decline | None:
    if found is None:
        return None
    return Decline(**{**found, "at": datetime.fromisoformat(found["at"]), "kind": Kind(found["kind"])})
