"""What one event shows of a subscription: its state after the event, and before it where the event says so.

Only what decides about access, or helps to tell which of two events came first, is kept; no personal data.
Units: times are Stripe's whole seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from millrace.errors import Poison
from millrace.events import Event, stripe

ENDED = frozenset({"canceled", "incomplete_expired"})  # no way leads out of these
UPDATED, DELETED, CREATED = "updated", "deleted", "created"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is subscribed to. `quantity` is None where usage is metered."""

    id: str
    price: str
    lookup_key: str | None
    product: str | None
    quantity: int | None
    period_start: int | None
    period_end: int | None


@dataclass(frozen=True, slots=True)
class Shape:
    """A subscription at one moment. Three fields decide nothing; they help to tell moments apart."""

    status: str
    items: tuple[Item, ...]
    cancels_at: int | None
    pause_collection: str | None  # its behavior; the status stays while it lasts
    resumes_at: int | None
    trial_end: int | None
    ended_at: int | None
    canceled_at: int | None  # tells apart
    latest_invoice: str | None  # tells apart
    payment_method: str | None  # tells apart
    complete: bool  # False when Stripe cut the list of items short

    def differences(self, other: Shape) -> int:
        """In how many fields the two moments differ."""
        return sum(getattr(self, name) != getattr(other, name) for name in FIELDS)


FIELDS = tuple(field.name for field in fields(Shape))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One event's view of a subscription. Two Event objects for one change are one snapshot, told twice."""

    kind: str  # the type's last word: created, updated, deleted, paused, …
    created: int
    before: Shape | None  # only `updated` says what was before
    after: Shape
    told: tuple[str, ...]  # ids of the events that told it, sorted

    @property
    def event(self) -> str:
        """The event that proves it; the same one whichever of them came first."""
        return self.told[0]

    @property
    def ended(self) -> bool:
        return self.after.status in ENDED

    @property
    def rank(self) -> tuple[bool, int]:
        """Greater stands above lesser: an end above everything, then the later second."""
        return self.ended, self.created

    def same_as(self, other: Snapshot) -> bool:
        """The same change in the same second, whatever the ids of the events."""
        return (self.kind, self.created, self.before, self.after) == (
            other.kind,
            other.created,
            other.before,
            other.after,
        )


def snapshot(event: Event) -> Snapshot:
    """What a `customer.subscription.*` event shows. Raises Poison, naming the field."""
    kind = event.type.rpartition(".")[2]
    body, previous = stripe.object_of(event), stripe.previous_of(event)
    after = shape(body)
    if kind == DELETED and after.status not in ENDED:
        raise Poison(f"subscription.status is {after.status!r} in an event that says it was deleted")
    before = shape(_merged(body, previous)) if kind == UPDATED and previous else None
    return Snapshot(kind, stripe.whole(event.data, "created"), before, after, (event.id,))


def shape(body: stripe.Object) -> Shape:
    """A subscription's body in any API version. Raises Poison, naming the field."""
    cut, body = stripe.dig(body, "items.has_more"), _loose(body)
    return Shape(
        status=stripe.text(body, "status"),
        items=tuple(sorted(map(_item_in(body), _kept(body)), key=lambda item: item.id)),
        cancels_at=stripe.cancels_at(body),
        pause_collection=_word(stripe.dig(body, "pause_collection.behavior")),
        resumes_at=_second(stripe.dig(body, "pause_collection.resumes_at")),
        trial_end=_second(body.get("trial_end")),
        ended_at=_second(body.get("ended_at")),
        canceled_at=_second(body.get("canceled_at")),
        latest_invoice=stripe.id_of(body.get("latest_invoice")),
        payment_method=stripe.id_of(body.get("default_payment_method")),
        complete=not cut,
    )


def _loose(body: stripe.Object) -> stripe.Object:
    """With the items that are there, though they may not be all: a part is better than parking the customer."""
    items = stripe.dig(body, "items.data")
    return body if items is None else {**body, "items": items}


def _kept(body: stripe.Object) -> list[stripe.Object]:
    return [item for item in stripe.listed(body, "items") if not item.get("deleted")]


def _item_in(body: stripe.Object) -> Any:
    def item(one: stripe.Object) -> Item:
        start, end = stripe.item_period(one, body) or (None, None)
        price = one.get("price") or one.get("plan")  # before prices there were plans
        return Item(
            id=stripe.text(one, "id"),
            price=stripe.id_of(price) or "",
            lookup_key=_word(stripe.dig(price, "lookup_key")),
            product=stripe.id_of(stripe.dig(price, "product")),
            quantity=_second(one.get("quantity")),
            period_start=start,
            period_end=end,
        )

    return item


def _word(found: Any) -> str | None:
    return found if isinstance(found, str) and found else None


def _second(found: Any) -> int | None:
    return found if type(found) is int else None


def _merged(after: Mapping[str, Any], previous: Mapping[str, Any]) -> dict[str, Any]:
    """The body before an update: of an object, `previous` holds the changed keys; of an array, all of it."""
    merged = dict(after)
    for key, old in previous.items():
        new = after.get(key)
        inside = isinstance(old, Mapping) and isinstance(new, Mapping)
        merged[key] = _merged(new, old) if inside else old  # type: ignore[arg-type]  # both were just seen to be mappings
    return merged
