"""The account as one immutable value, and the single step in which it may change.

A step collects what an action adds, saves and tells; `done()` closes it into an `Outcome`. Ids are
derived from the seed and a serial number, so the same actions always make the same account.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lab.stripe.agenda import due_of
from lab.stripe.model import Charge, CreditNote, Invoice, InvoiceItem, Object, Refund, Refused, Subscription
from lab.stripe.render import body, changed_from, envelope

Event = dict[str, Any]
T = TypeVar("T")
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class World:
    """Everything one Stripe account knows.

    `expand_balance_transactions` is ours: Stripe sends an id where we then render the whole balance
    transaction. The expansion stands for the fetch that a reconciler makes after the webhook.
    """

    seed: int
    now: int = 0
    serial: int = 0
    objects: Mapping[str, Object] = field(default_factory=dict)
    children: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    agenda: Mapping[str, int] = field(default_factory=dict)
    expand_balance_transactions: bool = True

    def get(self, kind: type[T], id_: str) -> T:
        return _typed(kind, self.objects.get(id_), id_)

    def all(self, kind: type[T]) -> Iterator[T]:
        return (thing for thing in self.objects.values() if isinstance(thing, kind))

    def of(self, kind: type[T], parent: str) -> list[T]:
        """The children of one object, oldest first."""
        found = (self.objects[child] for child in self.children.get(parent, ()))
        return [thing for thing in found if isinstance(thing, kind)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The world after an action, what Stripe tells about it, and the id of what the action made."""

    world: World
    events: tuple[Event, ...]
    id: str = ""


class Step:
    """One request to Stripe, or one tick of its clockwork: several changes, one second, one set of events."""

    def __init__(self, world: World, at: int, *, automatic: bool = False) -> None:
        if at < world.now:
            raise Refused("time does not run backwards")
        self.at = at
        self._world = world
        self._serial = world.serial
        self._objects = dict(world.objects)
        self._children = dict(world.children)
        self._agenda = dict(world.agenda)
        self._events: list[Event] = []
        self._request = self._new_request(automatic)

    def new_id(self, prefix: str, length: int = 24) -> str:
        self._serial += 1
        digest = hashlib.sha256(f"{self._world.seed}:{prefix}:{self._serial}".encode()).digest()
        return f"{prefix}_{_letters(int.from_bytes(digest, 'big'), length)}"

    def get(self, kind: type[T], id_: str) -> T:
        return _typed(kind, self._objects.get(id_), id_)

    def of(self, kind: type[T], parent: str) -> list[T]:
        found = (self._objects[child] for child in self._children.get(parent, ()))
        return [thing for thing in found if isinstance(thing, kind)]

    def add(self, thing: Object) -> None:
        parent = _parent_of(thing)
        if parent is not None:
            self._children[parent] = (*self._children.get(parent, ()), thing.id)
        self.save(thing)

    def save(self, thing: Object) -> None:
        self._objects[thing.id] = thing
        due = due_of(thing)
        if due is None:
            self._agenda.pop(thing.id, None)
        else:
            self._agenda[thing.id] = due

    def remove(self, thing: Object) -> None:
        parent = _parent_of(thing)
        if parent is not None:
            self._children[parent] = tuple(id_ for id_ in self._children[parent] if id_ != thing.id)
        self._agenda.pop(thing.id, None)
        del self._objects[thing.id]

    def look(self, id_: str) -> Event:
        """The body as it is now, to be compared by `updated` after the change."""
        return body(self._objects, id_, self._world.expand_balance_transactions)

    def tell(self, type_: str, id_: str, *, later: int = 0) -> None:
        self._send(type_, self.look(id_), None, later)

    def updated(self, type_: str, before: Event, *, later: int = 0) -> None:
        """Tell an update with what it changed; an update that changed nothing is not told."""
        after = self.look(before["id"])
        previous = changed_from(before, after)
        if previous:
            self._send(type_, after, previous, later)

    def done(self, id_: str = "") -> Outcome:
        world = World(
            seed=self._world.seed,
            now=self.at,
            serial=self._serial,
            objects=self._objects,
            children=self._children,
            agenda=self._agenda,
            expand_balance_transactions=self._world.expand_balance_transactions,
        )
        return Outcome(world, tuple(self._events), id_)

    def _send(self, type_: str, after: Event, previous: Event | None, later: int) -> None:
        self._events.append(
            envelope(self.new_id("evt"), type_, self.at + later, after, previous, self._request)
        )

    def _new_request(self, automatic: bool) -> Event:
        if automatic:
            return {"id": None, "idempotency_key": None}
        return {"id": self.new_id("req", 14), "idempotency_key": self.new_id("key", 22)}


def told_again(world: World, event: Event) -> Outcome:
    """A second Event object for the same change, which Stripe sometimes makes: new id, same content."""
    step = Step(world, world.now)
    twin = {**event, "id": step.new_id("evt")}
    return Outcome(step.done().world, (twin,))


def _typed(kind: type[T], thing: object, id_: str) -> T:
    if not isinstance(thing, kind):
        raise Refused(f"No such {kind.__name__.lower()}: '{id_}'")
    return thing


def _letters(number: int, length: int) -> str:
    letters = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        letters.append(ALPHABET[digit])
    return "".join(letters)


def _parent_of(thing: Object) -> str | None:
    match thing:
        case Subscription():
            return thing.customer
        case Invoice() | InvoiceItem():
            return thing.subscription
        case Refund():
            return thing.charge
        case CreditNote() | Charge():
            return thing.invoice
    return None
