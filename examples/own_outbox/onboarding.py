"""A task for every new subscription, and an event of our own that tells others of it, or neither."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime

from millrace import Each, Event, Payload, caused, publish, run
from millrace.events import stripe
from millrace.postgres import Transaction


class OnboardingStarted(Payload):
    """A new subscription is being welcomed. The promise to whoever reads the topic: fields are only added."""

    TYPE: ClassVar[str] = "onboarding.started"
    TOPIC: ClassVar[str] = "onboarding.started"
    SUBJECT: ClassVar[str] = "subscription"

    subscription: str
    started_at: AwareDatetime


OPEN = """
-- One task; there is no need to look whether it is there already.
insert into onboarding.task (subscription, customer, opened_at) values ($1, $2, $3)
"""


async def started(tx: Transaction, event: Event) -> str:
    """Write the row and the event in the transaction that also remembers the cause."""
    subscription = stripe.object_of(event)
    id, customer = stripe.text(subscription, "id"), stripe.customer_of(subscription) or ""
    await tx.execute(OPEN, id, customer, event.time)
    told = OnboardingStarted(account=event.account, customer=customer, subscription=id, started_at=event.time)
    await publish(tx, caused(event, "onboarding", told))
    return "onboarding started"


if __name__ == "__main__":
    onboarding = Each("onboarding", {"stripe.customer.subscription.created": started})
    run(onboarding, topics=["stripe.billing"], migrations="migrations")
