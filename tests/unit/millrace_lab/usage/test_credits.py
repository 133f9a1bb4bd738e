"""Billing credits: granted, drawn in order, expired, voided and given back."""

from __future__ import annotations

import pytest

from millrace_lab.account import DAY
from tests.unit.millrace_lab.usage.shops import TRANSACTIONS, Body, Prepaid


def test_a_grant_is_told_with_its_first_transaction() -> None:
    shop = Prepaid()
    mark = shop.stripe.mark()
    grant = shop.grant(500, name="Welcome", category="promotional")
    assert shop.stripe.types(mark) == ["billing.credit_grant.created", TRANSACTIONS]
    assert (grant["priority"], grant["effective_at"], grant["expires_at"]) == (50, shop.stripe.now, None)
    assert shop.left() == 500
    listed = shop.stripe.get("/v1/billing/credit_balance_transactions", customer=shop.customer)["data"]
    assert [each["credit_grant"] for each in listed] == [grant["id"]]
    one = shop.stripe.get(f"/v1/billing/credit_balance_transactions/{listed[0]['id']}")
    assert one["credit"]["type"] == "credits_granted"


ORDER = """
 name        priority  expires  category     | drawn
 last        60        10       promotional  | 6
 late        50        -        promotional  | 4
 later       50        -        paid         | 5
 soon        50        20       paid         | 3
 sooner      50        20       promotional  | 2
 first       10        -        paid         | 1
"""


def test_grants_are_drawn_by_priority_then_expiry_then_promotional_then_age() -> None:
    shop = Prepaid()
    names = {}
    places = {}
    for row in ORDER.strip().splitlines()[1:]:
        name, priority, expires, category, _, place = row.split()
        more: Body = {} if expires == "-" else {"expires_at": shop.stripe.now + int(expires) * DAY}
        names[shop.grant(10, priority=int(priority), category=category, name=name, **more)["id"]] = name
        places[name] = int(place)
    entries = shop.draw(shop.line(60))["il_1"]
    drawn = [
        shop.stripe.account.objects[each["credit_balance_transaction"]]["credit_grant"] for each in entries
    ]
    assert [names[grant] for grant in drawn] == sorted(places, key=places.__getitem__)


def test_credits_pay_for_metered_lines_after_their_discounts() -> None:
    shop = Prepaid()
    shop.grant(1000)
    item = shop.line(70, name="il_item") | {"parent": {"type": "invoice_item_details"}}
    found = shop.draw(
        shop.line(500, shop.flat, name="il_flat"), item, shop.line(300, off=100, name="il_used")
    )
    assert {line: sum(e["amount"] for e in entries) for line, entries in found.items()} == {"il_used": 200}
    assert shop.left() == 800


def test_a_grant_for_one_price_pays_for_that_price_only() -> None:
    shop = Prepaid()
    shop.grant(1000, applicability_config={"scope": {"prices": [{"id": shop.other}]}})
    assert [*shop.draw(shop.line(300, name="il_a"), shop.line(300, shop.other, name="il_b"))] == ["il_b"]


def test_several_grants_and_lines_share_until_nothing_is_left() -> None:
    shop = Prepaid()
    mark = shop.stripe.mark()
    shop.grant(250, priority=1)
    shop.grant(100, priority=2)
    found = shop.draw(shop.line(200, name="il_a"), shop.line(200, name="il_b"))
    assert {line: [e["amount"] for e in entries] for line, entries in found.items()} == {
        "il_a": [200],
        "il_b": [50, 100],
    }
    assert shop.left() == 0
    assert shop.moves(mark)[2:] == [
        ("credits_applied", 200),
        ("credits_applied", 50),
        ("credits_applied", 100),
    ]
    assert shop.draw(shop.line(10)) == {}


@pytest.mark.parametrize(
    ("terms", "waited", "drawn"),
    [
        ({"effective_at": 5 * DAY}, "1d", 0),
        ({"effective_at": 5 * DAY}, "5d", 100),
        ({"expires_at": 5 * DAY}, "4d", 100),
        ({"expires_at": 5 * DAY}, "5d", 0),
    ],
)
def test_a_grant_is_drawn_from_its_first_second_until_its_last(
    terms: dict[str, int], waited: str, drawn: int
) -> None:
    shop = Prepaid()
    dates: Body = {name: shop.stripe.now + after for name, after in terms.items()}
    shop.grant(100, **dates)
    shop.stripe.wait(waited)
    assert shop.left() == drawn
    found = shop.draw(shop.line(100))
    assert sum(entry["amount"] for entry in found.get("il_1", [])) == drawn


def test_other_currencies_are_not_drawn() -> None:
    shop = Prepaid()
    shop.grant(100, currency="eur")
    assert shop.draw(shop.line(100)) == {}


def test_what_is_left_expires_with_its_grant() -> None:
    shop = Prepaid()
    shop.grant(100, expires_at=shop.stripe.now + DAY)
    shop.draw(shop.line(30))
    mark = shop.stripe.mark()
    shop.stripe.wait("1d")
    assert shop.moves(mark) == [("credits_expired", 70)]
    assert shop.stripe.types(mark) == [TRANSACTIONS]


def test_an_expiry_moves_with_its_grant() -> None:
    shop = Prepaid()
    grant = shop.grant(100, expires_at=shop.stripe.now + DAY)
    mark = shop.stripe.mark()
    shop.stripe.post(f"/v1/billing/credit_grants/{grant['id']}", expires_at="", metadata={"kept": "yes"})
    assert shop.stripe.told("billing.credit_grant.updated")[0].previous == {
        "expires_at": grant["expires_at"],
        "metadata": {},
    }
    shop.stripe.wait("3d")
    assert shop.moves(mark) == []
    assert shop.left() == 100


def test_an_expiry_that_comes_sooner_or_later_is_the_one_that_counts() -> None:
    for days in (1, 5):
        shop = Prepaid()
        grant = shop.grant(100, expires_at=shop.stripe.now + 3 * DAY)
        at = shop.stripe.now + days * DAY
        shop.stripe.post(f"/v1/billing/credit_grants/{grant['id']}", expires_at=at)
        shop.stripe.wait(f"{days}d")
        assert shop.moves()[-1] == ("credits_expired", 100)
        assert shop.stripe.told(TRANSACTIONS)[-1].created == at


def test_in_its_last_second_a_grant_is_not_drawn_whatever_else_happens_in_it() -> None:
    shop = Prepaid()
    grant = shop.grant(100, expires_at=shop.stripe.now + DAY)
    shop.stripe.account.now = grant["expires_at"]  # before anything that is due has been done
    assert shop.draw(shop.line(100)) == {}


def test_a_voided_invoice_gives_back_and_an_expired_grant_swallows_it() -> None:
    shop = Prepaid()
    mark = shop.stripe.mark()
    shop.grant(100, priority=1, expires_at=shop.stripe.now + DAY)
    shop.grant(100, priority=2)
    shop.draw(shop.line(150))
    shop.stripe.wait("2d")
    shop.give_back()
    assert shop.left() == 100
    assert shop.moves(mark)[4:] == [
        ("credits_application_invoice_voided", 100),
        ("credits_expired", 100),
        ("credits_application_invoice_voided", 50),
    ]


def test_an_untouched_grant_is_voided_a_touched_one_can_only_expire() -> None:
    shop = Prepaid()
    untouched, touched = shop.grant(100, priority=9), shop.grant(100, priority=1)
    shop.draw(shop.line(10))
    voided = shop.stripe.post(f"/v1/billing/credit_grants/{untouched['id']}/void")
    assert voided["voided_at"] == shop.stripe.now
    assert shop.stripe.refusal("POST", f"/v1/billing/credit_grants/{touched['id']}/void")["status"] == 400
    ended = shop.stripe.post(f"/v1/billing/credit_grants/{touched['id']}/expire")
    assert ended["expires_at"] == shop.stripe.now
    assert shop.left() == 0
    assert shop.moves()[-2:] == [("credits_voided", 100), ("credits_expired", 90)]
    assert shop.stripe.refusal("POST", f"/v1/billing/credit_grants/{touched['id']}/expire")["status"] == 400


REFUSED: list[tuple[Body, str]] = [
    ({"applicability_config": {"scope": {}}}, "applicability_config[scope]"),
    (
        {"applicability_config": {"scope": {"prices": [{"id": "price_no"}]}}},
        "applicability_config[scope][prices]",
    ),
    ({"expires_at": 1}, "expires_at"),
    ({"priority": 101}, "priority"),
]


@pytest.mark.parametrize(("more", "param"), REFUSED)
def test_a_grant_that_could_never_be_used_is_refused(more: Body, param: str) -> None:
    shop = Prepaid()
    amount = {"type": "monetary", "monetary": {"currency": "usd", "value": 5}}
    scope = {"applicability_config": {"scope": {"price_type": "metered"}}}
    asked = scope | {"customer": shop.customer, "amount": amount} | more
    assert shop.stripe.refusal("POST", "/v1/billing/credit_grants", **asked)["param"] == param


def test_a_grant_for_a_price_without_a_meter_is_refused() -> None:
    shop = Prepaid()
    amount = {"type": "monetary", "monetary": {"currency": "usd", "value": 5}}
    asked = {"customer": shop.customer, "amount": amount}
    scope = {"scope": {"prices": [{"id": shop.flat}]}}
    refused = shop.stripe.refusal("POST", "/v1/billing/credit_grants", **asked, applicability_config=scope)
    assert "meter" in refused["message"]


def test_the_balance_of_one_grant_may_be_asked() -> None:
    shop = Prepaid()
    first, _ = shop.grant(100), shop.grant(7, currency="eur")
    asked = {"type": "credit_grant", "credit_grant": first["id"]}
    found = shop.stripe.get("/v1/billing/credit_balance_summary", customer=shop.customer, filter=asked)
    amount = {"type": "monetary", "monetary": {"currency": "usd", "value": 100}}
    assert found["balances"] == [{"available_balance": amount, "ledger_balance": amount}]
