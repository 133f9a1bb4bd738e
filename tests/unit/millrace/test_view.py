"""The rules of the normalised view: which place wins, what is not told, what is Poison, and nothing else."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import stripe as sdk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.northwind import quarter
from millrace.errors import Poison
from millrace.events import Event
from millrace.events import view as views
from millrace.events.view import KINDS, PARTS, View, view
from millrace.events.view import field as kinds
from millrace.events.view.__main__ import table
from millrace.events.view.field import Place
from millrace.money import Money
from tests.unit.millrace.test_view_versions import SHORT, TOLD_EVENTS, body, sealed, view_of

ROOT = Path(__file__).parents[3]
CLASSES: list[type[View]] = list(dict.fromkeys([*KINDS.values(), *PARTS]))

# A value of each kind as it may stand in a body, and as a view tells it.
SAMPLES: dict[Callable[..., Any], list[tuple[Any, Any]]] = {
    kinds.as_identity: [("x_1", "x_1"), ({"id": "x_1", "object": "x"}, "x_1")],
    kinds.as_text: [("word", "word")],
    kinds.as_whole: [(7, 7), (0, 0), (-7, -7)],
    kinds.as_flag: [(True, True), (False, False)],
    kinds.as_decimal: [("0.125", Decimal("0.125")), (3, Decimal(3)), (12.5, Decimal("12.5"))],
    kinds.as_instant: [(1772323200, datetime(2026, 3, 1, tzinfo=UTC))],
    kinds.as_money: [(-1999, Money(-1999, "eur")), (0, Money(0, "eur"))],
    kinds.as_references: [(["x_1", {"id": "x_2"}], ("x_1", "x_2")), ([], ())],
}
WRONG: dict[Callable[..., Any], list[Any]] = {
    kinds.as_identity: [7, True, ["x_1"], {"name": "x"}],
    kinds.as_text: [7, {"id": "x"}],
    kinds.as_whole: [7.0, "7", True],
    kinds.as_flag: [1, "true"],
    kinds.as_decimal: ["much", "nan", True, [1]],
    kinds.as_instant: ["soon", "2026-03-01T00:00:00", 1.5, 10**20, True],
    kinds.as_money: [1.5, "1", True],
    kinds.as_references: ["x_1", [7], {"data": ["x_1"], "has_more": True}],
}


def places(cls: type[View]) -> Iterator[tuple[str, Place, Callable[..., Any]]]:
    """The places of a class at which one value stands."""
    for name, field in cls.fields().items():
        for place in field.places:
            if field.kind in SAMPLES and not place.rule:
                yield name, place, field.kind


def put(path: str, value: Any, **rest: Any) -> dict[str, Any]:
    """A body with a value at a dotted path, and a currency for what is an amount."""
    first, _, more = path.partition(".")
    return {"currency": "eur", **rest, first: put(more, value) if more else value}


@pytest.mark.parametrize("cls", CLASSES)
def test_each_place_tells_its_field_alone(cls: type[View]) -> None:
    for name, place, kind in places(cls):
        for written, told in SAMPLES[kind]:
            assert getattr(cls(put(place.text, written)), name) == told, f"{name} at {place.text}"


@pytest.mark.parametrize("cls", CLASSES)
def test_a_value_of_another_kind_is_named(cls: type[View]) -> None:
    for name, place, kind in places(cls):
        for written in WRONG[kind]:
            with pytest.raises(Poison, match=re.escape(f".{place.text}")):
                getattr(cls(put(place.text, written)), name)


@pytest.mark.parametrize("cls", CLASSES)
def test_what_is_sealed_is_not_told(cls: type[View]) -> None:
    for name, place, _ in places(cls):
        for token in ("sealed:AQAAq", {"$sealed": "sealed:AQAAq"}, None):
            if name not in ("id", "currency"):  # these never are
                assert getattr(cls(put(place.text, token)), name) in (None, ()), f"{name} at {place.text}"


@pytest.mark.parametrize("cls", CLASSES)
def test_newer_places_come_first(cls: type[View]) -> None:
    """A body that tells a field twice is read where its newest version keeps it."""
    for name, field in cls.fields().items():
        paths = [place for place in field.places if not place.rule]
        kept = [place.until for place in paths]
        assert kept == sorted(kept, key=bool), f"{cls.__name__}.{name}: an older place stands before a newer"
        if len(paths) > 1 and field.kind is kinds.as_identity:
            first, second = paths[0].text, paths[1].text
            if first.split(".")[0] != second.split(".")[0]:
                assert getattr(cls({**put(second, "older"), **put(first, "newer")}), name) == "newer"


def test_an_amount_without_a_currency_is_named() -> None:
    with pytest.raises(Poison, match=r"invoice\.currency is missing or no currency, and total is an amount"):
        _ = views.Invoice({"object": "invoice", "total": 1}).total
    with pytest.raises(Poison, match=r"invoice\.lines\[0\]\.currency"):
        _ = views.Invoice({"object": "invoice", "lines": [{"amount": 1}]}).lines[0].amount


def test_an_object_without_its_id_is_named() -> None:
    with pytest.raises(Poison, match=r"invoice has no id: the invoice's id"):
        _ = views.Invoice({"object": "invoice"}).id


@pytest.mark.parametrize("cls", [views.Invoice, views.Subscription, views.CreditNote])
def test_a_list_that_is_cut_short_is_never_taken_for_whole(cls: type[View]) -> None:
    name = "items" if cls is views.Subscription else "lines"
    with pytest.raises(Poison, match=rf"{name} is cut short: has_more is true"):
        getattr(cls({name: {"data": [{"id": "x"}], "has_more": True}}), name)


SECONDS, INSTANT = 1775001600, datetime(2026, 4, 1, tzinfo=UTC)
LINE = {"parent": {"subscription_item_details": {"subscription": "sub_1"}}}
PAYMENT = {"id": "inpay_1", "payment": {"type": "charge", "charge": "ch_1"}}
GRANT = {"amount": 8, "type": "credit_balance_transaction", "credit_balance_transaction": "cbtxn_1"}
COUPON = {"id": "co_1", "amount_off": 500, "currency": "eur"}

RULES: dict[str, tuple[View, str, Any]] = {
    "the end of the period, asked for the classic way": (
        views.Subscription({"cancel_at_period_end": True, "items": [{"current_period_end": SECONDS}]}),
        "cancels_at",
        INSTANT,
    ),
    "the same, before basil": (
        views.Subscription({"cancel_at_period_end": True, "current_period_end": SECONDS, "items": [{}]}),
        "cancels_at",
        INSTANT,
    ),
    "nobody asked": (views.Subscription({"cancel_at_period_end": False}), "cancels_at", None),
    "a subscription without items has its own period": (
        views.Subscription({"current_period_end": SECONDS}),
        "period_end",
        INSTANT,
    ),
    "items that end apart": (
        views.Subscription({"items": [{"current_period_end": 1}, {"current_period_end": SECONDS}]}),
        "period_end",
        INSTANT,
    ),
    "paused before endive": (
        views.Subscription({"status": "paused"}),
        "pause",
        "trial_end_without_payment_method",
    ),
    "paused since endive, for a reason that is not told": (
        views.Subscription({"status": "paused", "status_details": None}),
        "pause",
        None,
    ),
    "paused by a way that is new": (
        views.Subscription({"status_details": {"paused": {"subscription": {"type": "by_moonlight"}}}}),
        "pause",
        "by_moonlight",
    ),
    "an item in the age of plans": (
        views.Item({"plan": {"id": "plan_1", "amount": 500, "currency": "eur", "interval": "month"}}),
        "price.unit_amount",
        Money(500, "eur"),
    ),
    "a price that is not expanded": (views.Item({"price": "price_1"}), "price.id", "price_1"),
    "a quantity of more places": (
        views.Item({"quantity": 1, "quantity_decimal": "1.25"}),
        "quantity",
        Decimal("1.25"),
    ),
    "a subscription that only a line names": (
        views.Invoice({"parent": None, "lines": {"data": [{}, LINE], "has_more": True}}),
        "subscription",
        "sub_1",
    ),
    "a tax that is one amount": (
        views.Invoice({"tax": 190, "currency": "eur"}),
        "taxes.0.amount",
        Money(190, "eur"),
    ),
    "no tax at all": (views.Invoice({"total_taxes": [], "tax": 190}), "taxes", ()),
    "an inclusive tax": (
        views.Invoice({"total_taxes": [{"tax_behavior": "inclusive"}]}),
        "taxes.0.inclusive",
        True,
    ),
    "paid, by its status": (views.Invoice({"status": "paid", "paid": False}), "paid", True),
    "paid outside Stripe, before basil": (
        views.Invoice({"paid_out_of_band": True}),
        "paid_out_of_band",
        True,
    ),
    "paid outside Stripe, since dahlia": (
        views.Invoice({"amount_paid_off_stripe": 5, "currency": "eur"}),
        "paid_out_of_band",
        True,
    ),
    "payments that are expanded": (
        views.Invoice({"payments": {"data": [PAYMENT]}}),
        "payments.0.charge",
        "ch_1",
    ),
    "payments that are not told": (views.Invoice({}), "payments", None),
    "paid by a charge, before basil": (
        views.Invoice({"charge": {"id": "ch_1"}}),
        "payments.0.type",
        "charge",
    ),
    "prepaid credits": (
        views.Line({"pretax_credit_amounts": [GRANT], "currency": "eur"}),
        "pretax_credits.0.credit_balance_transaction",
        "cbtxn_1",
    ),
    "a discount that both places tell": (
        views.Invoice({"discounts": ["di_1", "di_2"], "discount": {"id": "di_2", "coupon": COUPON}}),
        "discounts.1.coupon.amount_off",
        Money(500, "eur"),
    ),
    "a discount that is expanded": (
        views.Invoice({"discounts": [{"id": "di_1", "source": {"coupon": COUPON, "type": "coupon"}}]}),
        "discounts.0.coupon.id",
        "co_1",
    ),
    "a discount in the old place alone": (
        views.Subscription({"discounts": [], "discount": {"id": "di_1", "coupon": COUPON}}),
        "discounts.0.coupon.id",
        "co_1",
    ),
    "a customer who was never billed": (views.Customer({"currency": None, "balance": 0}), "balance", None),
    "an order of somebody else's": (
        views.Charge({"payment_details": {"order_reference": "order-7"}}),
        "invoice",
        None,
    ),
    "a note before payment, before clover": (
        views.CreditNote({"type": "pre_payment", "total": 5, "currency": "eur"}),
        "pre_payment",
        Money(5, "eur"),
    ),
    "a mixed note": (
        views.CreditNote({"type": "mixed", "total": 5, "pre_payment_amount": 2, "currency": "eur"}),
        "pre_payment",
        Money(2, "eur"),
    ),
    "a mixed note that does not say": (
        views.CreditNote({"type": "mixed", "total": 5, "currency": "eur"}),
        "pre_payment",
        None,
    ),
    "a dispute that opens again": (
        views.Dispute({"status": "appeal_under_review"}),
        "status",
        "appeal_under_review",
    ),
    "a till by its older name": (views.CheckoutSession({"ui_mode": "embedded"}), "ui_mode", "embedded_page"),
    "a phase in the old place": (views.Phase({"coupon": "co_1", "discounts": []}), "coupons", ("co_1",)),
    "an account of /v2": (
        views.Account({"created": "2026-04-01T02:00:00.000+02:00"}),
        "created_at",
        INSTANT,
    ),
    "an entitlement": (
        views.EntitlementSummary({"entitlements": {"data": [{"lookup_key": "boards"}], "has_more": False}}),
        "features.0.lookup_key",
        "boards",
    ),
}


@pytest.mark.parametrize("case", RULES)
def test_the_rules(case: str) -> None:
    found, path, told = RULES[case]
    assert along(found, path) == told


def along(found: Any, path: str) -> Any:
    for name in path.split("."):
        found = found[int(name)] if name.isdigit() else getattr(found, name)
    return found


def event(data: Any, type_: str = "stripe.invoice.paid") -> Event:
    return Event(
        id="evt_1", type=type_, source="stripe/acct_1", subject="in_1",
        time=datetime(2026, 3, 1, tzinfo=UTC), key="acct_1/cus_1", schema="2026-10-28.endive", data=data,
    )  # fmt: skip


def test_an_event_has_the_view_of_its_object() -> None:
    found = view(event({"data": {"object": {"object": "invoice", "id": "in_1"}}}))
    assert isinstance(found, views.Invoice)
    assert found.id == "in_1"
    assert views.Invoice.of(event({"data": {"object": {"id": "in_1"}}})).id == "in_1"


@pytest.mark.parametrize("named", ["mandate", None, ["invoice"], {"invoice": 1}])
def test_a_kind_without_a_view_has_none(named: Any) -> None:
    assert view(event({"data": {"object": {"object": named}}})) is None


def test_an_event_of_ours_has_none_and_one_without_its_object_is_poison() -> None:
    assert view(event({}, type_="millrace.dunning.changed")) is None
    with pytest.raises(Poison, match=r"data\.object is missing"):
        view(event({}))


def test_a_view_is_frozen_equal_by_its_fields_and_silent() -> None:
    one, other = (
        views.Customer({"id": "cus_1", "email": email}) for email in ("a@example.com", "b@example.com")
    )
    assert one == other
    assert one != views.Customer({"id": "cus_2"})
    assert repr(one) == "<Customer cus_1>"
    with pytest.raises(AttributeError, match="a view is frozen"):
        one.balance = None
    assert one.customer_account is one.customer_account is None


# Whatever a body holds

WORDS = sorted({name for cls in CLASSES for f in cls.fields().values() for p in f.places for name in p.names})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["sealed:A", "eur"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)
BODIES = [body(version, name) for version, name in TOLD_EVENTS if version in (SHORT[0], SHORT[-1])]


def read_all(found: View) -> None:
    """Every field by itself: one that is Poison does not hide the next."""
    for name in type(found).fields():
        try:
            read_inside(getattr(found, name))
        except Poison as problem:
            assert str(problem)


def read_inside(value: Any) -> None:
    for part in value if isinstance(value, tuple) else (value,):
        if isinstance(part, View):
            read_all(part)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.dictionaries(st.sampled_from(WORDS), JSON, max_size=8), cls=st.sampled_from(CLASSES))
def test_any_object_gives_a_view_or_poison(body: dict[str, Any], cls: type[View]) -> None:
    read_all(cls(body))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(whole=st.sampled_from(BODIES), value=JSON, data=st.data())
def test_a_body_with_anything_anywhere_gives_a_view_or_poison(
    whole: dict[str, Any], value: Any, data: st.DataObject
) -> None:
    broken = copy.deepcopy(whole)
    holder, name = data.draw(st.sampled_from(list(spots(broken))))
    holder[name] = value
    read_all(KINDS[whole["object"]](broken))


def spots(found: Any) -> Iterator[tuple[Any, Any]]:
    for name, inner in list(found.items() if isinstance(found, dict) else enumerate(found)):
        yield found, name
        if isinstance(inner, dict | list):
            yield from spots(inner)


def test_a_quarter_of_the_newest_bodies_is_read_whole_sealed_or_not() -> None:
    """What the Stripe double sends, which stripe-python has nothing to say against."""
    seen: dict[str, int] = {}
    for _, whole in quarter.build(seed=1).events:
        kind, times = whole["data"]["object"]["object"], seen.get(whole["type"], 0)
        if kind in KINDS and times < 5:
            seen[whole["type"]] = times + 1
            assert view_of(sealed(whole)) == view_of(whole)
    assert len(seen) > 20


# What the table says

# Read wherever they are told, though stripe-python does not name them in this object.
UNNAMED = {
    "CreditNoteLine.currency at currency",
    "Invoice.finalized_at at finalized_at",
    "Item.quantity at quantity_decimal",
    "Line.subscription_item at parent.invoice_item_details.subscription_item",
}
SDK: dict[type[View], Any] = {
    views.Subscription: sdk.Subscription,
    views.Item: sdk.SubscriptionItem,
    views.Schedule: sdk.SubscriptionSchedule,
    views.Phase: sdk.SubscriptionSchedule.Phase,
    views.PhaseItem: sdk.SubscriptionSchedule.Phase.Item,
    views.Invoice: sdk.Invoice,
    views.Line: sdk.InvoiceLineItem,
    views.InvoicePayment: sdk.InvoicePayment,
    views.CreditNote: sdk.CreditNote,
    views.CreditNoteLine: sdk.CreditNoteLineItem,
    views.Charge: sdk.Charge,
    views.PaymentIntent: sdk.PaymentIntent,
    views.Refund: sdk.Refund,
    views.Dispute: sdk.Dispute,
    views.BalanceTransaction: sdk.BalanceTransaction,
    views.Payout: sdk.Payout,
    views.CheckoutSession: sdk.checkout.Session,
    views.Customer: sdk.Customer,
    views.Account: sdk.v2.core.Account,
    views.EntitlementSummary: sdk.entitlements.ActiveEntitlementSummary,
    views.Feature: sdk.entitlements.ActiveEntitlement,
    views.Price: sdk.Price,
    views.Product: sdk.Product,
    views.Coupon: sdk.Coupon,
    views.Discount: sdk.Discount,
    views.PromotionCode: sdk.PromotionCode,
}


def test_the_newest_places_are_known_to_stripes_own_library() -> None:
    strange = {
        f"{cls.__name__}.{name} at {place.text}"
        for cls, kind in SDK.items()
        for name, field in cls.fields().items()
        for place in field.places
        if not (place.rule or place.until or known(kind, place.names))
    }
    assert strange == UNNAMED


def known(kind: Any, names: tuple[str, ...]) -> bool:
    """Whether a typed resource has a path, as far as its types go: what may be expanded has every path."""
    for name in names:
        if not any(name in vars(base).get("__annotations__", {}) for base in kind.__mro__):
            return False
        if (kind := getattr(kind, "_inner_class_types", {}).get(name)) is None:
            return True
    return True


def test_the_documented_table_is_the_one_that_is_read() -> None:
    written = (ROOT / "docs" / "stripe-view.md").read_text()
    assert written.endswith(table()), "python -m millrace.events.view writes the table anew"
