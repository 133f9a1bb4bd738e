"""stripe-python 16 against the double: typed objects, pages, errors, retries, webhooks, as its users know it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import orjson
import pytest
import stripe
from stripe import StripeClient

from millrace_lab.errors import StripeError
from millrace_lab.platform import destinations, events
from tests.support.double import Double
from tests.support.served import served
from tests.unit.millrace_lab.edge.asking import with_run

SECRET = "whsec_test"


class Shop:
    """A served double with a subscribed customer, and a client for it."""

    def __init__(self, double: Double, address: str) -> None:
        self.double, self.address = double, address
        self.http = stripe.RequestsClient()
        self.client = self.as_("sk_test_lab")
        v1 = self.client.v1
        method = v1.payment_methods.create({"type": "card", "card": {"token": "tok_visa"}})
        self.customer = v1.customers.create({"email": "ada@example.com", "name": "Ada"}).id
        v1.payment_methods.attach(method.id, {"customer": self.customer})
        v1.customers.update(self.customer, {"invoice_settings": {"default_payment_method": method.id}})
        self.product = v1.products.create({"name": "Team"}).id
        recurring: Any = {"interval": "month"}
        self.price = v1.prices.create(
            {"product": self.product, "currency": "usd", "unit_amount": 1000, "recurring": recurring}
        ).id
        self.subscription = v1.subscriptions.create(
            {"customer": self.customer, "items": [{"price": self.price, "quantity": 2}]}
        ).id

    def as_(self, key: str, **options: Any) -> StripeClient:
        return StripeClient(
            key, base_addresses={"api": self.address}, **{"http_client": self.http, **options}
        )


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    double = Double(restricted_keys={"rk_test_reader": ["customer_read"]})
    with served(double) as address:
        found = Shop(double, address)
        yield found
        found.http.close()  # type: ignore[no-untyped-call]


def _client(address: str, **options: Any) -> tuple[StripeClient, Callable[[], None]]:
    http = stripe.RequestsClient()
    return StripeClient(
        "sk_test_lab", base_addresses={"api": address}, http_client=http, **options
    ), http.close


FAMILIES: tuple[tuple[str, type[stripe.StripeObject]], ...] = (
    ("customers", stripe.Customer),
    ("products", stripe.Product),
    ("prices", stripe.Price),
    ("subscriptions", stripe.Subscription),
    ("invoices", stripe.Invoice),
    ("invoice_payments", stripe.InvoicePayment),
    ("payment_intents", stripe.PaymentIntent),
    ("charges", stripe.Charge),
    ("balance_transactions", stripe.BalanceTransaction),
    ("events", stripe.Event),
)


@pytest.mark.parametrize(("name", "kind"), FAMILIES)
def test_each_family_is_read_into_its_type_one_by_one_and_as_a_list(
    shop: Shop, name: str, kind: type[stripe.StripeObject]
) -> None:
    service = getattr(shop.client.v1, name)
    listed = service.list({"limit": 3})
    assert listed.data
    assert all(isinstance(each, kind) for each in listed.data)
    again = service.retrieve(listed.data[0].id)
    assert isinstance(again, kind)
    assert again.to_dict() == listed.data[0].to_dict()


def test_nested_objects_have_their_types_and_decimals_are_decimals(shop: Shop) -> None:
    expand = ["customer", "latest_invoice.payments"]
    sub = shop.client.v1.subscriptions.retrieve(shop.subscription, {"expand": expand})
    assert isinstance(sub.customer, stripe.Customer)
    assert isinstance(sub.latest_invoice, stripe.Invoice)
    item = sub["items"].data[0]
    assert isinstance(item, stripe.SubscriptionItem)
    assert (item.price.unit_amount_decimal, item.quantity) == (Decimal(1000), 2)
    assert item.current_period_end > item.current_period_start
    payments = sub.latest_invoice.payments
    assert payments is not None
    assert payments.data[0].amount_paid == 2000
    line = sub.latest_invoice.lines.data[0]
    assert line.parent is not None
    assert line.parent.subscription_item_details is not None
    assert line.parent.subscription_item_details.subscription == shop.subscription


def test_pages_are_turned_by_the_client(shop: Shop) -> None:
    made = {shop.client.v1.coupons.create({"percent_off": n + 1, "duration": "once"}).id for n in range(7)}
    turned = [each.id for each in shop.client.v1.coupons.list({"limit": 3}).auto_paging_iter()]
    assert (len(turned), set(turned)) == (7, made)
    second = [each.id for each in shop.client.v2.core.events.list({"limit": 5}).auto_paging_iter()]
    assert len(second) == len(set(second)) == len(shop.double.told())


ERRORS: tuple[tuple[str, type[stripe.StripeError], int], ...] = (
    ("no such customer", stripe.InvalidRequestError, 404),
    ("unknown parameter", stripe.InvalidRequestError, 400),
    ("wrong key", stripe.AuthenticationError, 401),
    ("lacks permission", stripe.PermissionError, 403),
    ("key reused", stripe.IdempotencyError, 400),
    ("declined", stripe.CardError, 402),
    ("not in the double", stripe.APIError, 501),
)


@pytest.mark.parametrize(("what", "error", "status"), ERRORS)
def test_errors_arrive_as_the_clients_classes(
    shop: Shop, what: str, error: type[stripe.StripeError], status: int
) -> None:
    with pytest.raises(error) as raised:
        _provoke(shop, what)
    assert type(raised.value) is error
    assert raised.value.http_status == status
    assert raised.value.request_id


def _provoke(shop: Shop, what: str) -> None:
    v1 = shop.client.v1
    unknown: Any = {"no_such_parameter": "1"}
    match what:
        case "no such customer":
            v1.customers.retrieve("cus_none")
        case "unknown parameter":
            v1.customers.create(unknown)
        case "wrong key":
            shop.as_("sk_live_lab").v1.customers.list()
        case "lacks permission":
            shop.as_("rk_test_reader").v1.customers.create({})
        case "key reused":
            for name in ("a", "b"):
                v1.products.create({"name": name}, {"idempotency_key": "reused"})
        case "declined":
            declined = v1.payment_methods.create(
                {
                    "type": "card",
                    "card": {"token": "tok_visa"},
                    "metadata": {"lab_bank": "insufficient_funds"},
                }
            )
            v1.payment_methods.attach(declined.id, {"customer": shop.customer})
            v1.payment_intents.create(
                {
                    "amount": 500,
                    "currency": "usd",
                    "customer": shop.customer,
                    "payment_method": declined.id,
                    "confirm": True,
                    "off_session": True,
                }
            )
        case "not in the double":
            v1.issuing.cards.list()


def test_a_declined_payment_says_why_and_stays(shop: Shop) -> None:
    with pytest.raises(stripe.CardError) as raised:
        _provoke(shop, "declined")
    assert raised.value.code == "card_declined"
    assert raised.value.error is not None
    intent = raised.value.error.payment_intent
    assert intent is not None
    assert shop.client.v1.payment_intents.retrieve(intent.id).status == "requires_payment_method"


def test_the_limit_is_an_error_of_its_own() -> None:
    with served(Double(limits={"account": 100, "operation": 2})) as address:
        client, close = _client(address, max_network_retries=0)
        with pytest.raises(stripe.RateLimitError) as raised:
            for _ in range(9):
                client.v1.products.list()
        close()
    assert raised.value.headers is not None
    assert raised.value.headers["stripe-rate-limited-reason"] == "endpoint-rate"


def test_a_retry_with_the_same_key_is_done_once(shop: Shop) -> None:
    before = len(shop.double.told("product.created"))
    ids = {shop.client.v1.products.create({"name": "One"}, {"idempotency_key": "once"}).id for _ in range(3)}
    assert len(ids) == 1
    assert len(shop.double.told("product.created")) == before + 1


def test_the_clients_own_retries_see_the_stored_500(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[int] = []

    def fails(*_: Any) -> Any:
        times.append(1)
        raise StripeError(500, "An unknown error occurred", type="api_error")

    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.0)
    monkeypatch.setattr(stripe.HTTPClient, "MAX_DELAY", 0.0)
    double = Double()
    with_run(double, "POST /v1/products", fails)
    with served(double) as address:
        client, close = _client(address, max_network_retries=2)
        with pytest.raises(stripe.APIError) as raised:
            client.v1.products.create({"name": "Never"})
        close()
    assert raised.value.headers is not None
    assert raised.value.headers["idempotent-replayed"] == "true"
    assert raised.value.headers["stripe-should-retry"] == "false"
    assert len(times) == 1


def test_the_asynchronous_client_reads_the_same(shop: Shop) -> None:
    async def read() -> tuple[str, list[str]]:
        http = stripe.HTTPXClient()
        client = shop.as_("sk_test_lab", http_client=http)
        sub = await client.v1.subscriptions.retrieve_async(shop.subscription)
        listed = await client.v1.customers.list_async({"limit": 1})
        ids = [each.id async for each in listed.auto_paging_iter()]
        await http.close_async()  # type: ignore[no-untyped-call]
        return sub.id, ids

    id_, customers = asyncio.run(read())
    assert id_ == shop.subscription
    assert shop.customer in customers


def test_an_older_client_reads_the_older_shape(shop: Shop) -> None:
    old = shop.as_("sk_test_lab", stripe_version="2024-06-20")
    invoice = old.v1.invoices.list({"customer": shop.customer, "subscription": shop.subscription}).data[0]
    assert invoice["subscription"] == shop.subscription
    assert invoice["paid"] is True
    assert invoice["lines"].data[0]["price"].id == shop.price


def test_a_signed_event_is_constructed_and_is_what_the_list_shows(shop: Shop) -> None:
    told = shop.double.told("invoice.paid")[0]
    body = orjson.dumps(events.rendered(shop.double.account, told)).decode()
    header = stripe.WebhookSignature.generate_signature_header(body, SECRET)
    event = shop.client.construct_event(body, header, SECRET)
    assert event.type == "invoice.paid"
    assert isinstance(event.data.object, stripe.Invoice)
    assert shop.client.v1.events.retrieve(event.id).to_dict() == event.to_dict()


def test_a_thin_event_is_parsed_and_fetched_with_its_object(shop: Shop) -> None:
    told = shop.double.told("customer.subscription.created")[0]
    hook: Any = {"event_payload": "thin"}
    body = orjson.dumps(destinations.payload(shop.double.account, hook, told)).decode()
    header = stripe.WebhookSignature.generate_signature_header(body, SECRET)
    notification = shop.client.parse_event_notification(body, header, SECRET)
    assert type(notification).__name__ == "V1CustomerSubscriptionCreatedEventNotification"
    event = notification.fetch_event()
    assert event.snapshot_event == told.id
    related = notification.fetch_related_object()  # type: ignore[union-attr]
    assert isinstance(related, stripe.Subscription)
    assert related.id == shop.subscription


def test_destinations_are_kept_through_the_typed_client(shop: Shop) -> None:
    service = shop.client.v2.core.event_destinations
    made = service.create(
        {
            "name": "ours",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": ["v1.invoice.paid"],
            "webhook_endpoint": {"url": "https://example.com/hook"},
            "include": ["webhook_endpoint.signing_secret"],
        }
    )
    assert made.webhook_endpoint is not None
    assert made.webhook_endpoint.signing_secret
    assert service.disable(made.id).status == "disabled"
    assert service.ping(made.id).type == "v2.core.event_destination.ping"
    assert service.delete(made.id).id == made.id
    assert service.list().data == []
