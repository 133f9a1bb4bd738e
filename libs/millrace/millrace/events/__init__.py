"""Events as they travel: CloudEvents 1.0 in Kafka's binary mode.

    Event      what a consumer receives: identity, time, key and data, whoever made it
    Payload    what a service of ours publishes: a typed, versioned body (see `millrace.events.ours`)

Stripe's events travel as Stripe rendered them: `data` is the whole Event object of the webhook.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from millrace.errors import Poison
from millrace.events.dataref import HEADER as DATAREF
from millrace.events.dataref import claimed

STRIPE = "stripe."  # the prefix of `type` for everything Stripe sent
OURS = (
    "millrace."  # the prefix of `type` for what our services publish; other teams have prefixes of their own
)


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
    recorded: datetime | None = None  # when Stripe's webhook was received; what it caused has the same

    @property
    def account(self) -> str:
        """The Stripe account that the event belongs to."""
        return self.key.partition("/")[0]


class Body(Mapping[str, Any]):
    """The JSON object in a record, parsed when somebody looks: most consumers pass most events by.

    Raises: Poison at the first look, when it is no JSON object or of a version that nobody here can read.
    """

    __slots__ = ("_found", "_refused", "raw")

    def __init__(self, raw: bytes, refused: str = "") -> None:
        self.raw, self._refused = raw, refused
        self._found: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        return (self._found if self._found is not None else self._parsed())[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed())

    def __len__(self) -> int:
        return len(self._parsed())

    def __repr__(self) -> str:
        return f"Body({len(self.raw)} bytes)"

    def _parsed(self) -> dict[str, Any]:
        if self._found is None:
            if self._refused:
                raise Poison(self._refused)
            self._found = _object(self.raw)
        return self._found


# What a record cannot do without. Source: CloudEvents, Kafka binding, binary mode.
HEADERS = ("ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "ce_dataschema")
RECORDED = "ce_recordedtime"  # CloudEvents' extension of that name


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
    if event.recorded:
        found[RECORDED] = instant(event.recorded)
    if event.trace:
        found["traceparent"] = event.trace
    return found


def decode(key: bytes | None, received: Mapping[str, bytes], value: bytes | None) -> Event:
    """The event in a Kafka record; its body is read later. Raises Poison, naming the header that is wrong."""
    if DATAREF in received and claimed(received):
        raise Poison(
            f"the payload is elsewhere: read the record with millrace.claims, which fetches {DATAREF}"
        )
    if key is None or value is None:
        raise Poison(f"record has no {'key' if key is None else 'value'}")
    id_, type_, source, subject, time, schema, key_ = _texts(key, received)
    return Event(
        id_,
        type_,
        source,
        subject,
        parse_instant(time),
        key_,
        schema,
        Body(value, _refused(type_, schema) if type_.startswith(OURS) else ""),
        received["traceparent"].decode("ascii", "ignore") if "traceparent" in received else "",
        _recorded(received[RECORDED]) if RECORDED in received else None,
    )


def _texts(key: bytes, received: Mapping[str, bytes]) -> list[str]:
    """The headers of HEADERS and the key as text, decoded in one go: none of them may hold what parts them."""
    try:
        found = b"\0".join([*[received[name] for name in HEADERS], key]).decode().split("\0")
    except (KeyError, UnicodeDecodeError):
        found = []
    if len(found) == len(HEADERS) + 1 and all(found):
        return found
    return [*(_text(name, received.get(name)) for name in HEADERS), _text("key", key)]


def instant(at: datetime) -> str:
    """RFC 3339 in UTC, microseconds only when there are any."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """The instant in a `ce_time` header. Raises Poison."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as problem:
        raise Poison(f"ce_time is not RFC 3339: {text[:40]!r}") from problem
    if at.tzinfo is UTC:
        return at
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
        raise Poison(
            f"value is not JSON: {problem.msg} at {problem.pos}"
        ) from None  # its text quotes the value
    if not isinstance(data, dict):
        raise Poison(f"value is not a JSON object but {type(data).__name__}")
    return data


def _recorded(raw: bytes) -> datetime | None:
    """It is only measured by: one that cannot be read stops nothing."""
    try:
        return parse_instant(raw.decode("ascii"))
    except (Poison, UnicodeDecodeError):
        return None


def _refused(type_: str, schema: str) -> str:
    """Why nobody here can read a body of ours: only the versions that this library knows can be."""
    from millrace.events.ours import VERSIONS  # the registry stands on this module

    if schema in VERSIONS.get(type_, ()):
        return ""
    return f"ce_dataschema {schema!r} of {type_!r} is unknown to this version of millrace"
