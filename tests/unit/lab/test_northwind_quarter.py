"""The believable quarter: the same for a seed, true in its money, whole in its history, rich in kinds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any

import orjson
import pytest

from lab.northwind import plans, quarter
from millrace_lab.account import DAY
from millrace_lab.rounding import round_half_away

Event = dict[str, Any]
ENDED = ("canceled", "incomplete_expired")
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed {seed}")
def q(request: pytest.FixtureRequest) -> quarter.Quarter:
    return quarter.build(seed=request.param)


def told(q: quarter.Quarter, *types: str) -> Iterator[Event]:
    return (event for _, event in q.events if event["type"] in types or not types)


def test_the_same_seed_makes_the_same_bytes(q: quarter.Quarter) -> None:
    again = quarter.build(seed=q.seed)
    assert orjson.dumps([event for _, event in again.events]) == orjson.dumps(list(told(q)))
    assert again.truth == q.truth


def test_another_seed_makes_another_company() -> None:
    one, two = quarter.build(seed=1, customers=60), quarter.build(seed=2, customers=60)
    assert {e["id"] for e in told(one)}.isdisjoint({e["id"] for e in told(two)})


def test_events_are_in_order_of_time_within_the_quarter_and_have_ids_of_their_own(q: quarter.Quarter) -> None:
    times = [at for at, _ in q.events]
    assert times == sorted(times)
    assert q.starts <= times[0] and times[-1] <= q.ends
    assert all(int(at.timestamp()) == event["created"] for at, event in q.events)
    assert len({event["id"] for event in told(q)}) == len(q.events)
    assert 5_000 <= len(q.events) <= 9_000


# ---------------------------------------------------------------------------------------- money


def test_every_invoice_adds_up(q: quarter.Quarter) -> None:
    for event in told(q):
        it = event["data"]["object"]
        if it["object"] != "invoice":
            continue
        lines = it["lines"]["data"]
        taxes = it["total_taxes"]
        assert it["subtotal"] == sum(line["amount"] for line in lines)
        discounted = sum(part["amount"] for part in it["total_discount_amounts"])
        assert discounted == sum(part["amount"] for line in lines for part in line["discount_amounts"])
        exclusive = sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "exclusive")
        assert it["total"] == it["subtotal"] - discounted + exclusive
        assert sum(tax["amount"] for tax in taxes) == sum(
            t["amount"] for line in lines for t in line["taxes"]
        )
        assert it["total_excluding_tax"] == it["total"] - sum(tax["amount"] for tax in taxes)
        assert it["amount_paid"] + it["amount_remaining"] == it["amount_due"]
        if it["status"] != "draft":  # too little to be charged is kept on the customer's balance
            kept = it["ending_balance"] - it["starting_balance"]
            assert it["amount_due"] == it["total"] - kept - it["pre_payment_credit_notes_amount"]
        assert it["amount_remaining"] >= 0


def test_every_proration_is_the_published_formula_rounded_once(q: quarter.Quarter) -> None:
    """Exact fractions: a debit's of the price, over the item's own period as the subscription was told; a
    credit's of what was debited last for the item, over that debit's own time."""
    periods: dict[tuple[str, int], int] = {}
    debited: dict[str, tuple[int, Event]] = {}
    debits = credits = 0
    for event in told(q):
        it = event["data"]["object"]
        if it["object"] == "subscription":
            for item in it["items"]["data"]:
                periods[item["id"], item["current_period_end"]] = item["current_period_start"]
        elif event["type"] == "invoice.created":
            for line in it["lines"]["data"]:
                details = line["parent"]["subscription_item_details"]
                if not details["proration"]:
                    off = sum(part["amount"] for part in line["discount_amounts"])
                    debited[details["subscription_item"]] = (line["amount"] - off, line["period"])
        elif event["type"] == "invoiceitem.created":
            of = it["parent"]["subscription_details"]["subscription_item"]
            at, end = it["period"]["start"], it["period"]["end"]
            if it["amount"] >= 0:
                price = int(it["pricing"]["unit_amount_decimal"]) * it["quantity"]
                exact = price * Fraction(end - at, end - periods[of, end])
                debited[of], debits = (it["amount"], it["period"]), debits + 1
            else:
                amount, whole = debited[of]
                exact = -amount * Fraction(end - at, whole["end"] - whole["start"])
                credits += 1
            assert it["amount"] == round_half_away(exact)
    assert debits >= 60 and credits >= 60


def test_a_credit_names_the_lines_that_it_gives_back(q: quarter.Quarter) -> None:
    named = 0
    for event in told(q, "invoice.created"):
        for line in event["data"]["object"]["lines"]["data"]:
            details = line["parent"]["subscription_item_details"]
            if line["amount"] < 0 and (credited := details["proration_details"]["credited_items"]):
                lines = {it["id"] for it in q.account.objects[credited["invoice"]]["_lines"]}
                assert lines >= set(credited["invoice_line_items"])
                named += 1
    assert named >= 40


def test_what_was_charged_was_paid_in_and_what_settled_is_the_balance(q: quarter.Quarter) -> None:
    paid, charged = Counter[str](), Counter[str]()
    for event in told(q, "invoice_payment.paid"):
        paid[event["data"]["object"]["invoice"]] = event["data"]["object"]["amount_paid"]
    for charge in q.account.all("charge"):
        if charge["status"] == "succeeded":
            charged[charge["_invoice"]] += charge["amount"]
    assert paid == charged
    assert paid == Counter({i["id"]: i["amount_paid"] for i in q.account.all("invoice") if i["amount_paid"]})
    for payment in q.account.all("invoice_payment"):
        assert payment["status"] != "paid" or payment["amount_paid"] == charged[payment["invoice"]]


def test_the_events_carry_every_balance_transaction_once_and_their_nets_are_the_balance(
    q: quarter.Quarter,
) -> None:
    seen: dict[str, Event] = {}
    for event in told(
        q, "charge.succeeded", "charge.updated", "refund.created", "refund.updated", "refund.failed"
    ):
        for name in ("balance_transaction", "failure_balance_transaction"):
            moved = event["data"]["object"].get(name)
            if moved is not None:
                assert seen.setdefault(moved["id"], moved) == moved
    balance = Counter[str]()
    for moved in seen.values():
        assert moved["net"] == moved["amount"] - moved["fee"]
        assert moved["fee"] == sum(part["amount"] for part in moved["fee_details"])
        balance[moved["currency"]] += moved["net"]
    assert dict(balance) == q.truth.stripe_balance
    assert seen.keys() == {moved["id"] for moved in q.account.all("balance_transaction")}


def test_every_charge_and_refund_has_settled_unless_it_is_hours_old(q: quarter.Quarter) -> None:
    for moved in [*q.account.all("charge"), *q.account.all("refund")]:
        if moved["status"] != "failed" and moved["balance_transaction"] is None:
            assert moved["created"] > q.account.now - DAY
    waiting = [
        one
        for one in q.account.all("charge")
        if one["status"] == "succeeded" and not one["balance_transaction"]
    ]
    assert sum(one["amount"] for one in waiting) == sum(q.truth.unsettled.values())


def test_refunds_never_exceed_their_charge_and_failed_ones_come_back(q: quarter.Quarter) -> None:
    for charge in q.account.all("charge"):
        made = q.account.of("refund", charge["id"])
        kept = [refund["amount"] for refund in made if refund["status"] == "succeeded"]
        assert sum(kept) == charge["amount_refunded"] <= charge["amount"]
    for refund in q.account.all("refund"):
        if refund["status"] == "failed":
            out = q.account.objects[refund["balance_transaction"]]
            back = q.account.objects[refund["failure_balance_transaction"]]
            assert out["net"] + back["net"] == 0


def test_credit_notes_add_up_on_their_invoice(q: quarter.Quarter) -> None:
    for invoice in q.account.all("invoice"):
        notes = [it for it in q.account.of("credit_note", invoice["id"]) if it["status"] == "issued"]
        for when in ("pre_payment", "post_payment"):
            credited = sum(note[f"{when}_amount"] for note in notes)
            assert credited == invoice[f"{when}_credit_notes_amount"]
        assert all(abs(tax_of(note)) <= abs(tax_of(invoice)) for note in notes)
    for event in told(q, "credit_note.created"):
        note = event["data"]["object"]
        assert note["total"] == note["total_excluding_tax"] + tax_of(note) == note["amount"]
        assert note["pre_payment_amount"] + note["post_payment_amount"] == note["amount"]


def tax_of(body: Event) -> int:
    return sum(part["amount"] for part in body["total_taxes"])


# -------------------------------------------------------------------------------------- history


def chains(q: quarter.Quarter, kind: str) -> dict[str, list[Event]]:
    """What was told about each object, in order, without second Event objects for one change."""
    chain: dict[str, list[Event]] = defaultdict(list)
    seen: set[bytes] = set()
    for event in told(q):
        if event["data"]["object"]["object"] == kind:
            content = orjson.dumps([event["type"], event["created"], event["data"]])
            if content not in seen:
                chain[event["data"]["object"]["id"]].append(event)
            seen.add(content)
    return chain


def before_change(after: Any, previous: Any) -> Any:
    """The body that an update started from: what changed as it was, the rest as it is."""
    nested = isinstance(after, dict) and isinstance(previous, dict) and previous.keys() <= after.keys()
    if not nested:
        return previous
    return after | {key: before_change(after[key], old) for key, old in previous.items()}


def test_previous_attributes_lead_every_subscription_back_to_what_was_told_before(q: quarter.Quarter) -> None:
    for chain in chains(q, "subscription").values():
        assert chain[0]["type"] == "customer.subscription.created"
        for earlier, later in pairwise(chain):
            previous = later["data"].get("previous_attributes")
            if previous is not None:
                assert previous
                assert before_change(later["data"]["object"], previous) == earlier["data"]["object"]
            elif later["type"] != "customer.subscription.deleted":
                assert later["data"]["object"] == earlier["data"]["object"], later["type"]


def test_only_updates_say_what_they_changed(q: quarter.Quarter) -> None:
    for event in told(q):
        assert ("previous_attributes" in event["data"]) == event["type"].endswith(".updated"), event["type"]


def test_a_changed_array_is_told_whole(q: quarter.Quarter) -> None:
    changed = [
        event["data"]
        for event in told(q, "customer.subscription.updated")
        if "items" in event["data"].get("previous_attributes", {})
    ]
    assert len(changed) >= 200
    for data in changed:
        assert len(data["previous_attributes"]["items"]["data"]) == len(data["object"]["items"]["data"])
        assert all("price" in item for item in data["previous_attributes"]["items"]["data"])


def test_an_ended_subscription_stays_ended(q: quarter.Quarter) -> None:
    for chain in chains(q, "subscription").values():
        statuses = [event["data"]["object"]["status"] for event in chain]
        for was, now in pairwise(statuses):
            assert was not in ENDED or now == was
        if "canceled" in statuses:
            assert chain[statuses.index("canceled")]["type"] == "customer.subscription.deleted"


FINAL = {"paid": {"paid"}, "void": {"void"}}


def test_invoices_only_move_forward(q: quarter.Quarter) -> None:
    for chain in chains(q, "invoice").values():
        for earlier, later in pairwise(chain):
            was, now = earlier["data"]["object"], later["data"]["object"]
            assert now["status"] in FINAL.get(was["status"], {now["status"]})
            assert now["attempt_count"] >= was["attempt_count"]


# ---------------------------------------------------------------------------------------- truth


def test_the_last_snapshot_told_is_the_truth(q: quarter.Quarter) -> None:
    last = {id_: chain[-1]["data"]["object"] for id_, chain in chains(q, "subscription").items()}
    assert last.keys() == q.truth.subscriptions.keys()
    for id_, truth in q.truth.subscriptions.items():
        items = tuple((item["price"]["id"], item["quantity"]) for item in last[id_]["items"]["data"])
        assert (last[id_]["status"], last[id_]["customer"], items) == (
            truth.status,
            truth.customer,
            truth.items,
        )
    invoices = {id_: chain[-1]["data"]["object"] for id_, chain in chains(q, "invoice").items()}
    assert {id_: it["status"] for id_, it in invoices.items()} == q.truth.invoices
    owed = Counter[str]()
    for it in invoices.values():
        if it["status"] == "open":
            owed[it["currency"]] += it["amount_remaining"]
    assert dict(owed) == q.truth.receivable


def test_every_failing_invoice_is_in_the_dunning_truth_with_its_end(q: quarter.Quarter) -> None:
    failing = {event["data"]["object"]["id"] for event in told(q, "invoice.payment_failed")}
    assert failing == q.truth.dunning.keys()
    ended = {
        "paid": "paid",
        "credited": "paid",
        "voided": "void",
        "open": "open",
        "uncollectible": "uncollectible",
    }
    for id_, truth in q.truth.dunning.items():
        assert ended[truth.outcome] == q.truth.invoices[id_]


# ---------------------------------------------------------------------------------- nothing thin


def happenings(q: quarter.Quarter) -> Counter[str]:
    """What kinds of things happened, read from the events and the truth."""
    count: Counter[str] = Counter()
    for event in told(q):
        count[event["type"]] += 1
        previous = event["data"].get("previous_attributes", {})
        it = event["data"]["object"]
        if it["object"] == "subscription":
            if previous.get("status") == "trialing" and it["status"] == "active":
                count["trial converts"] += 1
            if event["type"].endswith("deleted") and it["ended_at"] == it["trial_end"]:
                count["trial ends without converting"] += 1
            if "status" in previous:
                count[f"{previous['status']} -> {it['status']}"] += 1
            count["seats change"] += "quantity" in previous and it["items"]["data"][0]["quantity"] > 1
            count["plan changes"] += "plan" in previous
            count["portal cancel"] += "cancel_at" in previous and not it["cancel_at_period_end"]
            count["api cancel"] += previous.get("cancel_at_period_end") is False
            count["thinks again"] += it["cancel_at"] is None and previous.get("cancel_at") is not None
            count["pause_collection"] += "pause_collection" in previous
            count[f"ends: {it['cancellation_details']['reason']}"] += event["type"].endswith("deleted")
        if event["type"] == "charge.succeeded":
            count["settles at once" if it["balance_transaction"] else "settles later"] += 1
        if it["object"] in ("charge", "refund") and event["type"] != "charge.refunded":
            moved = it["balance_transaction"]
            count[f"{it['object']} settles in another currency"] += bool(
                moved and moved["currency"] != it["currency"]
            )
        if it["object"] == "credit_note" and event["type"].endswith("created"):
            count[f"credit note {it['type']}"] += 1
        if event["type"] == "invoice.finalized":
            count[f"billed in {it['currency']}"] += 1
            count["free invoice"] += it["total"] == 0
            count["discounted"] += bool(it["discounts"])
            for tax in it["total_taxes"]:
                count[f"tax {tax['tax_behavior']} {it['currency']}"] += 1
        if event["type"] == "charge.failed":
            count[f"declined: {it['outcome']['advice_code']}"] += 1
        if event["type"] == "customer.subscription.created":
            count[f"sells {plans.plan_of(it['items']['data'][0]['price']['lookup_key'])}"] += 1
            count["sells annual"] += it["items"]["data"][0]["price"]["recurring"]["interval"] == "year"
    for truth in q.truth.dunning.values():
        count[f"dunned, {truth.outcome}"] += truth.billing_reason != "subscription_create"
    for invoice in q.account.all("invoice"):
        written_off = invoice["status_transitions"]["marked_uncollectible_at"]
        count["paid after write-off"] += bool(written_off and invoice["status"] == "paid")
    same = Counter((event["type"], event["created"], event["data"]["object"].get("id")) for event in told(q))
    count["two Event objects for one type and second"] = sum(number > 1 for number in same.values())
    count["seconds with ties"] = sum(n > 1 for n in Counter(event["created"] for event in told(q)).values())
    return count


AT_LEAST = {
    "customer.created": 220,
    "product.created": 4,
    "price.created": 13,
    "trial converts": 20,
    "trial ends without converting": 8,
    "customer.subscription.trial_will_end": 30,
    "incomplete -> incomplete_expired": 3,
    "incomplete -> active": 120,
    "trialing -> paused": 3,
    "active -> past_due": 35,
    "past_due -> active": 25,
    "past_due -> unpaid": 3,
    "unpaid -> active": 2,
    "past_due -> paused": 2,
    "paused -> active": 4,
    "active -> paused": 4,
    "customer.subscription.paused": 8,
    "customer.subscription.resumed": 4,
    "seats change": 35,
    "plan changes": 15,
    "invoiceitem.created": 80,
    "portal cancel": 12,
    "api cancel": 1,
    "thinks again": 2,
    "pause_collection": 10,
    "ends: cancellation_requested": 18,
    "ends: payment_failed": 8,
    "invoice.payment_failed": 80,
    "declined: try_again_later": 60,
    "declined: confirm_card_data": 5,
    "declined: do_not_try_again": 4,
    "dunned, paid": 20,
    "dunned, open": 8,
    "dunned, voided": 3,
    "dunned, uncollectible": 4,
    "dunned, credited": 2,
    "paid after write-off": 2,
    "invoice.voided": 7,
    "invoice.marked_uncollectible": 6,
    "refund.created": 10,
    "refund.updated": 3,
    "refund.failed": 3,
    "charge.refunded": 10,
    "credit note pre_payment": 6,
    "credit note post_payment": 3,
    "credit_note.voided": 2,
    "settles later": 100,
    "settles at once": 150,
    "charge.updated": 100,
    "charge settles in another currency": 5,
    "refund settles in another currency": 1,
    "billed in usd": 150,
    "billed in eur": 80,
    "billed in jpy": 50,
    "tax exclusive eur": 30,
    "tax inclusive eur": 30,
    "tax exclusive jpy": 50,
    "free invoice": 40,
    "discounted": 5,
    "sells starter": 20,
    "sells team": 20,
    "sells business": 20,
    "sells scale": 10,
    "sells annual": 4,
    "two Event objects for one type and second": 20,
    "seconds with ties": 500,
}


@pytest.mark.parametrize("kind", AT_LEAST)
def test_the_quarter_has_enough_of(kind: str, counted: Counter[str]) -> None:
    assert counted[kind] >= AT_LEAST[kind]


@pytest.fixture(scope="module")
def counted(q: quarter.Quarter) -> Counter[str]:
    return happenings(q)
