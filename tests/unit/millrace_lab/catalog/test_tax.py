"""Tax: by the operator's rates and by our small table, inclusive and exclusive, to the cent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_lab.catalog import tax
from millrace_lab.rendering import shown
from tests.support.double import Double
from tests.support.stripe_spec import problems
from tests.unit.millrace_lab.catalog.shops import customer, step

Body = dict[str, Any]


def rate(percentage: float, inclusive: bool, **more: Any) -> Body:
    return {"id": f"txr_{percentage}_{inclusive}", "percentage": percentage, "inclusive": inclusive, **more}


TAXES = [
    # amount  rates                                        (tax, taxable amount) of each
    (1000, [rate(19, False)], [(190, 1000)]),
    (1190, [rate(19, True)], [(190, 1000)]),
    (1000, [rate(8.875, False)], [(89, 1000)]),  # 88.75
    (50, [rate(1, False)], [(1, 50)]),  # 0.5 rounds away from zero
    (-1000, [rate(19, False)], [(-190, -1000)]),
    (-1190, [rate(19, True)], [(-190, -1000)]),
    (1000, [rate(5, False), rate(9.975, False)], [(50, 1000), (100, 1000)]),  # 99.75; both on the same amount
    (1150, [rate(5, True), rate(10, True)], [(50, 1000), (100, 1000)]),  # together within the amount
    (1100, [rate(10, True), rate(5, False)], [(100, 1000), (50, 1000)]),  # on top of what is left
    (0, [rate(19, False)], [(0, 0)]),
    (1000, [rate(19, False, _reason="reverse_charge")], [(0, 0)]),
    (1190, [rate(19, True, _reason="customer_exempt")], [(0, 0)]),
    (1000, [], []),
]


@pytest.mark.parametrize(("amount", "rates", "expected"), TAXES)
def test_what_tax_an_amount_bears(amount: int, rates: list[Body], expected: list[tuple[int, int]]) -> None:
    entries = tax.taxes(amount, rates)
    assert [(entry["amount"], entry["taxable_amount"]) for entry in entries] == expected
    assert all(problems(entry, "billing_bill_resource_invoicing_taxes_tax") == [] for entry in entries)


@given(
    amount=st.integers(-(10**7), 10**7),
    shares=st.lists(st.integers(0, 4000), min_size=1, max_size=3, unique=True),
)
def test_what_is_within_an_amount_and_what_is_left_make_the_amount(amount: int, shares: list[int]) -> None:
    entries = tax.taxes(amount, [rate(share / 100, True) for share in shares])
    assert all(
        sum(each["amount"] for each in entries) + entry["taxable_amount"] == amount for entry in entries
    )


@given(amount=st.integers(0, 10**7), share=st.integers(0, 4000))
def test_a_credit_bears_the_tax_of_its_charge(amount: int, share: int) -> None:
    for inclusive in (True, False):
        charge, credit = (tax.taxes(sign * amount, [rate(share / 100, inclusive)])[0] for sign in (1, -1))
        assert charge["amount"] == -credit["amount"]


WHERE = [
    # country   state   automatic tax of a price of 1000, exclusive
    ("DE", None, [(190, "19", "vat")]),
    ("CH", None, [(81, "8.1", "vat")]),
    ("US", "CA", [(73, "7.25", "sales_tax")]),
    ("US", "OR", []),
    ("BR", None, []),
]


@pytest.mark.parametrize(("country", "state", "expected"), WHERE)
def test_automatic_tax_follows_the_customer(country: str, state: str | None, expected: list[Any]) -> None:
    stripe = Double()
    buyer = stripe.account.objects[customer(stripe, address={"country": country, "state": state})]
    rates = tax.rates_of(step(stripe), customer=buyer, automatic=True, defaults=[], own=[])
    found = zip(tax.taxes(1000, rates), rates, strict=True)
    assert [(entry["amount"], str(rate["percentage"]), rate["tax_type"]) for entry, rate in found] == expected
    assert all(problems(shown(rate)) == [] for rate in rates)


def test_automatic_tax_is_within_an_inclusive_price_and_makes_one_rate_a_place() -> None:
    stripe = Double()
    buyer = stripe.account.objects[customer(stripe, address={"country": "DE"})]
    doing = step(stripe)

    def entry(behavior: str | None) -> Body:
        rates = tax.rates_of(
            doing, customer=buyer, automatic=True, defaults=[], own=[], tax_behavior=behavior
        )
        return tax.taxes(1190, rates)[0]

    inclusive, exclusive, unspecified = entry("inclusive"), entry("exclusive"), entry("unspecified")
    assert (inclusive["amount"], inclusive["taxable_amount"], inclusive["tax_behavior"]) == (
        190,
        1000,
        "inclusive",
    )
    assert exclusive == unspecified
    assert (exclusive["amount"], exclusive["taxability_reason"]) == (226, "standard_rated")
    doing.commit()
    assert len(list(stripe.account.all("tax_rate"))) == 2
    assert stripe.get("/v1/tax_rates")["data"] == []  # Stripe's own rates are not the operator's


@pytest.mark.parametrize(
    ("exempt", "reason"),
    [("none", "standard_rated"), ("exempt", "customer_exempt"), ("reverse", "reverse_charge")],
)
def test_a_customer_may_be_exempt(exempt: str, reason: str) -> None:
    stripe = Double()
    buyer = stripe.account.objects[customer(stripe, address={"country": "FR"}, tax_exempt=exempt)]
    rates = tax.rates_of(step(stripe), customer=buyer, automatic=True, defaults=[], own=[])
    (entry,) = tax.taxes(1000, rates)
    assert (entry["amount"], entry["taxability_reason"]) == (200 if exempt == "none" else 0, reason)


def test_a_lines_own_rates_come_before_the_defaults() -> None:
    stripe = Double()
    buyer = stripe.account.objects[customer(stripe)]
    own, default = rate(7, False), rate(19, False)
    doing = step(stripe)
    assert tax.rates_of(doing, customer=buyer, automatic=False, defaults=[default], own=[own]) == [own]
    assert tax.rates_of(doing, customer=buyer, automatic=False, defaults=[default], own=[]) == [default]
    assert tax.rates_of(doing, customer=buyer, automatic=True, defaults=[default], own=[own]) == []


def test_without_a_country_automatic_tax_asks_for_one() -> None:
    stripe = Double()
    nowhere = stripe.account.objects[customer(stripe)]
    shipped = {"name": "Ada", "address": {"country": "IT", "line1": "Via Roma 1"}}
    moved = stripe.account.objects[customer(stripe, address={"country": "DE"}, shipping=shipped)]
    assert tax.location_status(nowhere) == "requires_location_inputs"
    assert tax.location_status(moved) == "complete"
    assert tax.location_of(moved) == {"country": "IT", "source": "shipping_destination", "state": None}


def test_a_tax_rate_is_kept_changed_and_listed() -> None:
    stripe = Double()
    made = stripe.post(
        "/v1/tax_rates",
        display_name="MwSt",
        percentage="19",
        inclusive="true",
        country="DE",
        tax_type="vat",
        metadata={"lab_id": "txr_de"},
    )
    stripe.post("/v1/tax_rates", display_name="GST", percentage="9.975", inclusive="false")
    assert (made["id"], made["percentage"], made["inclusive"]) == ("txr_de", 19, True)
    stripe.post(f"/v1/tax_rates/{made['id']}", active="false", metadata={"until": "2026"})
    assert stripe.told("tax_rate.updated")[0].previous == {"active": True, "metadata": {"lab_id": "txr_de"}}
    assert [each["percentage"] for each in stripe.get("/v1/tax_rates", active="true")["data"]] == [9.975]
    assert [each["percentage"] for each in stripe.get("/v1/tax_rates", inclusive="true")["data"]] == [19]
    assert (
        stripe.refusal("POST", f"/v1/tax_rates/{made['id']}", percentage="20")["code"] == "parameter_unknown"
    )
    wrong = {"display_name": "Much", "inclusive": "true", "percentage": "101"}
    assert stripe.refusal("POST", "/v1/tax_rates", **wrong)["param"] == "percentage"


def test_a_place_has_one_rate_for_customers_on_and_off_a_test_clock() -> None:
    stripe = Double()
    clock = stripe.post("/v1/test_helpers/test_clocks", frozen_time="1800000000")["id"]
    german = {"country": "DE"}
    there, here = customer(stripe, address=german, test_clock=clock), customer(stripe, address=german)
    found = []
    for buyer in (there, here):
        doing = step(stripe)
        body = doing.get("customer", buyer)
        found += tax.rates_of(doing, customer=body, automatic=True, defaults=[], own=[])
        assert doing.clock == (clock if buyer == there else None)
        doing.commit()
    assert found[0]["id"] == found[1]["id"]
