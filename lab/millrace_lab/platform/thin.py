"""Thin events: the second API's view of what was told, small and without a version.

Every snapshot event has a thin one of the same change, `v1.` and its type; some exist as thin ones only.
A thin event is pushed without its data: who wants `changes`, `snapshot_event` or `data` fetches it.
Source: docs.stripe.com/event-destinations, docs.stripe.com/api/v2/core/events, docs/lab/behaviours.md.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from millrace_lab.account import DAY, Account, Step, Told
from millrace_lab.errors import Body, missing
from millrace_lab.lists import PagedParams, second_page
from millrace_lab.operations import Operation, Page
from millrace_lab.params import NoParams, Params
from millrace_lab.rendering import shown

KEPT = 30 * DAY
PREFIX = "evt_test_"
URL = "/v2/core/events"
PLACES = {
    # an object's kind → where it is fetched, for `related_object`
    "billing.credit_balance_transaction": "/v1/billing/credit_balance_transactions",
    "billing.credit_grant": "/v1/billing/credit_grants",
    "billing.meter": "/v1/billing/meters",
    "billing_portal.configuration": "/v1/billing_portal/configurations",
    "charge": "/v1/charges",
    "checkout.session": "/v1/checkout/sessions",
    "coupon": "/v1/coupons",
    "credit_note": "/v1/credit_notes",
    "customer": "/v1/customers",
    "dispute": "/v1/disputes",
    "invoice": "/v1/invoices",
    "invoice_payment": "/v1/invoice_payments",
    "invoiceitem": "/v1/invoiceitems",
    "payment_intent": "/v1/payment_intents",
    "payment_method": "/v1/payment_methods",
    "payout": "/v1/payouts",
    "price": "/v1/prices",
    "product": "/v1/products",
    "promotion_code": "/v1/promotion_codes",
    "refund": "/v1/refunds",
    "setup_intent": "/v1/setup_intents",
    "subscription": "/v1/subscriptions",
    "subscription_schedule": "/v1/subscription_schedules",
    "tax_rate": "/v1/tax_rates",
    "test_helpers.test_clock": "/v1/test_helpers/test_clocks",
}


class When(Params):
    """A filter on an ISO time."""

    gt: datetime | None = None
    gte: datetime | None = None
    lt: datetime | None = None
    lte: datetime | None = None

    def holds(self, at: int) -> bool:
        when = datetime.fromtimestamp(at, UTC)
        return (
            (self.gt is None or when > _utc(self.gt))
            and (self.gte is None or when >= _utc(self.gte))
            and (self.lt is None or when < _utc(self.lt))
            and (self.lte is None or when <= _utc(self.lte))
        )


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


class ListThin(PagedParams):
    created: When | None = None
    object_id: str | None = None
    types: Annotated[list[str] | None, Field(max_length=20)] = None


def iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def thin_id(told: Told) -> str:
    return PREFIX + told.id.removeprefix("evt_")


def thin_type(told: Told) -> str:
    return told.type if told.thin else f"v1.{told.type}"


def notification(account: Account, told: Told) -> Body:
    """What is pushed."""
    body: Body = {
        "id": thin_id(told),
        "object": "v2.core.event",
        "type": thin_type(told),
        "created": iso(told.created),
        "livemode": account.livemode,
        "context": told.account,
        "reason": {"type": "request", "request": told.request} if told.request["id"] else None,
    }
    if related := _related(told):
        body["related_object"] = related
    return body


def fetched(account: Account, told: Told) -> Body:
    """What is read: the notification with what it left out."""
    body = notification(account, told)
    if told.thin:
        return body | {"data": shown(told.object)}
    body["snapshot_event"] = told.id
    if told.previous is not None:
        after = shown(told.object)
        body["changes"] = {"before": told.previous, "after": {key: after.get(key) for key in told.previous}}
    return body


def _related(told: Told) -> Body | None:
    if told.thin:
        given: Body | None = told.object.get("_related")
        return given
    kind, id_ = told.object["object"], told.object.get("id")
    if kind not in PLACES or id_ is None:
        return None
    return {"id": id_, "type": kind, "url": f"{PLACES[kind]}/{id_}"}


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    told = step.account.by_event.get(id_.replace(PREFIX, "evt_", 1))
    if told is None or not id_.startswith(PREFIX) or told.created <= step.account.now - KEPT:
        raise missing("event", id_)
    return fetched(step.account, told)


def listing(step: Step, params: ListThin) -> Page:
    def wanted(told: Told) -> bool:
        return (
            told.created > step.account.now - KEPT
            and (params.types is None or thin_type(told) in params.types)
            and (params.created is None or params.created.holds(told.created))
            and (params.object_id is None or (_related(told) or {}).get("id") == params.object_id)
        )

    found = [told for told in reversed(step.account.events) if wanted(told)]
    return second_page([fetched(step.account, told) for told in found], params, URL)


OPERATIONS = (
    Operation(f"GET {URL}", listing, ListThin),
    Operation(f"GET {URL}/{{id}}", retrieve),
)
