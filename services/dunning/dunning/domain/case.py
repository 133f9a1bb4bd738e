"""A dunning case: one unpaid invoice, from its first failed payment to its end.

open → grace → restricted → exhausted
         any of them      → recovered | written_off | closed

`open` is where a case stays whose policy only watches. `exhausted` waits for a payment like `restricted`
does, but Stripe tries no more. A case is computed from its facts, so it may move any way as they arrive.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from dunning.domain.decline import Decline, Kind
from dunning.domain.facts import End, Facts
from dunning.domain.policy import Access, Policies, Policy
from millrace.events import Event
from millrace.events.ours import DunningChanged


class Stage(StrEnum):
    OPEN = "open"
    GRACE = "grace"
    RESTRICTED = "restricted"
    EXHAUSTED = "exhausted"
    RECOVERED = "recovered"
    WRITTEN_OFF = "written_off"
    CLOSED = "closed"


ENDS = {
    End.PAID: (Stage.RECOVERED, "paid"),
    End.VOIDED: (Stage.CLOSED, "voided: nothing is owed"),
    End.CREDITED: (Stage.CLOSED, "credited in full: nothing is owed"),
    End.CUSTOMER_GONE: (Stage.CLOSED, "the customer was deleted"),
    End.WRITTEN_OFF: (Stage.WRITTEN_OFF, "written off as uncollectible"),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a case stands. Without a stage it is no case: nothing that concerns dunning has failed."""

    stage: Stage | None
    access: Access
    grace_until: datetime | None  # set while, and only while, the case is in grace
    reason: str  # a sentence that a support agent can read


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of an invoice, and where it stands because of that."""

    account: str
    invoice: str
    facts: Facts
    standing: Standing
    version: int  # grows by one a change, known or announced


@dataclass(frozen=True, slots=True)
class Departed:
    """A customer who was deleted at Stripe: nobody is left to be dunned. Each of their cases is told by a timer."""

    account: str
    customer: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Changed:
    """The event taught us something. `announces` is empty where nobody outside would notice."""

    case: Case
    announces: tuple[DunningChanged, ...]


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The event changes nothing, and this is why."""

    reason: str


Ruling = Changed | Unchanged


def standing(facts: Facts, policies: Policies) -> Standing:
    """The whole rule, first match wins; there is no second place."""
    if facts.failed_at is None:
        return Standing(None, "given", None, "no payment has failed")
    policy = policies.of(facts.sold)
    if facts.end is not None:
        stage, why = ENDS[facts.end]
        return Standing(stage, policy.written_off if stage is Stage.WRITTEN_OFF else "given", None, why)
    if policy.after_grace == "given":
        stage = Stage.EXHAUSTED if facts.final else Stage.OPEN
        return Standing(stage, "given", None, f"payment failed; policy {policy.name} only watches")
    until = facts.failed_at + policy.grace(facts.decline.kind if facts.decline else Kind.SOFT)
    told = f"{until:%Y-%m-%d %H:%M} UTC ({_by(policy, facts.decline)})"
    if facts.grace_ended is None or facts.grace_ended < until:
        return Standing(Stage.GRACE, "given", until, f"grace until {told}")
    ended = f"grace ended on {told}"
    if facts.final:
        return Standing(Stage.EXHAUSTED, "restricted", None, f"{ended}; Stripe tries no more")
    return Standing(Stage.RESTRICTED, "restricted", None, f"{ended}; Stripe will try again")


def ruled(case: Case | None, invoice: str, told: Facts | str, event: Event, policies: Policies) -> Ruling:
    """What an event does to a case. `invoice` is the invoice's id; `told` is what the event tells of it.

    Replay: telling the same again changes nothing.
    """
    if isinstance(told, str):
        return Unchanged(told)
    before = case or Case(event.account, invoice, Facts(), standing(Facts(), policies), 0)
    facts = _settled(before.facts.joined(told))
    if facts == before.facts and case is not None:
        return Unchanged(_nothing_new(case))
    after = replace(before, facts=facts, standing=standing(facts, policies), version=before.version + 1)
    return Changed(after, _announced(before, after, event))


def _settled(facts: Facts) -> Facts:
    """Once the matter has ended no deadline matters, so none is remembered and the end is always the same."""
    return replace(facts, grace_ended=None) if facts.end is not None else facts


def _nothing_new(case: Case) -> str:
    if case.facts.end is not None and case.standing.stage is not None:
        return f"the case has already ended: {case.standing.stage}"
    return "nothing new: this was known already"


def _announced(before: Case, after: Case, event: Event) -> tuple[DunningChanged, ...]:
    if after.standing.stage is None or _seen(before) == _seen(after):
        return ()
    return (
        DunningChanged(
            account=after.account,
            customer=after.facts.customer,
            invoice=after.invoice,
            subscription=after.facts.subscription or None,
            stage=after.standing.stage.value,
            previous_stage=before.standing.stage,
            access=after.standing.access,
            case_version=after.version,
            attempts=after.facts.attempts,
            grace_until=after.standing.grace_until,
            reason=after.standing.reason,
            cause=event.id,
        ),
    )


def _seen(case: Case) -> tuple[Standing, int]:
    return case.standing, case.facts.attempts


def _by(policy: Policy, decline: Decline | None) -> str:
    why = (
        f"{decline.code}: {decline.kind.replace('_', ' ')}"
        if decline
        else "the bank's reason is not known yet"
    )
    return f"policy {policy.name}; {why}"
