"""Every statement of ingest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import orjson
import zstandard

from ingest.domain import Arrival
from ingest.domain.routing import topic_of
from millrace import outbox
from millrace.errors import Retryable
from millrace.events import STRIPE, headers
from millrace.events.keys import key_hash
from millrace.postgres import Connection, Schema, Series
from millrace.sealing import SEALS, DataKey, Place, Policy
from millrace.sealing.store import index

SCHEMA = Schema("ingest", (outbox.WRITES, SEALS, Series("ingest", "ingest.migrations")))

LEVEL = 1  # zstd: 3 saves 4 % of the bytes for 60 % more time, which is spent before the answer
PACKING_LEVEL = (
    -1
)  # of what waits in the outbox only: a quarter more bytes, a tenth less CPU for the whole request
RAW_BYTES_MAX = 64 * 2**20  # no body is larger; a damaged frame must not claim to be

_compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
_packer = zstandard.ZstdCompressor(level=PACKING_LEVEL)
_decompressor = zstandard.ZstdDecompressor()


Entry = tuple[str, str, bytes, str]  # of the blind index: account, field, digest, customer


class Row(NamedTuple):
    """An arrival as the statement below takes it: one field a column. Nothing in it is personal in the clear."""

    account: str
    id: str
    type: str
    created: datetime
    api_version: str
    livemode: bool
    object_id: str | None
    customer: str | None
    received_at: datetime
    source: str
    raw: bytes
    signature: str
    endpoint: str
    secret: str
    cards: int
    topic: str
    key: str
    hash: int  # of the key
    headers: str
    payload: bytes  # packed
    unpacked: int
    entries: tuple[Entry, ...] = ()  # not a column: goes into the blind index, before


COLUMNS = len(Row._fields) - 1


def row(arrival: Arrival, key: DataKey, policy: Policy, entries: tuple[Entry, ...] = ()) -> Row:
    """An arrival as it rests: the bytes sealed whole, the body that is published field by field.

    Done per request, not per batch: while one batch commits, the next is being sealed.
    Writes: the arrival's body, whose personal fields are sealed in place.
    """
    event = arrival.event
    type_ = event.type.removeprefix(STRIPE)
    payload = policy.seal(arrival.body, key, f"{event.account}/{event.id}")
    return Row(
        account=event.account,
        id=event.id,
        type=type_,
        created=event.time,
        api_version=event.schema,
        livemode=arrival.livemode,
        object_id=arrival.object_id,
        customer=arrival.customer,
        received_at=arrival.received_at,
        source=arrival.source,
        raw=key.seal(place_of_raw(event.account, event.id), _compressor.compress(arrival.raw)),
        signature=arrival.signature,
        endpoint=arrival.endpoint,
        secret=arrival.secret,
        cards=arrival.cards,
        topic=topic_of(type_),
        key=event.key,
        hash=key_hash(event.key),
        headers=orjson.dumps(headers(event)).decode(),
        payload=_packer.compress(payload),
        unpacked=len(payload),
        entries=entries,
    )


def place_of_raw(account: str, id: str) -> Place:
    """What the sealed bytes of an event are bound to."""
    return Place("ingest.event", "raw", f"{account}/{id}")


def raw_bytes(account: str, id: str, key: DataKey, sealed: bytes) -> bytes:
    """A body as it was received, from the `raw` column. Raises Unopenable."""
    return _decompressor.decompress(
        key.open(place_of_raw(account, id), sealed), max_output_size=RAW_BYTES_MAX
    )


STORE = """
-- Events and their outbox rows, together, in one statement and so in one commit. The ids decide which are
-- new: they are claimed in a fixed order, so that two processes with the same events cannot deadlock, and
-- whoever finds an id being claimed waits until the other has committed.
with arriving as (
    select *
      from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::boolean[],
                  $7::text[], $8::text[], $9::timestamptz[], $10::text[], $11::bytea[], $12::text[],
                  $13::text[], $14::text[], $15::int[], $16::text[], $17::text[], $18::int[], $19::text[],
                  $20::bytea[], $21::int[])
           with ordinality
           as arriving (account, id, type, created, api_version, livemode, object_id,
                        customer, received_at, source, raw, signature,
                        endpoint, secret, cards, topic, key, hash, headers, payload, unpacked, place)
), fresh as (
    insert into ingest.event_id (account, id, received_at)
    select account, id, received_at from arriving order by account, id
        on conflict do nothing
 returning account, id
), stored as (
    insert into ingest.event (account, id, type, created, api_version, livemode, object_id, customer,
                              received_at, source, raw, signature, endpoint, secret, cards)
    select account, id, type, created, api_version, livemode, object_id, customer,
           received_at, source, raw, signature, endpoint, secret, cards
      from arriving join fresh using (account, id)
), published as (
    insert into outbox.event (topic, key, hash, headers, payload, unpacked)
    select topic, key, hash, headers::jsonb, payload, unpacked
      from arriving join fresh using (account, id)
     order by place
)
select account, id from fresh
"""


async def store(connection: Connection, rows: Sequence[Row]) -> set[tuple[str, str]]:
    """Store and publish; returns (account, id) of those that were new. No id may be twice in `rows`.

    Writes: blind_index before; then event_id, event, outbox.event, all committed when this returns.
    Replay: nothing is new, nothing is written.
    """
    if entries := [entry for row in rows for entry in row.entries]:
        await index(connection, entries)  # one too many points to a customer; one too few would hide one
    columns = list(zip(*rows, strict=True))[:COLUMNS]
    return {(r["account"], r["id"]) for r in await connection.fetch(STORE, *map(list, columns))}


INSIST = """
-- Make this connection's commits durable, whatever the role, the database or the server defaults to.
-- remote_apply is stronger and stays.
select set_config('synchronous_commit', 'on', false)
 where current_setting('synchronous_commit') not in ('on', 'remote_apply')
"""

DURABILITY = """
-- What the server makes of it.
select current_setting('synchronous_commit')
"""


async def insist_on_durability(connection: Connection) -> None:
    """Make every commit of this connection wait for the disk. Raises Retryable when it would not (I1)."""
    await connection.execute(INSIST)
    if (found := await connection.fetchval(DURABILITY)) not in ("on", "remote_apply"):
        raise Retryable(f"the database acknowledges before the disk has it: synchronous_commit is {found}")


PING = """
-- Whether the event log can be reached and read.
select exists (select from ingest.event_id)
"""


async def ping(connection: Connection) -> None:
    """Raises when the event log is out of reach."""
    await connection.execute(PING)


MAKE_PARTITION = """
-- The partition of a month, unless it is there.
select ingest.make_partition($1::date)
"""


async def make_partition(connection: Connection, month: date) -> bool:
    """Whether a partition was made. Writes: a table, owned by the schema's owner."""
    return bool(await connection.fetchval(MAKE_PARTITION, month))


SUMMARY = """
-- Everything stored, by type.
select type, count(*) as events, min(received_at) as oldest, max(received_at) as newest
  from ingest.event
 group by type
 order by type collate "C"
"""


async def summary(connection: Connection) -> list[dict[str, Any]]:
    """type, events, oldest and newest arrival."""
    return [dict(row) for row in await connection.fetch(SUMMARY)]


IDS = """
-- Identity and type of everything stored.
select account, id, type from ingest.event order by account collate "C", id collate "C"
"""


async def ids(connection: Connection) -> list[tuple[str, str, str]]:
    """(account, event id, type) of everything stored."""
    return [(r["account"], r["id"], r["type"]) for r in await connection.fetch(IDS)]
