"""Events as they travel: CloudEvents 1.0 in Kafka's binary mode.

    Event      what a consumer receives: identity, time, key and data, whoever made it
    Payload    what a service of ours publishes: a typed, versioned body (see `millrace.events.ours`)

Stripe's events travel as Stripe rendered them: `data` is the whole Event object of the webhook.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from millrace.errors import Poison
from millrace.events.dataref import HEADER as DATAREF
from millrace.events.dataref import claimed

STRIPE = "stripe."  # the prefix of `type` for everything Stripe sent


@dataclass(frozen=True, slots=True)
class Event:
    """One event, complete. The key orders it: events of one key keep their order.

    Units: `time` is when the fact happened, by its author's clock; UTC.
    """

    id: str  # unique within its source
    type: str  # stripe.<Stripe's type> or millrace.<…>, in the past tense
    source: str  # stripe/<account> or millrace/<service>
    subject: str  # the id of the object it is about
    time: datetime
    key: str  # account/customer; without a customer, account/object id
    schema: str  # Stripe's API version, or millrace/<type>/<version>
    data: Mapping[str, Any] = field(repr=False)  # may hold what a log must not
    trace: str = ""  # W3C traceparent

    @property
    def account(self) -> str:
        """The Stripe account that the event belongs to."""
        return self.key.partition("/")[0]


# What a record cannot do without. Source: CloudEvents, Kafka binding, binary mode.
HEADERS = ("ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "ce_dataschema")


def headers(event: Event) -> dict[str, str]:
    """The event's Kafka headers. The relay adds `millrace-outbox-id` and `millrace-pseq`."""
    found = {
        "ce_specversion": "1.0",
        "ce_id": event.id,
        "ce_type": event.type,
        "ce_source": event.source,
        "ce_subject": event.subject,
        "ce_time": instant(event.time),
        "ce_dataschema": event.schema,
        "content-type": "application/json",
    }
    if event.trace:
        found["traceparent"] = event.trace
    return found


def decode(key: bytes | None, received: Mapping[str, bytes], value: bytes | None) -> Event:
    """The event in a Kafka record. Raises Poison, naming the header or field that is wrong."""
    if claimed(received):
        raise Poison(
            f"the payload is elsewhere: read the record with millrace.claims, which fetches {DATAREF}"
        )
    text = {name: _text(name, received.get(name)) for name in HEADERS}
    if key is None or value is None:
        raise Poison(f"record has no {'key' if key is None else 'value'}")
    return Event(
        id=text["ce_id"],
        type=text["ce_type"],
        source=text["ce_source"],
        subject=text["ce_subject"],
        time=parse_instant(text["ce_time"]),
        key=_text("key", key),
        schema=_known(text["ce_type"], text["ce_dataschema"]),
        data=_object(value),
        trace=received.get("traceparent", b"").decode("ascii", "ignore"),
    )


def instant(at: datetime) -> str:
    """RFC 3339 in UTC, microseconds only when there are any."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """The instant in a `ce_time` header. Raises Poison."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as problem:
        raise Poison(f"ce_time is not RFC 3339: {text[:40]!r}") from problem
    if at.tzinfo is None:
        raise Poison(f"ce_time has no zone: {text[:40]!r}")
    try:
        return at.astimezone(UTC)
    except OverflowError as problem:
        raise Poison(f"ce_time is outside the calendar: {text[:40]!r}") from problem


def _text(name: str, raw: bytes | None) -> str:
    if not raw:
        raise Poison(f"{name} is missing: not a record of ours")
    if 0 in raw:
        raise Poison(f"{name} holds a NUL, which no text in Postgres can")
    try:
        return raw.decode()
    except UnicodeDecodeError as problem:
        raise Poison(f"{name} is not UTF-8") from problem


def _object(value: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(value)
    except orjson.JSONDecodeError as problem:
        raise Poison(f"value is not JSON: {problem.msg} at {problem.pos}") from problem
    if not isinstance(data, dict):
        raise Poison(f"value is not a JSON object but {type(data).__name__}")
    return data


def _known(type_: str, schema: str) -> str:
    """Stripe's versions all pass; of ours, only the versions this library knows."""
    if type_.startswith(STRIPE):
        return schema
    from millrace.events.ours import VERSIONS  # the registry stands on this module

    if schema not in VERSIONS.get(type_, ()):
        raise Poison(f"ce_dataschema {schema!r} of {type_!r} is unknown to this version of millrace")
    return schema
