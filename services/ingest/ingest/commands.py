"""What operators may do with the event log. Every function takes a connection that may read every schema."""

from __future__ import annotations

from typing import Any, NamedTuple

from ingest import store
from ingest.archive import (
    MONTHS_AHEAD,
    Partition,
    Partitions,
    Published,
    again,
    digest,
    make_partitions,
    opened,
    partitions,
    type_like,
)
from ingest.archive_store import Record, Search, count, count_of, find, published, search
from ingest.domain.months import Month
from ingest.domain.routing import topic_of
from ingest.exporting import (
    KEEP_YEARS,
    MANIFEST,
    Manifest,
    detach,
    differences,
    export,
    faults,
    read_manifest,
    too_early,
)
from ingest.importing import Given, Import, Imported, Turned, batches, endpoint
from ingest.store import SCHEMA
from millrace.postgres import Connection

__all__ = [
    "KEEP_YEARS",
    "MANIFEST",
    "MONTHS_AHEAD",
    "SCHEMA",
    "EventId",
    "Given",
    "Import",
    "Imported",
    "Manifest",
    "Month",
    "Partition",
    "Partitions",
    "Published",
    "Record",
    "Search",
    "Turned",
    "again",
    "batches",
    "count",
    "count_of",
    "detach",
    "differences",
    "digest",
    "endpoint",
    "event_ids",
    "export",
    "faults",
    "find",
    "make_partitions",
    "opened",
    "partitions",
    "published",
    "read_manifest",
    "search",
    "stored",
    "too_early",
    "type_like",
]


class EventId(NamedTuple):
    """A stored event: what names it, and the topic on which it was published."""

    account: str
    id: str
    type: str  # Stripe's, without our prefix
    topic: str


async def stored(connection: Connection) -> dict[str, Any]:
    """How much is stored: events, types → count, and the first and last arrival (None when nothing is)."""
    rows = await store.summary(connection)
    return {
        "events": sum(row["events"] for row in rows),
        "types": {row["type"]: row["events"] for row in rows},
        "oldest": min((row["oldest"] for row in rows), default=None),
        "newest": max((row["newest"] for row in rows), default=None),
    }


async def event_ids(connection: Connection) -> list[EventId]:
    """Everything stored, in the order of account and id."""
    return [EventId(*identity, topic_of(identity[2])) for identity in await store.ids(connection)]
