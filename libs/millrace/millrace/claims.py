"""Payloads that are too large for Kafka: fetched from the outbox that keeps them, before anybody sees the event.

A `Consumer` does it by itself; its handlers never know. Whoever reads records without one:

    claims = Claims({"main": dsn})
    headers, value = await claims.whole(record.headers, record.value)
    event = decode(record.key, dict(headers), value)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import asyncpg
import cramjam

from millrace import postgres
from millrace.errors import Poison, Retryable
from millrace.events.dataref import HEADER, Claim, claimed
from millrace.postgres import CUT_OFF, Pool

BYTES_MAX = 64 << 20  # of one payload, unpacked: the relay parks what is larger
Headers = Sequence[tuple[str, bytes]]
AWAY_SECONDS = 5.0  # before an outbox that cannot be reached is asked again

CLAIMED = """
-- A function, because a reader may have what it holds a reference to, and nothing else.
select payload, unpacked from outbox.claimed($1::text::uuid)
"""


class Claims:
    """The outboxes that this reader may fetch from, by the names that their relays give them.

    Units: `bytes_max` of one payload; while it is unpacked, it is in memory twice.
    """

    def __init__(self, outboxes: Mapping[str, Pool | str], *, bytes_max: int = BYTES_MAX) -> None:
        self.outboxes, self.bytes_max = dict(outboxes), bytes_max
        self._pools: dict[str, Pool] = {}

    async def whole(self, headers: Headers, value: bytes | None) -> tuple[Headers, bytes | None]:
        """A record's headers and value with the payload in its place; any other record as it is.

        Raises: Retryable when it is out of reach; Poison when it will never be there, or is not what was written.
        """
        said = dict(headers)
        if not claimed(said):
            return headers, value
        payload = await self.fetch(Claim.parse(said[HEADER], value))
        return [(name, raw) for name, raw in headers if name != HEADER], payload

    async def fetch(self, claim: Claim) -> bytes:
        """The payload, unpacked. Raises: Retryable, Poison."""
        if claim.size > self.bytes_max:
            raise Poison(f"{claim.dataref}: {claim.size:,} bytes, and this reader takes {self.bytes_max:,}")
        row = await self._row(claim)
        payload: bytes | None = row["payload"]
        if payload is None:
            raise Poison(GONE.format(dataref=claim.dataref))
        if hashlib.sha256(payload).hexdigest() != claim.sha256:
            raise Poison(f"{claim.dataref}: the payload is not what was written; its sha-256 differs")
        return payload if row["unpacked"] is None else _unpacked(claim, payload)

    async def close(self) -> None:
        """Close the pools that were opened here; one that was given is its owner's."""
        for pool in self._pools.values():
            pool.terminate()
        self._pools.clear()

    async def _row(self, claim: Claim) -> asyncpg.Record:
        try:
            row = await (await self._pool(claim)).fetchrow(CLAIMED, claim.ref)
        except (asyncpg.PostgresError, *CUT_OFF) as problem:
            away = f"{claim.dataref}: its outbox cannot be asked: {type(problem).__name__}"
            raise Retryable(away, after=AWAY_SECONDS) from problem
        assert row is not None  # a function with out parameters always has one
        return row

    async def _pool(self, claim: Claim) -> Pool:
        outbox = self.outboxes.get(claim.database)
        if outbox is None:
            raise Retryable(UNKNOWN.format(dataref=claim.dataref, name=claim.database), after=AWAY_SECONDS)
        if not isinstance(outbox, str):
            return outbox
        if claim.database not in self._pools:
            self._pools[claim.database] = await postgres.pool(outbox, size=2, name="millrace-claims")
        return self._pools[claim.database]


GONE = (
    "{dataref}: the payload is gone, its row was dropped with its day. Publish the event anew from its source, "
    "or restore that day and run `millrace relay replay --ids` with the record's millrace-outbox-id"
)
UNKNOWN = (
    "{dataref}: this reader knows no outbox {name!r}. Give the consumer its DSN: "
    "Consumer(…, claims={{{name!r}: dsn}})"
)


def _unpacked(claim: Claim, payload: bytes) -> bytes:
    """Never more than was announced: what holds more does not fit."""
    whole = bytearray(claim.size)
    try:
        size = cramjam.zstd.decompress_into(payload, whole)
    except cramjam.DecompressionError as problem:
        raise Poison(f"{claim.dataref}: the payload does not unpack into {claim.size:,} bytes") from problem
    if size != claim.size:
        raise Poison(f"{claim.dataref}: {claim.size:,} bytes were announced, and there are {size:,}")
    return bytes(whole)
