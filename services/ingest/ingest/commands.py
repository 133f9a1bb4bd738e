"""What operators may ask of the event log. Every function takes a connection that may read it."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from ingest import store
from ingest.domain.routing import topic_of
from ingest.store import SCHEMA
from millrace.postgres import Connection

__all__ = ["SCHEMA", "EventId", "digest", "event_ids", "stored"]


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


async def digest(connection: Connection) -> str:
    """sha-256 over (account, id, sha-256 of the body) of everything stored, whatever the order of arrival."""
    whole = hashlib.sha256()
    async for account, id_, raw in store.bodies(connection):
        whole.update(f"{account} {id_} {hashlib.sha256(raw).hexdigest()}\n".encode())
    return whole.hexdigest()
