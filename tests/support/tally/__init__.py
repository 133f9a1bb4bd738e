"""A consumer small enough to see through: it remembers, per key, which events it applied and in what order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from millrace.consumer import TABLES, Applied, Decision, Fold, applied, latest, noop, waiting
from millrace.errors import Poison
from millrace.events import Event
from millrace.events.ours import RefreshRequested
from millrace.postgres import Schema, Series, Transaction

SCHEMA = Schema("tally", (*TABLES, Series("tally", "tests.support.tally.migrations")))


@dataclass(frozen=True, slots=True)
class Tally:
    applied: tuple[str, ...] = ()
    total: int = 0


def add(tally: Tally | None, event: Event, _: None) -> Decision[Tally]:
    """Adds `amount`; asks for a refresh of what it added to."""
    amount = event.data["amount"]
    if type(amount) is not int:
        raise Poison("amount is not a whole number")
    before = tally or Tally()
    after = Tally((*before.applied, event.id), before.total + amount)
    effect = RefreshRequested(
        account=event.account, customer="", object=event.subject, reason="added", cause=event.id
    )
    return applied(after, f"added {amount}", effect)


def take(tally: Tally | None, event: Event, _: None) -> Decision[Tally]:
    """Takes `amount`, once there is enough to take it from."""
    amount = event.data["amount"]
    if tally is None or tally.total < amount:
        return waiting(f"needs {amount} first")
    return applied(Tally((*tally.applied, event.id), tally.total - amount), f"took {amount}")


def look(tally: Tally | None, event: Event, _: None) -> Decision[Tally]:
    return noop("looking changes nothing")


def broken(tally: Tally | None, event: Event, _: None) -> Decision[Tally]:
    raise ZeroDivisionError("secret in the text of the exception")


LOAD = """
-- The tallies of these keys.
select key, applied, total from tally.tally where key = any($1::text[]) order by key for update
"""
SAVE = """
-- The tallies as they are now.
insert into tally.tally (key, applied, total)
select key, string_to_array(applied, ' '), total
  from unnest($1::text[], $2::text[], $3::bigint[]) as t (key, applied, total)
on conflict (key) do update set applied = excluded.applied, total = excluded.total
"""


async def load(tx: Transaction, keys: Sequence[str]) -> dict[str, Tally]:
    return {r["key"]: Tally(tuple(r["applied"]), r["total"]) for r in await tx.fetch(LOAD, keys)}


async def save(tx: Transaction, changes: Sequence[Applied[Tally]]) -> None:
    last = latest(changes)
    tallies = [c.state for c in last.values()]
    await tx.execute(SAVE, list(last), [" ".join(t.applied) for t in tallies], [t.total for t in tallies])


def fold(*, ordered: bool = True) -> Fold[Tally, None]:
    return Fold(
        name="tally",
        apply={"stripe.add": add, "stripe.take": take, "stripe.look": look, "stripe.broken": broken},
        key=lambda event: event.subject or None,
        load=load,
        save=save,
        rules=lambda: None,
        ordered=ordered,
    )


def event(kind: str, id: str, amount: Any = 1, *, of: str = "a", customer: str | None = None) -> Event:
    """An event of the tally's own little language."""
    return Event(
        id=id,
        type=f"stripe.{kind}",
        source="stripe/acct_test",
        subject=of,
        time=datetime(2026, 7, 1, tzinfo=UTC),
        key=f"acct_test/{customer or of}",
        schema="2026-10-28.endive",
        data={"amount": amount},
        trace="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
    )
