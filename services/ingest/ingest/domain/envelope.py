"""The envelope: whether a signed body is an event of this endpoint, and which.

Stripe's snapshot events carry the object as it was; thin events (`v2.core.event`) only name it.
Both are stored and published; of the thin ones the reconciler fetches what they stand for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Literal

from ingest.domain.refusal import Refused
from ingest.domain.signature import Secret
from millrace.events import STRIPE, Event
from millrace.events.stripe import customer_of, dig, id_of

ID_MAX = 255  # Stripe's own limit for ids
ACCOUNT = re.compile(r"acct_[A-Za-z0-9_-]{1,64}")  # stands before a slash in keys and sources
UNVERSIONED = "unversioned"  # thin events, and the oldest snapshots, name no API version

NOT_AN_EVENT = Refused("not_an_event", "object is neither 'event' nor 'v2.core.event'")
NO_ID = Refused("id_missing", "id is missing or not an id")
NO_TYPE = Refused("type_missing", "type is missing or not a type")
NO_TIME = Refused("created_wrong", "created is missing or not a time")
NO_OBJECT = Refused("object_missing", "data.object is missing or not an object")
WRONG_MODE = Refused("livemode_wrong", "livemode is missing or not this endpoint's")
WRONG_ACCOUNT = Refused("account_wrong", "account is not this endpoint's")
NO_ACCOUNT = Refused(
    "account_missing", "account is missing or not an account, on an endpoint of connected ones"
)

Source = Literal["webhook", "sweep", "refresh", "import"]
WEBHOOK: frozenset[Source] = frozenset({"webhook"})
UNAWAITED: frozenset[Source] = frozenset({"import"})  # old news, whose way nobody measures


Networks = Sequence[IPv4Network | IPv6Network]


def within(address: str, networks: Networks) -> bool:
    """Whether an address is in one of the networks. What is no address is in none."""
    try:
        known = ip_address(address)
    except ValueError:  # a socket without an address, or a name
        return False
    mapped = getattr(known, "ipv4_mapped", None)  # ::ffff:203.0.113.7, as a dual socket tells it
    return any((mapped or known) in network for network in networks)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A door that Stripe posts to: one account in one mode, and the secrets that open it."""

    name: str
    account: str  # the platform's own, where the events are those of connected accounts
    livemode: bool
    api_version: str  # what the endpoint was created with; each event names its own
    secrets: tuple[Secret, ...]  # the new and the old one while they are rolled; the first that fits is told
    connect: bool = False  # events of connected accounts, each of which names its own
    sources: frozenset[Source] = WEBHOOK
    networks: tuple[IPv4Network | IPv6Network, ...] = ()  # none: any address may knock

    def may_knock(self, address: str) -> bool:
        """Whether requests may come from this address. The signature decides all the same."""
        return not self.networks or within(address, self.networks)


@dataclass(frozen=True, slots=True)
class Arrival:
    """An authentic event, ready to be sealed, stored and published."""

    event: Event
    body: dict[str, Any] = field(repr=False)  # the event's data, to be sealed in place
    livemode: bool
    object_id: str | None
    customer: str | None
    received_at: datetime
    endpoint: str
    source: Source
    signature: str
    secret: str  # the name of the one that verified; empty where nothing was signed
    cards: int  # how many card numbers were cut out of it
    raw: bytes = field(repr=False)


def arrival(
    endpoint: Endpoint,
    body: dict[str, Any],
    raw: bytes,
    *,
    source: Source = "webhook",
    signature: str = "",
    secret: str = "",
    cards: int = 0,
    now: datetime,
    trace: str,
) -> Arrival | Refused:
    """The event that an authentic body carries."""
    if refused := _refusal(endpoint, body):
        return refused
    account = _account(body) or endpoint.account
    created = _created(body)
    if created is None:
        return NO_TIME
    subject = _subject(body)
    object_id, customer = _named(id_of(subject)), _named(customer_of(subject))
    event = Event(
        id=body["id"],
        type=STRIPE + body["type"],
        source=f"stripe/{account}",
        subject=object_id or customer or body["id"],  # balances, upcoming invoices and summaries have no id
        time=created,
        key=f"{account}/{customer or object_id or body['id']}",
        schema=_named(body.get("api_version")) or UNVERSIONED,
        data=body,
        trace=trace,
        recorded=None if source in UNAWAITED else now,
    )
    return Arrival(
        event,
        body,
        endpoint.livemode,
        object_id,
        customer,
        now,
        endpoint.name,
        source,
        signature,
        secret,
        cards,
        raw,
    )


def _refusal(endpoint: Endpoint, body: Mapping[str, Any]) -> Refused | None:
    if body.get("object") not in ("event", "v2.core.event"):
        return NOT_AN_EVENT
    if not _is_name(body.get("id")):
        return NO_ID
    if not _is_name(body.get("type")):
        return NO_TYPE
    if body.get("livemode") is not endpoint.livemode:
        return WRONG_MODE
    if refused := _account_refusal(endpoint, body):
        return refused
    if body["object"] == "event" and not isinstance(dig(body, "data.object"), Mapping):
        return NO_OBJECT
    return None


def _account_refusal(endpoint: Endpoint, body: Mapping[str, Any]) -> Refused | None:
    account = _account(body)
    if endpoint.connect:
        return None if isinstance(account, str) and ACCOUNT.fullmatch(account) else NO_ACCOUNT
    return None if account in (None, endpoint.account) else WRONG_ACCOUNT


def _account(body: Mapping[str, Any]) -> Any:
    """The account that an event names; a thin one names it as the context it has to be read in."""
    account = body.get("account")
    if account is not None or body["object"] != "v2.core.event":
        return account
    context = body.get("context")
    return context if isinstance(context, str) and context.startswith("acct_") else None


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
