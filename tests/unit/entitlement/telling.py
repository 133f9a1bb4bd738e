"""A subscription that tells its life as Stripe would, in the shape of 2026-10-28.endive, second by second."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from entitlement.catalog import read
from entitlement.domain.customer import Customer
from entitlement.domain.newer import Standing
from entitlement.fold import fold
from millrace.consumer import Record
from millrace.consumer.judge import Judged, run
from millrace.events.ours import DunningChanged
from millrace_lab.rendering import changed_from
from tests.support.events import ACCOUNT, record, record_of

Body = dict[str, Any]
CATALOG = read(Path("lab/company/catalog.yaml"))
FOLD = fold(lambda: CATALOG)
NOON = 1_782_907_200  # 2026-07-01T12:00:00Z
DAY = 86_400
CUSTOMER = "cus_1"


class Told:
    """Writes down what happens to one subscription; each happening is an event."""

    def __init__(self, id: str = "sub_1", *, at: int = NOON, plan: str = "team", quantity: int = 5) -> None:
        self.at = at
        self.events: list[Body] = []
        self._numbers = itertools.count(1)
        self.body: Body = {
            "id": id,
            "object": "subscription",
            "customer": CUSTOMER,
            "status": "incomplete",
            "cancel_at": None,
            "cancel_at_period_end": False,
            "canceled_at": None,
            "default_payment_method": None,
            "ended_at": None,
            "items": {"object": "list", "has_more": False, "data": [item(f"{id}_si", plan, quantity, at)]},
            "latest_invoice": "in_1",
            "metadata": {},
            "pause_collection": None,
            "trial_end": None,
        }

    def created(self, status: str = "active", **fields: Any) -> Told:
        self.body |= {"status": status, **fields}
        return self._tell("created")

    def updated(self, **fields: Any) -> Told:
        before = copy.deepcopy(self.body)
        self.body |= fields
        return self._tell("updated", changed_from(before, self.body))

    def seats(self, quantity: int) -> Told:
        return self.updated(items=self._items(quantity=quantity))

    def moves_to(self, plan: str) -> Told:
        return self.updated(items=self._items(price=price(plan)))

    def paused(self) -> Told:
        self.body["status"] = "paused"
        return self._tell("paused")

    def resumed(self) -> Told:
        self.body["status"] = "active"
        return self._tell("resumed")

    def trial_will_end(self) -> Told:
        return self._tell("trial_will_end")

    def deleted(self) -> Told:
        self.body |= {"status": "canceled", "ended_at": self.at, "canceled_at": self.at}
        return self._tell("deleted")

    def twice(self) -> Told:
        """The last event once more, as another Event object for the same change."""
        twin = copy.deepcopy(self.events[-1])
        self.events.append({**twin, "id": self._id()})
        return self

    def later(self, seconds: int = 60) -> Told:
        self.at += seconds
        return self

    def _items(self, **fields: Any) -> Body:
        items = copy.deepcopy(self.body["items"])
        items["data"][0] |= fields
        return dict(items)

    def _id(self) -> str:
        return f"evt_{self.body['id']}_{next(self._numbers):02d}"

    def _tell(self, kind: str, previous: Body | None = None) -> Told:
        data: Body = {"object": copy.deepcopy(self.body)}
        if previous is not None:
            data["previous_attributes"] = previous
        self.events.append(
            {
                "id": self._id(),
                "object": "event",
                "type": f"customer.subscription.{kind}",
                "api_version": "2026-10-28.endive",
                "created": self.at,
                "data": data,
            }
        )
        return self


def price(plan: str) -> Body:
    key = f"{plan}_monthly_eur"
    return {"id": f"price_{key}", "object": "price", "lookup_key": key, "product": f"prod_{plan}"}


def item(id: str, plan: str, quantity: int | None, start: int) -> Body:
    return {
        "id": id,
        "object": "subscription_item",
        "price": price(plan),
        "quantity": quantity,
        "current_period_start": start,
        "current_period_end": start + 30 * DAY,
    }


def dunning(
    access: str, version: int, *, invoice: str = "in_9", subscription: str | None = "sub_1", at: int = NOON
) -> Record:
    """Dunning's word on an invoice, as a record."""
    word = DunningChanged(
        account=ACCOUNT, customer=CUSTOMER, invoice=invoice, subscription=subscription, stage="restricted",
        previous_stage="grace", access=access, case_version=version, attempts=3, grace_until=None,
        reason="grace ended", cause="evt_failed",
    )  # fmt: skip
    event = word.event(id=f"dunning.{invoice}.{version}", source="millrace/dunning", at=instant(at))
    return record(event)


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def heard(records: Iterable[Record | Body]) -> tuple[Customer, list[Judged]]:
    """What entitlement knows of the customer after these events, and how it judged each."""
    states, judged = run(FOLD, CATALOG, [r if isinstance(r, Record) else record_of(r) for r in records])
    return states[f"{ACCOUNT}/{CUSTOMER}"], judged


def stands(events: Sequence[Body], id: str = "sub_1") -> Standing:
    """How one subscription stands after these events."""
    return heard(events)[0].standings()[id]


def end_of(customer: Customer) -> tuple[Any, ...]:
    """What must not depend on the order: everything but how often it changed on the way."""
    access = customer.access
    assert access is not None
    return customer.subscriptions, customer.restrictions, access.features, access.catalog, access.as_of
