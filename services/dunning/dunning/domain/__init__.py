"""The rules of dunning, pure: what an event tells, what is known, what follows from it under a policy.

decline   why a bank said no, and which of four kinds of no it was
facts     what is known of an invoice; two pieces of knowledge join into one, in any order
telling   event → facts, or the sentence that says why it tells us nothing
policy    how patient to be, by plan and by kind of decline
case      facts and policy → stage, access, deadline; and what to announce when they change

Nothing here awaits, reads a clock or draws a random number: time arrives with the event.
"""

from dunning.domain.case import Case, Changed, Departed, Ruling, Stage, Unchanged, ruled
from dunning.domain.decline import Decline, Kind, kind_of
from dunning.domain.facts import Attempt, End, Facts
from dunning.domain.policy import Access, Policies, Policy
from dunning.domain.telling import (
    CUSTOMER_GONE,
    Told,
    credited,
    decline_learned,
    marked_uncollectible,
    paid,
    payment_failed,
    plan_changed,
    timer_due,
    voided,
)

__all__ = [
    "CUSTOMER_GONE",
    "Access",
    "Attempt",
    "Case",
    "Changed",
    "Decline",
    "Departed",
    "End",
    "Facts",
    "Kind",
    "Policies",
    "Policy",
    "Ruling",
    "Stage",
    "Told",
    "Unchanged",
    "credited",
    "decline_learned",
    "kind_of",
    "marked_uncollectible",
    "paid",
    "payment_failed",
    "plan_changed",
    "ruled",
    "timer_due",
    "voided",
]
