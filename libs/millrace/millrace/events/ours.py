"""The events that our own services publish: typed, versioned, and one JSON Schema each in `schemas/`.

A field is added with a default, a word to its list; anything else is a new version beside the old one.
Writing is strict, reading is not: fields and words that a newer writer added are no reason to stop.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from millrace import topics
from millrace.errors import Poison
from millrace.events import Event
from millrace.events.words import READING, words

STRICT = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

Stage = Annotated[
    str, words("open", "grace", "restricted", "exhausted", "recovered", "written_off", "closed")
]
DunningAccess = Annotated[str, words("given", "restricted")]
VerdictWord = Annotated[str, words("allowed", "limited", "denied")]
FeatureKind = Annotated[str, words("switch", "limit", "seats")]


def means(meaning: str) -> Any:
    """A field of an event, and what it means: for the schema and docs/events.md."""
    return Field(description=meaning)


def left_out(meaning: str) -> Any:
    """The same, of a field that is not there at all where it has nothing to say."""
    return Field(default=None, description=meaning, exclude_if=lambda value: value is None)


class Part(BaseModel):
    """What stands inside a body."""

    model_config = STRICT


class Payload(BaseModel):
    """The body of an event of ours. `account` and `customer` make its key.

    Replay: an event's id is derived from the event that caused it, so publishing again is the same event.
    """

    model_config = STRICT
    TYPE: ClassVar[str]
    TOPIC: ClassVar[str]
    VERSION: ClassVar[int] = 1
    SUBJECT: ClassVar[str] = "customer"  # the field with the id of the object that the event is about

    account: str = means("the Stripe account")
    customer: str = means("Stripe's customer id; empty where the fact has none")

    @property
    def subject(self) -> str:
        """The id of the object that the event is about."""
        return str(getattr(self, self.SUBJECT))

    @classmethod
    def schema_id(cls) -> str:
        return f"{cls.TYPE.replace('.', '/', 1)}/{cls.VERSION}"

    @classmethod
    def of(cls, event: Event) -> Self:
        """The typed body of a received event. Raises Poison, naming the field.

        Fields that this version does not know yet are passed over, and words that it does not know are kept.
        """
        try:
            return cls.model_validate(dict(event.data), extra="ignore", context=READING)
        except ValidationError as problem:
            first = problem.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise Poison(f"{cls.TYPE}: {where}: {first['msg']}") from problem

    def event(
        self, *, id: str, source: str, at: datetime, trace: str = "", recorded: datetime | None = None
    ) -> Event:
        """The event that carries this body. `recorded` is that of the event that caused it."""
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
            recorded=recorded,
        )


class DunningChanged(Payload):
    """A dunning case moved, and what access it asks for from now on."""

    TYPE: ClassVar[str] = "millrace.dunning.changed"
    TOPIC: ClassVar[str] = topics.DUNNING_CHANGED
    SUBJECT: ClassVar[str] = "invoice"

    invoice: str = means("the invoice that is not paid: one case each")
    subscription: str | None = means("the subscription it bills; null: all of the customer's")
    stage: Stage = means("where the case stands now")
    previous_stage: Stage | None = means("where it stood; null when it has just been opened")
    access: DunningAccess = means("what it asks entitlement for")
    case_version: int = means("grows by one a change: the newest wins, whatever order they arrive in")
    attempts: int = means("how often Stripe has tried to collect")
    grace_until: AwareDatetime | None = means("when grace ends; null when the case is not in grace")
    reason: str = means("a sentence that a support agent can read")
    cause: str = means("the id of the event that moved the case")


class DunningTimerDue(Payload):
    """A dunning timer has come due; nothing else has happened yet."""

    TYPE: ClassVar[str] = "millrace.dunning.timer.due"
    TOPIC: ClassVar[str] = topics.DUNNING_TIMERS
    SUBJECT: ClassVar[str] = "invoice"

    invoice: str = means("the invoice whose case it belongs to")
    timer: str = means("what it was set for; unique within the case")
    due_at: AwareDatetime = means("the deadline itself, however late it was noticed")


class FeatureVerdict(Part):
    """What a customer may do with one feature, and why."""

    verdict: VerdictWord = means("limited is allowed, up to `limit`")
    kind: FeatureKind = means("of the feature")
    limit: int | None = means("how many; null where the verdict is not limited")
    reason: str = means("a sentence that a support agent can read")
    rule: str = means("the rule that decided")
    evidence: tuple[str, ...] = means("the ids of the events that prove it")
    until: AwareDatetime | None = means("when it stops being true without a further event; null: never")
    then: FeatureVerdict | None = left_out("the verdict from `until` on; absent without one")


class EntitlementState(Payload):
    """Everything a customer may do now; the newest per key is the whole truth."""

    TYPE: ClassVar[str] = "millrace.entitlement.state"
    TOPIC: ClassVar[str] = topics.ENTITLEMENT_STATE

    version: int = means("of the customer's access; grows by one a change")
    catalog: str = means("the version of the catalog that decided")
    features: dict[str, FeatureVerdict] = means("every feature of the catalog, by its name")
    as_of: AwareDatetime = means("the time of the event that brought it here")


class BriefVerdict(Part):
    """A verdict as far as a change of it matters."""

    verdict: VerdictWord = means("limited is allowed, up to `limit`")
    limit: int | None = means("how many; null where the verdict is not limited")
    until: AwareDatetime | None = means("when it stops being true without a further event; null: never")


class FeatureChange(Part):
    """One feature's verdict, before and after."""

    feature: str = means("its name in the catalog")
    before: BriefVerdict | None = means("null: the feature was not judged before")
    after: BriefVerdict | None = means("null: the catalog no longer knows it")
    reason: str = means("a sentence that a support agent can read")


class EntitlementChanged(Payload):
    """Verdicts changed, from which event and under which catalog."""

    TYPE: ClassVar[str] = "millrace.entitlement.changed"
    TOPIC: ClassVar[str] = topics.ENTITLEMENT_CHANGED

    version: int = means("of the customer's access: that of the state published with it")
    catalog: str = means("the version of the catalog that decided")
    changes: tuple[FeatureChange, ...] = means("the features whose verdict changed, by name")
    cause: str = means("the id of the event that changed them")


class LedgerEntry(Part):
    """One line of a journal transaction."""

    account: str = means("its number in the chart of accounts")
    currency: str = means("ISO 4217, in lower case")
    amount_minor: int = means("in minor units of the currency; a debit is positive, a credit negative")
    invoice: str | None = left_out("the invoice it belongs to; absent without one")


class LedgerPosted(Payload):
    """A journal transaction was posted. Every currency in `entries` sums to zero."""

    TYPE: ClassVar[str] = "millrace.ledger.posted"
    TOPIC: ClassVar[str] = topics.LEDGER_POSTED
    SUBJECT: ClassVar[str] = "fact"

    fact: str = means("the natural key that makes it happen once, whatever events tell it")
    kind: str = means("the kind of fact")
    effective_at: AwareDatetime = means("when it happened, for the books")
    entries: tuple[LedgerEntry, ...] = means("its lines")
    cause: str = means("the id of the event that told it first")


class RefreshRequested(Payload):
    """An event left an object's state in doubt; somebody should ask Stripe for it."""

    TYPE: ClassVar[str] = "millrace.refresh.requested"
    TOPIC: ClassVar[str] = topics.REFRESH_REQUESTED
    SUBJECT: ClassVar[str] = "object"

    object: str = means("the object's id at Stripe")
    reason: str = means("what the doubt is")
    cause: str = means("the id of the event that left it")


class DeadLetter(Payload):
    """An event was parked; it stays in the consumer's database, here is only the notice."""

    TYPE: ClassVar[str] = "millrace.dead-letter"
    TOPIC: ClassVar[str] = "dead-letter"  # each consumer has its own: see topics.dead_letter
    SUBJECT: ClassVar[str] = "event_id"

    consumer: str = means("who parked it")
    reason: str = means("why, without a value of the event")
    event_id: str = means("its ce_id; empty where the record could not be read")
    event_type: str = means("its ce_type; empty where the record could not be read")
    topic: str = means("where the record is")
    partition: int = means("where the record is")
    offset: int = means("where the record is")
    record_key: str = Field(default="", description="the record's key")

    @property
    def subject(self) -> str:
        return self.event_id or f"{self.topic}/{self.partition}/{self.offset}"


class OutboxParked(Payload):
    """An outbox row could not be published and was parked; it stays in the outbox's database."""

    TYPE: ClassVar[str] = "millrace.outbox.parked"
    TOPIC: ClassVar[str] = topics.dead_letter("outbox-relay")
    SUBJECT: ClassVar[str] = "<topic>/<row_id>"

    outbox: str = means("which: <lane>@<generation>")
    row_id: int = means("the row's id there")
    topic: str = means("where it was to go")
    record_key: str = means("its key")
    reason: str = means("a word: too_large, bad_headers, …")
    detail: str = means("the same as a sentence")
    behind: bool = means("it was fit to go, and waits for an earlier row of its key")
    bytes: int = means("of key, headers and payload")

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
