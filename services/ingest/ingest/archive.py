"""The event log as operators read it: finding events, opening bodies, and the partitions that hold them.

A body is opened with the data key that its first bytes name. Where that key was destroyed, the customer has been
erased: the body is None from then on, in every copy.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import orjson
import zstandard

from ingest import archive_store, store
from ingest.archive_store import Record
from ingest.domain import Endpoint, Refused, document, envelope
from ingest.domain.months import Month
from millrace.postgres import Connection
from millrace.sealing import DataKey, Keys, Policy, key_id

MONTHS_AHEAD = 3


def type_like(pattern: str) -> str:
    """A pattern of event types, as in invoice.*, in the words of LIKE."""
    return re.sub(r"([\\%_])", r"\\\1", pattern).replace("*", "%")


async def opened(keys: Keys, rows: Sequence[Record]) -> list[bytes | None]:
    """The bodies of rows byte for byte as they were received; None for whoever has been erased.

    Raises: Unopenable when a body is not what was stored in this row.
    """
    found = await keys.by_id({key_id(row["raw"]) for row in rows})
    return [
        store.raw_bytes(row["account"], row["id"], key, row["raw"])
        if (key := found.get(key_id(row["raw"])))
        else None
        for row in rows
    ]


class Published(NamedTuple):
    """An event as its outbox row had it, but for its trace, and for ciphertext, which is never twice the same."""

    key: str
    headers: dict[str, str]
    payload: bytes


async def again(
    connection: Connection, keys: Keys, policy: Policy, names: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Published]:
    """Events of these (account, id), made once more from the bytes that came in: not those of whoever was erased.

    Raises: Unopenable when a body is not what was stored in its row.
    """
    rows = await archive_store.of_names(connection, names)
    found = await keys.by_id({key_id(row["raw"]) for row in rows})
    return {
        (row["account"], row["id"]): made
        for row in rows
        if (key := found.get(key_id(row["raw"]))) and (made := _made(row, key, policy))
    }


def _made(row: Record, key: DataKey, policy: Policy) -> Published | None:
    """The same way as at the door, from the stored bytes; None when today's rules would not take them."""
    raw = store.raw_bytes(row["account"], row["id"], key, row["raw"])
    body = document.read(raw)
    if isinstance(body, Refused):
        return None
    door = Endpoint(row["endpoint"], row["account"], row["livemode"], "", ())
    arrived = envelope.arrival(door, body, raw, source=row["source"], now=row["received_at"], trace="")
    if isinstance(arrived, Refused):
        return None
    made = store.row(arrived, key, policy)
    payload = zstandard.decompress(made.payload, max_output_size=made.unpacked)
    return Published(made.key, orjson.loads(made.headers), payload)


async def digest(connection: Connection, keys: Keys) -> str:
    """sha-256 over (account, id, sha-256 of the opened body) of everything stored, whatever the order of arrival.

    Ciphertexts differ from run to run, bodies do not. Of an erased body it says that it is erased.
    """
    whole = hashlib.sha256()
    async for rows in archive_store.bodies(connection):
        for row, body in zip(rows, await opened(keys, rows), strict=True):
            told = "erased" if body is None else hashlib.sha256(body).hexdigest()
            whole.update(f"{row['account']} {row['id']} {told}\n".encode())
    return whole.hexdigest()


@dataclass(frozen=True, slots=True)
class Partition:
    """A table of the log. Units: `rows` as the server estimates them; `bytes` with indexes."""

    name: str
    starts: datetime | None  # None: the default one, for what has no month
    ends: datetime | None
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Partitions:
    """The log's partitions, and what is not as it should be about them."""

    partitions: list[Partition]
    outside: dict[str, int]  # month → rows that lie in the default partition, exactly
    missing: list[str]  # of this month and the next ones


async def partitions(connection: Connection, now: datetime, ahead: int = 1) -> Partitions:
    """The partitions as they are; `missing` looks at this month and so many more."""
    found = [Partition(**row) for row in await archive_store.partitions(connection)]
    outside = {str(Month.of(day)): rows for day, rows in await archive_store.outside(connection)}
    there = {partition.name for partition in found}
    missing = [str(month) for month in Month.of(now).and_next(ahead) if month.partition not in there]
    return Partitions(found, outside, missing)


async def make_partitions(connection: Connection, now: datetime, ahead: int = MONTHS_AHEAD) -> list[str]:
    """Make the partitions of this month and the next ones; returns the months made. Replay: makes none."""
    return [
        str(month)
        for month in Month.of(now).and_next(ahead)
        if await store.make_partition(connection, month.starts.date())
    ]
