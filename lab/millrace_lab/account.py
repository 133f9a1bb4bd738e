"""An account, and the step in which it may change.

A step is one request, or one tick of the clockwork: several changes, one second, one set of events. It
reads through its own changes, and either everything it did happens at its end or nothing does.

Bodies are never changed in place: a change makes a new body. So an event holds the very body that it was
about, whatever happens later, and costs nothing to keep.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from millrace_lab import API_VERSION, ids
from millrace_lab.errors import Body, invalid, missing
from millrace_lab.rendering import changed_from

ACCOUNT = "acct_1MillraceLab"
MINUTE, HOUR, DAY = 60, 3600, 86400
# Changes that Stripe is seen to tell twice, by two Event objects. Source: docs.stripe.com/webhooks.
TOLD_TWICE = frozenset(
    {"customer.subscription.updated", "invoice.paid", "charge.succeeded", "invoice_payment.paid"}
)
SETTINGS: Body = {
    # what a person sets in the dashboard; a subscription's metadata may say otherwise (`lab_dunning`)
    "name": "Millrace Lab",
    "country": "US",
    "api_version": API_VERSION,  # events are rendered in it when they are listed
    "draft_seconds": HOUR,  # how long a renewal's invoice stays a draft
    "upcoming_days": 0,  # how long before a renewal `invoice.upcoming` is told; 0 for never
    "dunning": {"retry_after": [3 * DAY, 5 * DAY, 7 * DAY], "subscription": "canceled", "invoice": "open"},
    "twins": 0.0,  # the share of changes that are told by two Event objects
    "restricted_keys": {},  # key → permissions, such as {"rk_test_metering": ["billing_meter_event_write"]}
    "limits": None,  # requests a second: "documented", or {"account": 25, "operation": 25}
    "lag_seconds": 0,  # how long a read may still answer what was before
    "payouts": "manual",  # or daily
    "retries": "by_mode",  # how long webhooks are tried again: "live", "sandbox", or as the mode is
    "expand_balance_transactions": False,  # ours: webhooks carry the whole one, for want of a reconciler
}
Reaction = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Told:
    """An event as it was told: the body it was about is kept as it was, and rendered when it is sent.

    `number` is the true order of what happened, which Stripe never shows. A thin event carries `data`
    of its own instead of a body: types that exist in the second API only.
    """

    number: int
    id: str
    type: str
    created: int
    object: Body
    previous: Body | None
    request: Body
    clock: str | None = None
    thin: bool = False
    twin: str | None = None  # the event that told the very same change before
    account: str | None = None  # the connected account that it happened on


@dataclass(slots=True)
class Agenda:
    """What one clock has still to do: (object, what) → when. Each pair is due once."""

    due: dict[tuple[str, str], int] = field(default_factory=dict)
    heap: list[tuple[int, int, str, str]] = field(default_factory=list)
    serial: int = 0

    def put(self, id_: str, what: str, at: int) -> None:
        self.due[id_, what] = at
        self.serial += 1
        heapq.heappush(self.heap, (at, self.serial, id_, what))

    def drop(self, id_: str, what: str) -> None:
        self.due.pop((id_, what), None)

    def next(self) -> tuple[int, str, str] | None:
        """The earliest entry, without taking it: (when, object, what)."""
        while self.heap:
            at, _, id_, what = self.heap[0]
            if self.due.get((id_, what)) == at:
                return at, id_, what
            heapq.heappop(self.heap)
        return None


class Account:
    """Everything one Stripe account knows.

    `reactions` is the composition's table of who reacts to what is announced; `settings` are what a person
    sets in the dashboard (see `platform.settings`). `listeners` hear every told event once it is committed.
    """

    def __init__(self, seed: int = 1, now: int = 0, *, livemode: bool = False, id: str = ACCOUNT) -> None:
        self.seed, self.now, self.livemode, self.id = seed, now, livemode, id
        self.serial = 0
        self.objects: dict[str, Body] = {}
        self.kinds: dict[str, dict[str, None]] = {}
        self.children: dict[tuple[str, str], dict[str, None]] = {}  # (parent, kind) → ids, oldest first
        self.before: dict[str, tuple[Body, int]] = {}  # what an object was until when: for reads that lag
        self.agendas: dict[str | None, Agenda] = {None: Agenda()}  # by test clock; None is the account's own
        self.events: list[Told] = []
        self.by_event: dict[str, Told] = {}
        self.pending: dict[
            str, int
        ] = {}  # event → how many endpoints have yet to take it: delivery's knowledge
        self.replays: dict[str, Body] = {}  # idempotency key → the answer it had
        self.settings: Body = dict(SETTINGS)
        self.reactions: Mapping[str, tuple[Reaction, ...]] = {}
        self.listeners: list[Callable[[Told], None]] = []
        self.platform: Account | None = None  # whose connected account this is
        self.connected: dict[str, Account] = {}  # those of this platform, by id

    def find(self, id_: str) -> Body | None:
        return self.objects.get(id_)

    def all(self, kind: str) -> Iterator[Body]:
        """Every object of a kind, oldest first."""
        return (self.objects[id_] for id_ in self.kinds.get(kind, ()))

    def of(self, kind: str, parent: str) -> list[Body]:
        return [self.objects[id_] for id_ in self.children.get((parent, kind), ())]

    def time(self, clock: str | None) -> int:
        return self.now if clock is None else int(self.objects[clock]["frozen_time"])

    # Connected accounts: each has its own objects and events, in the platform's time.

    def reach(self, id_: str) -> Account | None:
        """The account that is connected to this one under an id: alive from when it is first reached.

        The platform's settings are its own too, but for the country.
        """
        about = self.objects.get(id_, {})
        if about.get("object") != "account":
            return None
        if id_ not in self.connected:
            seed = ids.digest(self.seed, id_) % 2**63
            self.connect(Account(seed, self.now, livemode=self.livemode, id=id_))
        self.connected[id_].settings |= {**self.settings, "country": about["country"]}
        return self.connected[id_]

    def connect(self, other: Account) -> None:
        """The platform's listeners hear the other one's events too: these name their account."""
        other.platform, other.reactions, other.listeners = self, self.reactions, self.listeners
        self.connected[other.id] = other

    def told(self, event: str) -> Told | None:
        """An event of this account or of one that is connected to it."""
        found = (each.by_event.get(event) for each in (self, *self.connected.values()))
        return next((told for told in found if told is not None), None)

    def owner(self, told: Told) -> Account:
        """The account on which an event happened: this one, or a connected one."""
        return self.connected.get(told.account or "", self)

    def step(self, *, clock: str | None = None, automatic: bool = False, key: str | None = None) -> Step:
        return Step(self, clock, automatic, key)


class Step:
    """Several changes at one second, all or none. See the module's docstring.

    The step's clock is the account's, until it meets an object that lives on a test clock.
    """

    def __init__(self, account: Account, clock: str | None, automatic: bool, key: str | None) -> None:
        self.account, self.clock = account, clock
        self._serial = account.serial
        self._at: int | None = None  # another second than the clock's, for what is only tried out
        self._changed: dict[str, Body | None] = {}
        self._new: dict[str, dict[str, None]] = {}
        self._children: dict[tuple[str, str], dict[str, None]] = {}
        self._dues: list[tuple[str | None, str, str, int | None]] = []
        self._told: list[Told] = []
        self.request: Body = {"id": None, "idempotency_key": None}
        self.caller: str | None = None  # the key that asks; a session's token for streamed meter events
        if not automatic:
            self.request = {"id": self.new_id("req", 14), "idempotency_key": key or self.new_id("key", 22)}

    @property
    def now(self) -> int:
        """The second at which this happens."""
        if self._at is not None:
            return self._at
        if self.clock is None:
            return self.account.now
        clock = self.find(self.clock)
        assert clock is not None
        return int(clock["frozen_time"])

    @property
    def settings(self) -> Body:
        return self.account.settings

    def aside(self, at: int | None = None) -> Step:
        """A step that goes on from here, perhaps at a later second, and is thrown away: what would happen if."""
        other = Step(self.account, self.clock, True, None)
        other._at = self._at if at is None else at
        other._serial, other._changed = self._serial, dict(self._changed)
        other._new = {kind: dict(new) for kind, new in self._new.items()}
        other._children = {key: dict(new) for key, new in self._children.items()}
        return other

    # Reading, through what this step has done so far.

    def find(self, id_: str) -> Body | None:
        """An object by its id, deleted ones included: those have `deleted` and little else."""
        found = self._changed[id_] if id_ in self._changed else self.account.objects.get(id_)
        if found is not None and self.clock is None:
            self.clock = found.get("_clock")
        return found

    def get(self, kind: str, id_: str, param: str | None = None) -> Body:
        """An object that must be there. Raises StripeError 404, naming the parameter that named it."""
        found = self.find(id_)
        if found is None or found["object"] != kind or found.get("deleted"):
            raise missing(kind, id_, param)
        return found

    def of(self, kind: str, parent: str) -> list[Body]:
        """The children of one object, oldest first."""
        old = self.account.children.get((parent, kind), {})
        ids_ = [*old, *self._children.get((parent, kind), {})]
        return [body for id_ in ids_ if (body := self.find(id_)) is not None and not body.get("deleted")]

    def all(self, kind: str) -> Iterator[Body]:
        ids_ = [*self.account.kinds.get(kind, {}), *self._new.get(kind, {})]
        return (body for id_ in ids_ if (body := self._peek(id_)) is not None and not body.get("deleted"))

    def _peek(self, id_: str) -> Body | None:
        return self._changed[id_] if id_ in self._changed else self.account.objects.get(id_)

    # Changing.

    def new_id(self, prefix: str, length: int = 24) -> str:
        self._serial += 1
        return f"{prefix}_{ids.letters(ids.digest(self.account.seed, prefix, self._serial), length)}"

    def chance(self, what: str, id_: str) -> float:
        """A number in [0, 1) from the seed, for what is left to luck."""
        return ids.chance(self.account.seed, what, id_)

    def add(self, body: Body, *parents: str | None) -> Body:
        """A new object, listed under its parents. Nothing is told yet."""
        if self.clock is not None:
            body = {**body, "_clock": self.clock}
        self._changed[body["id"]] = body
        self._new.setdefault(body["object"], {})[body["id"]] = None
        for parent in parents:
            if parent is not None:
                self.adopt(parent, body)
        return body

    def adopt(self, parent: str, body: Body) -> None:
        """List an object under one more parent."""
        self._children.setdefault((parent, body["object"]), {})[body["id"]] = None

    def change(self, id_: str, **fields: Any) -> Body:
        """New values for some fields; nothing is told. Hand a nested object whole."""
        old = self.find(id_)
        assert old is not None, f"{id_} is changed but not there"
        new = {**old, **fields}
        self._changed[id_] = new
        return new

    def remove(self, id_: str, *, tombstone: bool = False) -> None:
        """Take an object away; a tombstone still answers that it was deleted, as customers do."""
        old = self.find(id_)
        assert old is not None
        self._changed[id_] = {"id": id_, "object": old["object"], "deleted": True, "_gone": not tombstone}

    # Telling.

    def tell(self, type_: str, body: Body, *, later: int = 0, previous: Body | None = None) -> None:
        """An event about a body as it is now. `later` shifts its second: some updates come one apart."""
        self._tell(type_, body, previous, later, thin=False)

    def tell_thin(self, type_: str, data: Body, *, later: int = 0) -> Told:
        """An event of the second API that has no snapshot; `data` is what the fetched event carries."""
        return self._tell(type_, data, None, later, thin=True)

    def updated(self, type_: str, before: Body, *, later: int = 0) -> Body:
        """Tell an update with what it changed since `before`; one that changed nothing visible is not told."""
        after = self.find(before["id"])
        assert after is not None
        if previous := changed_from(before, after):
            self._tell(type_, after, previous, later, thin=False)
        return after

    def announce(self, what: str, body: Body, **details: Any) -> None:
        """Let other rooms react, now, in this step. The composition lists who does."""
        for react in self.account.reactions.get(what, ()):
            react(self, body, **details)

    def _tell(self, type_: str, body: Body, previous: Body | None, later: int, thin: bool) -> Told:
        number = len(self.account.events) + len(self._told)
        event = self.new_id("evt")
        own = self.account.id if self.account.platform else None
        told = Told(
            number,
            event,
            type_,
            self.now + later,
            body,
            previous,
            self.request,
            self.clock,
            thin,
            account=own,
        )
        self._told.append(told)
        if type_ in TOLD_TWICE and self.chance("twin", event) < self.settings["twins"]:
            self._told.append(replace(told, number=number + 1, id=self.new_id("evt"), twin=event))
        return told

    # Time.

    def due(self, id_: str, what: str, at: int | None) -> None:
        """Have the clockwork do `what` to an object at a second; None takes it off the agenda."""
        self._dues.append((self.clock, id_, what, at))

    # The end.

    def commit(self) -> list[Told]:
        """Everything this step did happens. Returns what it told."""
        account, now = self.account, self.now
        for id_, body in self._changed.items():
            if (old := account.objects.get(id_)) is not None:
                account.before[id_] = (old, now)
            assert body is not None
            if body.get("_gone"):
                self._forget(id_, body["object"])
            else:
                account.objects[id_] = body
        for kind, new in self._new.items():
            account.kinds.setdefault(kind, {}).update(dict.fromkeys(i for i in new if i in account.objects))
        for key, new in self._children.items():
            account.children.setdefault(key, {}).update(dict.fromkeys(i for i in new if i in account.objects))
        self._keep_agenda()
        account.serial = self._serial
        account.events += self._told
        account.by_event.update((told.id, told) for told in self._told)
        for told in self._told:
            for listener in account.listeners:
                listener(told)
        return self._told

    def _forget(self, id_: str, kind: str) -> None:
        self.account.objects.pop(id_, None)
        self.account.kinds.get(kind, {}).pop(id_, None)
        for (_, of_kind), listed in self.account.children.items():
            if of_kind == kind:
                listed.pop(id_, None)

    def _keep_agenda(self) -> None:
        for clock, id_, what, at in self._dues:
            agenda = self.account.agendas.setdefault(clock, Agenda())
            if at is None:
                agenda.drop(id_, what)
            else:
                agenda.put(id_, what, at)


def refuse_unless(holds: bool, message: str, param: str | None = None, code: str | None = None) -> None:
    """A guard that reads as a sentence. Raises StripeError 400."""
    if not holds:
        raise invalid(message, param, code)


def owned(step: Step, kind: str, id_: str, owner: str, named: str) -> Body:
    """An object below another in the path: `named` is its field that says whose it is. Raises StripeError 404."""
    found = step.get(kind, id_)
    if found[named] != owner:
        raise missing(kind, id_)
    return found
