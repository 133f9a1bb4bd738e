"""Events for tests, complete as their authors would publish them.

    stripe_event   what the door makes of a webhook of Stripe's
    event_of       what a service of ours publishes

The same call is the same event, with the same id: twice is a duplicate. For another one, give another `id`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from millrace.events import STRIPE, Event
from millrace.events.ours import Payload
from millrace.events.stripe import customer_of, id_of

ACCOUNT = "acct_test"
API_VERSION = "2026-10-28.endive"
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
OBJECTS = {  # what Stripe calls the object where its type's name says something else
    "customer.subscription": "subscription",
    "customer.discount": "discount",
    "customer.source": "source",
    "customer.tax_id": "tax_id",
    "charge.dispute": "dispute",
    "charge.refund": "refund",
}


def stripe_event(
    type_: str,
    obj: Mapping[str, Any],
    *,
    id: str = "",
    at: datetime = NOON,
    account: str = ACCOUNT,
    previous: Mapping[str, Any] | None = None,
    api_version: str = API_VERSION,
) -> Event:
    """An event of Stripe's about `obj`, such as `stripe_event("invoice.paid", {"id": "in_1", "customer": "cus_1"})`.

    `previous` holds the old values of what an `….updated` changed. Raises: ValueError.
    """
    if "." not in type_ or type_.startswith((STRIPE, "millrace.")):
        raise ValueError(f"{type_!r}: write Stripe's own type, as in 'invoice.paid'")
    family = type_.rpartition(".")[0]
    about = {"object": OBJECTS.get(family, family), **obj}
    changed = {"previous_attributes": dict(previous)} if previous is not None else {}
    id = id or _derived(type_, about, at, account)
    subject, customer = id_of(about) or customer_of(about) or id, customer_of(about)
    return Event(
        id=id,
        type=STRIPE + type_,
        source=f"stripe/{account}",
        subject=subject,
        time=at,
        key=f"{account}/{customer or subject}",
        schema=api_version,
        data={
            "id": id,
            "object": "event",
            "type": type_,
            "created": int(at.timestamp()),
            "livemode": False,
            "api_version": api_version,
            "data": {"object": about, **changed},
        },
        recorded=at,
    )


def event_of(payload: Payload, *, cause: str = "evt_cause", at: datetime = NOON, id: str = "") -> Event:
    """An event of ours as its service publishes it, caused by the event of that id."""
    author = payload.TOPIC.partition(".")[0]
    return payload.event(id=id or f"{author}.{cause}.0", source=f"millrace/{author}", at=at)


def _derived(*parts: Any) -> str:
    text = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    return "evt_" + hashlib.sha256(text).hexdigest()[:16]
