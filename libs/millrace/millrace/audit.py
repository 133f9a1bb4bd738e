"""The audit log: who did what, why, and because of which event. Append-only and hash-chained.

A chain has one writer at a time (an advisory lock for the length of the transaction): each process of a
consumer has a chain of its own, so that none waits for another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from millrace.events import instant
from millrace.postgres import Connection, Series, Transaction

TABLE = Series("audit", "millrace.migrations.audit")
GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done. `at` is the time of the fact, not of the writing."""

    at: datetime
    actor: str
    action: str
    subject: str
    event: str
    reason: str


LOCK = """
-- One writer a chain until the transaction ends.
select pg_advisory_xact_lock(hashtextextended($1, 0))
"""


def _head(schema: str) -> str:
    return f"""
-- The chain's last row.
select seq, hash from {schema}.audit where chain = $1 order by seq desc limit 1
"""


def _append(schema: str) -> str:
    return f"""
-- The new rows, already hashed.
insert into {schema}.audit (chain, seq, at, actor, action, subject, event, reason, hash)
select $1, * from unnest($2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[],
                         $8::text[], $9::bytea[])
"""


def _read(schema: str) -> str:
    return f"""
-- Every chain from its first row.
select chain, seq, at, actor, action, subject, event, reason, hash from {schema}.audit order by chain, seq
"""


async def append(tx: Transaction, schema: str, chain: str, entries: Sequence[Entry]) -> None:
    """Add entries to a chain, in order. Writes: one audit row each, in `schema`."""
    if not entries:
        return
    await tx.execute(LOCK, f"{schema}/{chain}")
    last = await tx.fetchrow(_head(schema), chain)
    seq, link = (last["seq"], last["hash"]) if last else (0, GENESIS)
    hashes = list(_links(chain, seq, link, entries))
    await tx.execute(
        _append(schema),
        chain,
        [seq + n for n in range(1, len(entries) + 1)],
        [e.at for e in entries],
        [e.actor for e in entries],
        [e.action for e in entries],
        [e.subject for e in entries],
        [e.event for e in entries],
        [e.reason for e in entries],
        hashes,
    )


async def verify(connection: Connection, schema: str) -> list[str]:
    """Read every chain again; returns what is wrong, first bad row of each chain, or nothing."""
    broken: dict[str, str] = {}
    seq, link, chain = 0, GENESIS, None
    for row in await connection.fetch(_read(schema)):
        if row["chain"] != chain:
            chain, seq, link = row["chain"], 0, GENESIS
        entry = Entry(*(row[n] for n in ("at", "actor", "action", "subject", "event", "reason")))
        seq, link = seq + 1, _link(link, row["chain"], seq + 1, entry)
        if (row["seq"], row["hash"]) != (seq, link) and chain not in broken:
            broken[row["chain"]] = f"{schema}.audit {chain}: row {seq} was changed, removed or moved"
    return list(broken.values())


def _links(chain: str, seq: int, link: bytes, entries: Iterable[Entry]) -> Iterable[bytes]:
    for place, entry in enumerate(entries, seq + 1):
        link = _link(link, chain, place, entry)
        yield link


def _link(previous: bytes, chain: str, seq: int, entry: Entry) -> bytes:
    fields = (
        chain,
        str(seq),
        instant(entry.at),
        entry.actor,
        entry.action,
        entry.subject,
        entry.event,
        entry.reason,
    )
    raw = [field.encode() for field in fields]
    return hashlib.sha256(previous + b"".join(len(r).to_bytes(4, "big") + r for r in raw)).digest()
