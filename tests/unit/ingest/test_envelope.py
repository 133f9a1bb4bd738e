"""From a signed body to an event: its identity, key and topic, whatever shape Stripe sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from ingest.domain import Arrival, Endpoint, Refused, Secret, admit, envelope, signature
from ingest.domain.routing import TOPIC_OF, topic_of
from ingest.domain.signature import sign
from millrace import topics
from millrace.events import decode, headers

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECRET = b"whsec_test"
ENDPOINT = Endpoint("main", "acct_1", True, "2026-10-28.endive", (Secret("env S", SECRET),))
TRACE = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


def taken(body: dict[str, Any]) -> Arrival | Refused:
    raw = orjson.dumps(body)
    at = int(NOW.timestamp())
    signed = signature.head(sign(raw, SECRET, at).encode(), at)
    assert isinstance(signed, signature.Signed)
    return admit(ENDPOINT, signed, raw, now=NOW, trace=TRACE)


def arrived(obj: dict[str, Any] | None = None, **changes: Any) -> Arrival:
    body = {
        "id": "evt_1", "object": "event", "type": "invoice.paid", "created": 1_795_000_000, "livemode": True,
        "api_version": "2026-10-28.endive", "data": {"object": obj or {"id": "in_1", "object": "invoice"}},
    }  # fmt: skip
    found = taken({name: value for name, value in {**body, **changes}.items() if value is not ...})
    assert isinstance(found, Arrival), found
    return found


KEYS: list[tuple[dict[str, Any], str, str]] = [
    # data.object                                                          key                subject
    ({"id": "in_1", "object": "invoice", "customer": "cus_1"}, "acct_1/cus_1", "in_1"),
    ({"id": "in_1", "object": "invoice", "customer": {"id": "cus_1"}}, "acct_1/cus_1", "in_1"),
    ({"id": "cus_1", "object": "customer"}, "acct_1/cus_1", "cus_1"),
    ({"id": "in_1", "object": "invoice", "customer": None}, "acct_1/in_1", "in_1"),
    ({"id": "price_1", "object": "price"}, "acct_1/price_1", "price_1"),
    ({"object": "balance"}, "acct_1/evt_1", "evt_1"),
    ({"object": "entitlements.active_entitlement_summary", "customer": "cus_1"}, "acct_1/cus_1", "cus_1"),
    ({"id": "25% off: été", "object": "coupon"}, "acct_1/25% off: été", "25% off: été"),
    ({"id": "nul\0", "object": "coupon"}, "acct_1/evt_1", "evt_1"),
    ({"id": 7, "object": "thing", "customer": 8}, "acct_1/evt_1", "evt_1"),
]


@pytest.mark.parametrize(("obj", "key", "subject"), KEYS, ids=[repr(o) for o, _, _ in KEYS])
def test_the_key_is_the_customer_or_else_the_object(obj: dict[str, Any], key: str, subject: str) -> None:
    event = arrived(obj).event
    assert (event.key, event.subject) == (key, subject)


def test_what_is_published_is_what_consumers_decode() -> None:
    arrival = arrived(api_version="2017-08-15", type="moon.risen")
    sent = {name: value.encode() for name, value in headers(arrival.event).items()}
    event = decode(arrival.event.key.encode(), sent, orjson.dumps(arrival.body))
    assert event == arrival.event
    assert (event.id, event.type, event.source) == ("evt_1", "stripe.moon.risen", "stripe/acct_1")
    assert (event.schema, event.trace, event.account) == ("2017-08-15", TRACE, "acct_1")
    assert event.time == datetime.fromtimestamp(1_795_000_000, UTC)


@pytest.mark.parametrize(
    ("source", "recorded"), [("webhook", NOW), ("sweep", NOW), ("refresh", NOW), ("import", None)]
)
def test_an_event_says_when_it_was_received_unless_it_was_imported(
    source: envelope.Source, recorded: datetime | None
) -> None:
    body = arrived().body
    found = envelope.arrival(ENDPOINT, body, b"", source=source, now=NOW, trace="")
    assert isinstance(found, Arrival)
    assert found.event.recorded == recorded
    assert ("ce_recordedtime" in headers(found.event)) == (recorded is not None)


def test_an_event_without_a_version_says_so() -> None:
    assert arrived(api_version=None).event.schema == envelope.UNVERSIONED


def test_a_connected_accounts_event_comes_through_that_accounts_endpoint_only() -> None:
    assert arrived(account="acct_1").event.account == "acct_1"
    refused = taken({"id": "evt_1", "object": "event", "type": "x", "created": 1, "livemode": True,
                     "account": "acct_2", "data": {"object": {}}})  # fmt: skip
    assert refused is envelope.WRONG_ACCOUNT


def test_a_thin_event_is_taken_under_its_own_type_and_goes_to_other() -> None:
    thin = {
        "id": "evt_65", "object": "v2.core.event", "type": "v1.customer.subscription.updated", "livemode": True,
        "created": "2026-11-21T11:59:58.5Z", "context": None,
        "related_object": {"id": "sub_1", "type": "subscription", "url": "/v1/subscriptions/sub_1"},
    }  # fmt: skip
    arrival = taken(thin)
    assert isinstance(arrival, Arrival)
    assert arrival.event.type == "stripe.v1.customer.subscription.updated"
    assert arrival.event.time == datetime(2026, 11, 21, 11, 59, 58, 500_000, UTC)
    assert (arrival.object_id, arrival.event.key) == ("sub_1", "acct_1/sub_1")
    assert topic_of("v1.customer.subscription.updated") == topics.STRIPE_OTHER
    for wrong in ("2026-11-21T11:59:58", "yesterday"):  # a time without its zone is no instant
        assert taken({**thin, "created": wrong}) is envelope.NO_TIME
    assert isinstance(taken({**thin, "related_object": None}), Arrival)


ROUTES = """
customer.created                                stripe.billing
customer.subscription.updated                   stripe.billing
subscription_schedule.released                  stripe.billing
invoice.paid                                    stripe.billing
invoice_payment.paid                            stripe.billing
invoiceitem.created                             stripe.billing
credit_note.created                             stripe.billing
checkout.session.completed                      stripe.billing
entitlements.active_entitlement_summary.updated stripe.billing
billing.credit_grant.created                    stripe.billing
charge.succeeded                                stripe.payments
charge.dispute.funds_withdrawn                  stripe.payments
payment_intent.payment_failed                   stripe.payments
payment_method.automatically_updated            stripe.payments
refund.created                                  stripe.payments
payout.reconciliation_completed                 stripe.payments
customer_cash_balance_transaction.created       stripe.payments
product.updated                                 stripe.catalog
price.created                                   stripe.catalog
coupon.deleted                                  stripe.catalog
promotion_code.created                          stripe.catalog
tax_rate.updated                                stripe.catalog
entitlements.feature.created                    stripe.catalog
billing.meter.created                           stripe.catalog
account.updated                                 stripe.other
invoicepayment                                  stripe.other
v1.billing.meter.error_report_triggered         stripe.other
...                                             stripe.other
"""


@pytest.mark.parametrize("line", ROUTES.split("\n")[1:-1])
def test_a_type_goes_to_the_topic_of_its_longest_known_beginning(line: str) -> None:
    type_, topic = line.split()
    assert topic_of(type_) == topic


def test_every_topic_of_the_table_exists() -> None:
    assert set(TOPIC_OF.values()) < {topic.name for topic in topics.TOPICS}
