"""Whatever people do and in whatever order, the account's money adds up and its history is whole."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.northwind import plans
from lab.northwind.quarter import START, delivered
from lab.northwind.shop import Buyer, Shop
from millrace_lab.account import DAY, HOUR, Account
from millrace_lab.errors import Body, StripeError
from millrace_lab.payments.declines import DECLINES
from millrace_lab.rendering import shown

OPENS = int(START.timestamp())
ENDED = ("canceled", "incomplete_expired")
CURRENCY_TAX = [
    ("usd", None),
    ("eur", plans.VAT_EXCLUSIVE),
    ("eur", plans.VAT_INCLUSIVE),
    ("jpy", plans.CONSUMPTION_TAX),
]
CARD_DECLINES = sorted(
    code for code in DECLINES if not code.startswith(("bank_", "debit_", "account_", "no_"))
)
Move = Callable[[Buyer, random.Random], object]


def opened(currency: str, tax_rate: str | None) -> Buyer:
    buyer = Buyer(Shop(1, OPENS, twins=0.0), 1)
    buyer.currency = currency
    buyer.arrives()
    buyer.tax_rate = tax_rate
    return buyer


FIT = {  # the statuses with which most moves make sense
    "subscription": ("active", "trialing", "past_due", "unpaid", "paused", "incomplete"),
    "invoice": ("open",),
    "charge": ("succeeded",),
    "credit_note": ("issued",),
}


def pick(b: Buyer, kind: str, chance: random.Random, *fit: str) -> str:
    """One of a kind: mostly one whose status fits."""
    found = list(b.shop.account.all(kind))
    if kind in FIT and chance.random() < 0.9:
        found = [it for it in found if it["status"] in (fit or FIT[kind])] or found
    return str(chance.choice(found[-3:])["id"]) if found else "none"


def subscribe(b: Buyer, chance: random.Random) -> None:
    days = chance.choice((0, 0, 2, 7))
    trial: dict[str, Any] = {"trial_period_days": days} if days else {}
    missing = chance.choice(("create_invoice", "cancel", "pause"))
    percent = chance.choice((0, 0, 0, *plans.PERCENTS_OFF))
    ending = chance.choice(("canceled", "unpaid", "past_due", "paused"))
    b.subscribes(
        quantity=chance.randint(1, 9),
        trial_settings={"end_behavior": {"missing_payment_method": missing}},
        discounts=[{"coupon": plans.coupon(percent)}] if percent else [],
        metadata={"lab_dunning": ending + chance.choice(("", "+uncollectible"))},
        **trial,
    )


def new_card(b: Buyer, chance: random.Random) -> None:
    words = [chance.choice(("ok", "ok", chance.choice(CARD_DECLINES))) for _ in range(chance.randint(1, 3))]
    abroad = "usd" if b.currency == "eur" and chance.random() < 0.5 else None
    b.brings_card(*words, settles_in=abroad, settles_after=chance.choice((0, 60)))


def change(b: Buyer, chance: random.Random) -> None:
    sub = b.shop.api.get(f"/v1/subscriptions/{pick(b, 'subscription', chance)}")
    item: Body = {"id": sub["items"]["data"][0]["id"], "quantity": chance.randint(1, 9)}
    if chance.random() < 0.5:
        item["price"] = b.price(chance.choice(plans.PLANS))
    how = chance.choice(("create_prorations", "always_invoice", "none"))
    b.post(f"/v1/subscriptions/{sub['id']}", items=[item], proration_behavior=how)


def refund(b: Buyer, chance: random.Random) -> None:
    charge = b.shop.api.get(f"/v1/charges/{pick(b, 'charge', chance)}")
    later = {"lab_settles_after": str(chance.choice((0, HOUR)))}
    fails = {"lab_fails_after": str(DAY)} if chance.random() < 0.5 else {}
    b.post(
        "/v1/refunds", charge=charge["id"], amount=chance.randint(1, charge["amount"]), metadata=later | fails
    )


def credit(b: Buyer, chance: random.Random) -> None:
    invoice = b.shop.api.get(f"/v1/invoices/{pick(b, 'invoice', chance, 'open', 'paid')}")
    amount = chance.randint(1, max(1, invoice["total"]))
    where = chance.choice(("refund_amount", "credit_amount", "out_of_band_amount"))
    given = {where: amount} if invoice["status"] == "paid" else {}
    b.post("/v1/credit_notes", invoice=invoice["id"], amount=amount, **given)


def at(kind: str, path: str, **params: Any) -> Move:
    """A request about any object of a kind."""
    return lambda b, chance: b.post(path.format(pick(b, kind, chance)), **params)


def cancel_now(b: Buyer, chance: random.Random) -> None:
    b.shop.api.delete(f"/v1/subscriptions/{pick(b, 'subscription', chance)}")


SUBSCRIPTION, INVOICE = "/v1/subscriptions/{}", "/v1/invoices/{}"
MOVES: dict[str, Move] = {
    "subscribe": subscribe,
    "new card": new_card,
    "bank says ok": at("payment_method", "/v1/payment_methods/{}", metadata={"lab_bank": "ok"}),
    "bank says no": at("payment_method", "/v1/payment_methods/{}", metadata={"lab_bank": "generic_decline"}),
    "change": change,
    "cancel now": cancel_now,
    "cancel at period end": at("subscription", SUBSCRIPTION, cancel_at_period_end=True),
    "keep": at("subscription", SUBSCRIPTION, cancel_at=""),
    "pause": at("subscription", SUBSCRIPTION + "/pause"),
    "resume": at("subscription", SUBSCRIPTION + "/resume"),
    "pause collection, void": at("subscription", SUBSCRIPTION, pause_collection={"behavior": "void"}),
    "pause collection, drafts": at(
        "subscription", SUBSCRIPTION, pause_collection={"behavior": "keep_as_draft"}
    ),
    "pause collection, write off": at(
        "subscription", SUBSCRIPTION, pause_collection={"behavior": "mark_uncollectible"}
    ),
    "resume collection": at("subscription", SUBSCRIPTION, pause_collection=""),
    "pay": at("invoice", INVOICE + "/pay"),
    "pay outside": at("invoice", INVOICE + "/pay", paid_out_of_band=True),
    "void": at("invoice", INVOICE + "/void"),
    "write off": at("invoice", INVOICE + "/mark_uncollectible"),
    "credit": credit,
    "void credit": at("credit_note", "/v1/credit_notes/{}/void"),
    "refund": refund,
}
WAITS = (0, 0, 1, HOUR, DAY, 3 * DAY, 9 * DAY, 31 * DAY)


def play(b: Buyer, moves: list[tuple[str, int]], chance: random.Random) -> Account:
    """Time passes, somebody acts, and what is refused leaves the account as it was."""
    account = b.shop.account
    for name, wait in moves:
        b.shop.wait(b.shop.now + wait)
        before, told = dict(account.objects), len(account.events)
        try:
            MOVES[name](b, chance)
        except StripeError as refused:
            assert refused.status < 500, refused
            if name not in ("new card", "subscribe") and not refused.keep:
                assert (account.objects, len(account.events)) == (before, told), (name, refused.message)
    return account


@settings(max_examples=100, deadline=None)
@given(
    start=st.sampled_from(CURRENCY_TAX),
    moves=st.lists(
        st.tuples(st.sampled_from(sorted(MOVES)), st.sampled_from(WAITS)), min_size=12, max_size=40
    ),
    seed=st.integers(0, 2**32),
)
def test_any_sequence_of_actions_keeps_the_account_whole(
    start: tuple[str, str | None], moves: list[tuple[str, int]], seed: int
) -> None:
    opening = [("new card", 0), ("subscribe", 1), *moves]
    account = play(opened(*start), opening, random.Random(seed))
    the_invoices_add_up(account)
    the_money_adds_up(account)
    the_history_is_whole(account)


def the_invoices_add_up(account: Account) -> None:
    for it in account.all("invoice"):
        exclusive = sum(tax["amount"] for tax in it["total_taxes"] if tax["tax_behavior"] == "exclusive")
        discounted = sum(off["amount"] for off in it["total_discount_amounts"])
        assert it["subtotal"] == sum(line["amount"] for line in it["_lines"])
        assert it["total"] == it["subtotal"] - discounted + exclusive
        assert it["amount_paid"] + it["amount_remaining"] == it["amount_due"] >= 0
        if it["status"] != "draft":
            moved = it["ending_balance"] - it["starting_balance"]
            assert it["amount_due"] == it["total"] - moved - it["pre_payment_credit_notes_amount"]
        if it["status"] == "paid":
            assert it["amount_remaining"] == 0
        if it["status"] == "draft":
            assert it["amount_paid"] == 0


def the_money_adds_up(account: Account) -> None:
    charged: dict[str, int] = defaultdict(int)
    for charge in account.all("charge"):
        kept = sum(r["amount"] for r in account.of("refund", charge["id"]) if r["status"] != "failed")
        assert kept == charge["amount_refunded"] <= charge["amount"]
        charged[charge["_invoice"]] += charge["amount"] if charge["status"] == "succeeded" else 0
    for it in account.all("invoice"):
        assert charged[it["id"]] == it["amount_paid"] - (it["amount_paid"] if it["_paid_out_of_band"] else 0)
    balances: dict[str, int] = defaultdict(int)
    for moved in account.all("customer_balance_transaction"):
        balances[moved["currency"]] += moved["amount"]
    (customer,) = account.all("customer")
    assert balances[customer["currency"]] == customer["balance"]
    named = {
        moved["id"]: moved["net"]
        for _, event in delivered(account)
        for name in ("balance_transaction", "failure_balance_transaction")
        if (moved := event["data"]["object"].get(name)) is not None
    }
    assert named == {moved["id"]: moved["net"] for moved in account.all("balance_transaction")}


def the_history_is_whole(account: Account) -> None:
    """`previous_attributes` lead back to what was told before, and nothing changes that is not told."""
    last: dict[str, Body] = {}
    for told in account.events:
        body = told.object
        if body["object"] == "subscription":
            before = last.get(body["id"])
            if before is None:
                assert told.type == "customer.subscription.created"
            elif told.previous is not None:
                assert restored(seen(body), told.previous) == before
            assert before is None or before["status"] not in ENDED
            last[body["id"]] = seen(body)
    assert last == {sub["id"]: seen(sub) for sub in account.all("subscription")}


def seen(body: Body) -> Any:
    return shown(body)


def restored(after: Any, previous: Any) -> Any:
    """The body that an update started from: what changed as it was, the rest as it is."""
    nested = isinstance(after, dict) and isinstance(previous, dict) and previous.keys() <= after.keys()
    if not nested:
        return previous
    return after | {key: restored(after[key], old) for key, old in previous.items()}


@settings(max_examples=30, deadline=None)
@given(
    moves=st.lists(st.tuples(st.sampled_from(sorted(MOVES)), st.sampled_from(WAITS)), max_size=25),
    seed=st.integers(0, 2**32),
)
def test_the_same_actions_make_the_same_events(moves: list[tuple[str, int]], seed: int) -> None:
    opening = [("new card", 0), ("subscribe", 1), *moves]
    one, two = (delivered(play(opened("usd", None), opening, random.Random(seed))) for _ in range(2))
    assert one == two
