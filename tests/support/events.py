"""Events as the relay would deliver them, without a relay."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from millrace.consumer import Record, read
from millrace.events import Event, headers
from millrace.events import stripe as shapes

ACCOUNT = "acct_test"
_offsets = itertools.count()


def event_of(body: Mapping[str, Any], *, account: str = ACCOUNT) -> Event:
    """The event that ingest makes of a Stripe Event object."""
    obj = body["data"]["object"]
    return Event(
        id=body["id"],
        type="stripe." + body["type"],
        source=f"stripe/{account}",
        subject=obj.get("id") or shapes.customer_of(obj) or body["id"],
        time=datetime.fromtimestamp(body["created"], UTC),
        key=f"{account}/{shapes.customer_of(obj) or obj.get('id', body['id'])}",
        schema=body["api_version"],
        data=body,
    )


def record(event: Event, *, topic: str = "test", partition: int = 0, offset: int | None = None) -> Record:
    """A record that carries an event; offsets count up unless given."""
    at = next(_offsets) if offset is None else offset
    named = [(name, text.encode()) for name, text in headers(event).items()]
    return read(topic, partition, at, event.key.encode(), named, orjson.dumps(event.data, default=dict))


def record_of(body: Mapping[str, Any], **coordinates: Any) -> Record:
    """A record that carries a Stripe Event object."""
    return record(event_of(body), **coordinates)


def records_of(bodies: Iterable[Mapping[str, Any]]) -> list[Record]:
    """Records that carry Stripe Event objects, in order."""
    return [record_of(body) for body in bodies]
