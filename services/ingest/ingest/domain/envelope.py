"""The envelope: whether a signed body is an event of this endpoint, and which.

Stripe's snapshot events carry the object as it was; thin events (`v2.core.event`) only name it.
Both are stored and published; of the thin ones the reconciler fetches what they stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ingest.domain.refusal import Refused
from millrace.events import STRIPE, Event
from millrace.events.stripe import customer_of, dig, id_of

ID_MAX = 255  # Stripe's own limit for ids
UNVERSIONED = "unversioned"  # thin events, and the oldest snapshots, name no API version

NOT_AN_EVENT = Refused("not_an_event", "object is neither 'event' nor 'v2.core.event'")
NO_ID = Refused("id_missing", "id is missing or not an id")
NO_TYPE = Refused("type_missing", "type is missing or not a type")
NO_TIME = Refused("created_wrong", "created is missing or not a time")
NO_OBJECT = Refused("object_missing", "data.object is missing or not an object")
WRONG_MODE = Refused("livemode_wrong", "livemode is missing or not this endpoint's")
WRONG_ACCOUNT = Refused("account_wrong", "account is not this endpoint's")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A door that Stripe posts to: one account in one mode, and the secrets that open it."""

    name: str
    account: str
    livemode: bool
    api_version: str  # what the endpoint was created with; each event names its own
    secrets: tuple[bytes, ...] = field(repr=False)  # the old and the new one while they are rolled


@dataclass(frozen=True, slots=True)
class Arrival:
    """An authentic event, ready to be stored and published."""

    event: Event
    livemode: bool
    object_id: str | None
    customer: str | None
    received_at: datetime
    signature: str
    raw: bytes = field(repr=False)  # what is stored
    payload: bytes = field(repr=False)  # what is published


def arrival(
    endpoint: Endpoint, body: Mapping[str, Any], raw: bytes, signature: str, *, now: datetime, trace: str
) -> Arrival | Refused:
    """The event that a signed body carries."""
    if refused := _refusal(endpoint, body):
        return refused
    created = _created(body)
    if created is None:
        return NO_TIME
    subject = _subject(body)
    object_id, customer = _named(id_of(subject)), _named(customer_of(subject))
    event = Event(
        id=body["id"],
        type=STRIPE + body["type"],
        source=f"stripe/{endpoint.account}",
        subject=object_id or customer or body["id"],  # balances, upcoming invoices and summaries have no id
        time=created,
        key=f"{endpoint.account}/{customer or object_id or body['id']}",
        schema=_named(body.get("api_version")) or UNVERSIONED,
        data=body,
        trace=trace,
    )
    payload, kept = seal(event, raw)
    return Arrival(event, endpoint.livemode, object_id, customer, now, signature, raw=kept, payload=payload)


def seal(event: Event, raw: bytes) -> tuple[bytes, bytes]:
    """(what is published, what is stored) of a body. The one place where personal data is sealed.

    Both are the raw bytes as received until there is a policy for the object's type; the event gives the
    account and customer whose data key will be used.
    """
    return raw, raw


def _refusal(endpoint: Endpoint, body: Mapping[str, Any]) -> Refused | None:
    if body.get("object") not in ("event", "v2.core.event"):
        return NOT_AN_EVENT
    if not _is_name(body.get("id")):
        return NO_ID
    if not _is_name(body.get("type")):
        return NO_TYPE
    if body.get("livemode") is not endpoint.livemode:
        return WRONG_MODE
    if body.get("account") not in (None, endpoint.account):
        return WRONG_ACCOUNT
    if body["object"] == "event" and not isinstance(dig(body, "data.object"), Mapping):
        return NO_OBJECT
    return None


def _subject(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object the event is about; of a thin event, what it says about it."""
    if body["object"] == "event":
        found: Mapping[str, Any] = body["data"]["object"]
        return found
    related = body.get("related_object")
    if not isinstance(related, Mapping):
        return {}
    return {**related, "object": related.get("type")}


def _created(body: Mapping[str, Any]) -> datetime | None:
    """Seconds in snapshot events, RFC 3339 in thin ones."""
    created = body.get("created")
    try:
        if type(created) is int:
            return datetime.fromtimestamp(created, UTC)
        if isinstance(created, str) and (at := datetime.fromisoformat(created)).tzinfo:
            return at.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _is_name(found: Any) -> bool:
    """An event id or type as Stripe makes them: short, printable ASCII."""
    return (
        isinstance(found, str)
        and 0 < len(found) <= ID_MAX
        and found.isascii()
        and found.isprintable()
        and " " not in found
    )


def _named(found: Any) -> str | None:
    """A name that a column and a header can carry. Coupons and plans are named by users: any script."""
    if not isinstance(found, str) or not 0 < len(found) <= ID_MAX or "\0" in found:
        return None
    lone = not found.isascii() and any("\ud800" <= char <= "\udfff" for char in found)
    return None if lone else found
