"""The events that our own services publish: typed, versioned, and one JSON Schema each in `schemas/`.

A field is added with a default; anything else is a new version beside the old one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from millrace import topics
from millrace.errors import Poison
from millrace.events import Event


class Payload(BaseModel):
    """The body of an event of ours. `account` and `customer` make its key.

    Replay: an event's id is derived from the event that caused it, so publishing again is the same event.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)
    TYPE: ClassVar[str]
    TOPIC: ClassVar[str]
    VERSION: ClassVar[int] = 1

    account: str
    customer: str  # Stripe's customer id; "" where the fact has none

    @property
    def subject(self) -> str:
        """The id of the object that the event is about."""
        return self.customer

    @classmethod
    def schema_id(cls) -> str:
        return f"{cls.TYPE.replace('.', '/', 1)}/{cls.VERSION}"

    @classmethod
    def of(cls, event: Event) -> Self:
        """The typed body of a received event. Raises Poison, naming the field.

        Fields that this version does not know yet are passed over: a newer writer may have added them.
        """
        known = {name: value for name, value in event.data.items() if name in cls.model_fields}
        try:
            return cls.model_validate(known)
        except ValidationError as problem:
            first = problem.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise Poison(f"{cls.TYPE}: {where}: {first['msg']}") from problem

    def event(self, *, id: str, source: str, at: datetime, trace: str = "") -> Event:
        """The event that carries this body."""
        return Event(
            id=id,
            type=self.TYPE,
            source=source,
            subject=self.subject,
            time=at,
            key=f"{self.account}/{self.customer or self.subject}",
            schema=self.schema_id(),
            data=self.model_dump(mode="json"),
            trace=trace,
        )


class DunningChanged(Payload):
    """A dunning case moved, and what access it asks for from now on."""

    TYPE: ClassVar[str] = "millrace.dunning.changed"
    TOPIC: ClassVar[str] = topics.DUNNING_CHANGED

    invoice: str
    subscription: str | None
    stage: Literal["open", "grace", "restricted", "exhausted", "recovered", "written_off", "closed"]
    previous_stage: str | None  # None when the case has just been opened
    access: Literal["given", "restricted"]
    case_version: int  # grows by one a change: the newest wins, whatever order they arrive in
    attempts: int
    grace_until: AwareDatetime | None
    reason: str
    cause: str  # the id of the event that moved the case

    @property
    def subject(self) -> str:
        return self.invoice


class DunningTimerDue(Payload):
    """A dunning timer has come due; nothing else has happened yet."""

    TYPE: ClassVar[str] = "millrace.dunning.timer.due"
    TOPIC: ClassVar[str] = topics.DUNNING_TIMERS

    invoice: str
    timer: str  # what it was set for
    due_at: AwareDatetime

    @property
    def subject(self) -> str:
        return self.invoice


class EntitlementState(Payload):
    """Everything a customer may do now; the newest per key is the whole truth."""

    TYPE: ClassVar[str] = "millrace.entitlement.state"
    TOPIC: ClassVar[str] = topics.ENTITLEMENT_STATE

    version: int  # of the customer's access; grows by one a change
    catalog: str  # the price-book version that decided
    features: dict[str, dict[str, Any]]  # feature → {verdict, kind, limit, reason, evidence}
    as_of: AwareDatetime  # the time of the event that brought it here


class EntitlementChanged(Payload):
    """One feature's verdict changed, from which event and by which rule."""

    TYPE: ClassVar[str] = "millrace.entitlement.changed"
    TOPIC: ClassVar[str] = topics.ENTITLEMENT_CHANGED

    version: int
    catalog: str
    changes: list[dict[str, Any]]  # {feature, before, after, reason}
    cause: str


class LedgerPosted(Payload):
    """A journal transaction was posted. Every currency in `entries` sums to zero."""

    TYPE: ClassVar[str] = "millrace.ledger.posted"
    TOPIC: ClassVar[str] = topics.LEDGER_POSTED

    fact: str  # the natural key that makes it happen once
    kind: str
    effective_at: AwareDatetime
    entries: list[dict[str, Any]]  # {account, currency, amount_minor, invoice?}
    cause: str

    @property
    def subject(self) -> str:
        return self.fact


class RefreshRequested(Payload):
    """An event left an object's state in doubt; somebody should ask Stripe for it."""

    TYPE: ClassVar[str] = "millrace.refresh.requested"
    TOPIC: ClassVar[str] = topics.REFRESH_REQUESTED

    object: str  # the object's id
    reason: str
    cause: str

    @property
    def subject(self) -> str:
        return self.object


class DeadLetter(Payload):
    """An event was parked; it stays in the consumer's database, here is only the notice."""

    TYPE: ClassVar[str] = "millrace.dead-letter"
    TOPIC: ClassVar[str] = "dead-letter"  # each consumer has its own: see topics.dead_letter

    consumer: str
    reason: str
    event_id: str
    event_type: str
    topic: str
    partition: int
    offset: int
    record_key: str = ""

    @property
    def subject(self) -> str:
        return self.event_id or f"{self.topic}/{self.partition}/{self.offset}"


class OutboxParked(Payload):
    """An outbox row could not be published and was parked; it stays in the outbox's database."""

    TYPE: ClassVar[str] = "millrace.outbox.parked"
    TOPIC: ClassVar[str] = topics.dead_letter("outbox-relay")

    outbox: str  # <lane>@<generation>
    row_id: int
    topic: str  # where it was to go
    record_key: str
    reason: str  # a word: too_large, bad_headers, …
    detail: str
    behind: bool  # it was fit to go, and waits for an earlier row of its key
    bytes: int  # of key, headers and payload

    @property
    def subject(self) -> str:
        return f"{self.topic}/{self.row_id}"


PAYLOADS: tuple[type[Payload], ...] = (
    DunningChanged,
    DunningTimerDue,
    EntitlementState,
    EntitlementChanged,
    LedgerPosted,
    RefreshRequested,
    DeadLetter,
    OutboxParked,
)
VERSIONS: dict[str, frozenset[str]] = {p.TYPE: frozenset({p.schema_id()}) for p in PAYLOADS}
