"""Who may do what, and why: statuses, plans, scheduled ends and dunning's restrictions, as tables."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from entitlement.domain import access
from millrace.consumer import Record
from millrace.consumer.judge import run
from tests.support.events import record, record_of
from tests.unit.entitlement.telling import (
    CATALOG,
    DAY,
    FOLD,
    NOON,
    Body,
    Told,
    dunning,
    end_of,
    heard,
    instant,
    item,
    price,
)


def features(*records: Record | Body) -> Any:
    known = heard(records)[0].access
    assert known is not None
    return known.features


STATUSES = """
 status              verdict  reason
 incomplete          denied   subscription sub_1 is incomplete
 incomplete_expired  denied   subscription sub_1 is incomplete_expired
 trialing            limited  plan team of subscription sub_1, which is trialing
 active              limited  plan team of subscription sub_1, which is active
 past_due            limited  plan team of subscription sub_1, which is past_due
 unpaid              denied   subscription sub_1 is unpaid
 paused              denied   subscription sub_1 is paused
 canceled            denied   subscription sub_1 is canceled
 from_the_future     denied   subscription sub_1 is from_the_future
"""
ROWS = [row.split(None, 2) for row in STATUSES.strip().splitlines()[1:]]


@pytest.mark.parametrize(("status", "verdict", "reason"), ROWS)
def test_a_status_gives_access_or_it_does_not(status: str, verdict: str, reason: str) -> None:
    seats = features(*Told(quantity=7).created(status).events)["seats"]
    assert (seats["verdict"], seats["reason"]) == (verdict, reason)
    assert seats["limit"] == (7 if verdict == "limited" else None)
    assert seats["evidence"] == ["evt_sub_1_01"]


def test_every_status_of_stripe_is_in_the_table() -> None:
    assert {row[0] for row in ROWS} - {"from_the_future"} == set(access.GIVES_ACCESS)


def test_a_status_nobody_has_heard_of_is_asked_about() -> None:
    _, [judged] = heard(Told().created("from_the_future").events)
    assert "millrace.refresh.requested" in [effect.TYPE for effect in judged.effects]


PLANS = """
 plan      boards   seats  automations  sso  audit_log  export
 starter   10       -      -            -    -          yes
 team      100      5      1000         -    -          yes
 business  yes      54     10000        yes  -          yes
 scale     yes      254    yes          yes  yes        yes
"""


@pytest.mark.parametrize("row", PLANS.strip().splitlines()[1:])
def test_each_plan_gives_what_the_catalog_says(row: str) -> None:
    names = PLANS.strip().splitlines()[0].split()
    plan, *expected = row.split()
    given = features(*Told(plan=plan, quantity=5).created().events)
    assert [_cell(given[name]) for name in names[1:]] == expected


def _cell(verdict: Any) -> str:
    return {"allowed": "yes", "denied": "-"}.get(verdict["verdict"], str(verdict["limit"]))


def test_pausing_collection_changes_no_access() -> None:
    told = Told().created().later().updated(pause_collection={"behavior": "void", "resumes_at": None})
    assert features(*told.events)["seats"]["verdict"] == "limited"


@pytest.mark.parametrize(
    "scheduled",
    [
        {"cancel_at": NOON + 30 * DAY},
        {"cancel_at_period_end": True},
        {"cancel_at": NOON + 30 * DAY, "cancel_at_period_end": True},
    ],
    ids=["flexible billing", "classic, without the time", "classic"],
)
def test_a_scheduled_end_gives_access_until_then_and_says_what_follows(scheduled: Body) -> None:
    seats = features(*Told().created().updated(**scheduled).events)["seats"]
    assert seats["until"] == "2026-07-31T12:00:00Z"
    assert seats["reason"].endswith("is active until 2026-07-31T12:00:00Z")
    assert access.in_force(seats, instant(NOON + 30 * DAY - 1))["verdict"] == "limited"
    after = access.in_force(seats, instant(NOON + 30 * DAY))
    assert (after["verdict"], after["rule"]) == ("denied", "cancel_scheduled")


def test_what_follows_a_scheduled_end_is_what_the_other_subscription_gives() -> None:
    ending = Told("sub_1", quantity=5).created(cancel_at=NOON + DAY)
    staying = Told("sub_2", quantity=3).created()
    seats = features(*ending.events, *staying.events)["seats"]
    assert (seats["limit"], seats["evidence"]) == (8, ["evt_sub_1_01", "evt_sub_2_01"])
    assert access.in_force(seats, instant(NOON + 2 * DAY))["limit"] == 3


def test_seats_add_up_and_the_greatest_limit_counts() -> None:
    small, large = Told("sub_1", plan="starter").created(), Told("sub_2", plan="team", quantity=4).created()
    given = features(*small.events, *large.events)
    assert (given["boards"]["limit"], given["seats"]["limit"]) == (100, 4)


def test_two_items_of_one_subscription_both_count() -> None:
    told = Told(plan="team", quantity=4)
    told.body["items"]["data"].append(item("si_2", "business", 1, NOON))
    given = features(*told.created().events)
    assert (given["seats"]["limit"], given["sso"]["verdict"]) == (4 + 50, "allowed")


def test_a_metered_item_and_one_that_was_deleted_give_no_seats() -> None:
    told = Told(plan="team", quantity=4)
    told.body["items"]["data"] += [
        item("si_2", "team", None, NOON),
        {**item("si_3", "team", 9, NOON), "deleted": True},
    ]
    assert features(*told.created().events)["seats"]["limit"] == 4


REASONS: dict[str, tuple[list[Any], str]] = {
    "a plan without it": (Told(plan="starter").created().events, "no plan of this customer includes it"),
    "a price that is not sold": (
        Told(plan="unheard").created().events,
        f"price price_unheard_monthly_eur of subscription sub_1 is not in catalog {CATALOG.version}",
    ),
    "only dunning has spoken": ([dunning("restricted", 1)], "no subscription of this customer has arrived"),
}


@pytest.mark.parametrize("case", REASONS)
def test_a_denial_says_why(case: str) -> None:
    records, reason = REASONS[case]
    sso = features(*records)["sso"]
    assert (sso["verdict"], sso["reason"]) == ("denied", reason)


@pytest.mark.parametrize(
    ("known", "plan"),
    [
        ({"id": "price_new", "lookup_key": "team_monthly_eur", "product": "prod_other"}, "lookup key"),
        ({"id": "price_new", "lookup_key": None, "product": "prod_team"}, "product"),
        ({"id": "price_new", "lookup_key": None, "product": {"id": "prod_team"}}, "expanded product"),
    ],
    ids=["lookup key", "product", "expanded product"],
)
def test_a_plan_is_found_by_any_of_its_names(known: Body, plan: str) -> None:
    told = Told(plan="team")
    told.body["items"]["data"][0]["price"] = {"object": "price", **known}
    assert features(*told.created().events)["automations"]["limit"] == 1000


def test_a_body_from_before_prices_and_item_periods_reads_the_same() -> None:
    told = Told(plan="team", quantity=6)
    [old] = told.body["items"]["data"]
    plan = {"id": "plan_6", "object": "plan", "product": price("team")["product"]}
    told.body["items"]["data"] = [{"id": old["id"], "plan": plan, "quantity": 6}]
    told.body |= {
        "current_period_start": NOON,
        "current_period_end": NOON + DAY,
        "cancel_at_period_end": True,
    }
    seats = features(*told.created().events)["seats"]
    assert (seats["limit"], seats["until"]) == (6, "2026-07-02T12:00:00Z")


DUNNED = """
 dunning says                       | seats     export
 nothing                            | limited   allowed
 restricted 2                       | denied    allowed
 restricted 2, given 3              | limited   allowed
 given 1, restricted 2              | denied    allowed
 restricted 2 on all                | denied    allowed
 restricted 2 on sub_2              | limited   allowed
 restricted 2, given 3, restricted 4 | denied    allowed
"""


@pytest.mark.parametrize("row", DUNNED.strip().splitlines()[1:])
def test_dunning_restricts_and_restores_in_any_order_of_arrival(row: str) -> None:
    said, _, expected = row.partition("|")
    told = Told().created().later().updated(status="past_due")
    records = [*map(record_of, told.events), *_words(said.strip())]
    ends = {repr(end_of(heard(order)[0])) for order in permutations(records)}
    given = features(*records)
    assert [given["seats"]["verdict"], given["export"]["verdict"]] == expected.split()
    assert len(ends) == 1


def _words(said: str) -> list[Record]:
    words = []
    for word in said.split(", ") if said != "nothing" else []:
        access_, version, *scope = word.split()
        on = {"all": None}.get(scope[-1], scope[-1]) if scope else "sub_1"
        words.append(dunning(access_, int(version), subscription=on, at=NOON + 60 * int(version)))
    return words


def test_a_restriction_names_the_invoice_and_proves_itself() -> None:
    seats = features(*Told().created("past_due").events, dunning("restricted", 2))["seats"]
    assert seats["reason"] == "invoice in_9 is unpaid: grace ended"
    assert (seats["rule"], seats["evidence"]) == ("dunning.restricted", ["evt_sub_1_01", "dunning.in_9.2"])


def test_a_word_of_dunnings_that_is_not_known_is_parked_and_not_guessed_at() -> None:
    event = dunning("restricted", 2).event
    assert event is not None
    later = record(replace(event, data={**event.data, "access": "read_only", "stage": "frozen"}))
    _, [judged] = run(FOLD, CATALOG, [later])
    assert (judged.outcome, judged.reason) == ("parked", "access 'read_only' is not known here")
    known = record(replace(event, data={**event.data, "stage": "frozen"}))
    assert features(*Told().created("past_due").events, known)["seats"]["rule"] == "dunning.restricted"


def test_one_paid_invoice_does_not_lift_the_restriction_of_another() -> None:
    words = [dunning("restricted", 2), dunning("restricted", 2, invoice="in_8"), dunning("given", 3)]
    told = Told().created("past_due").events
    assert features(*told, *words)["seats"]["verdict"] == "denied"
    assert features(*told, *words, dunning("given", 3, invoice="in_8"))["seats"]["verdict"] == "limited"


def test_state_and_changes_are_published_when_and_only_when_access_changes() -> None:
    told = Told(quantity=5).created().later().seats(8).later().updated(metadata={"a": "b"}).later().deleted()
    published = [[e.TYPE for e in judged.effects] for judged in heard(told.events)[1]]
    both = ["millrace.entitlement.state", "millrace.entitlement.changed"]
    assert published == [both, both, [], both]
    _, judged = heard(told.events)
    seats = next(c for c in judged[1].effects[1].changes if c.feature == "seats")  # type: ignore[attr-defined]  # EntitlementChanged
    assert (seats.before.limit, seats.after.limit) == (5, 8)
    assert [effect.version for j in judged for effect in j.effects[:1]] == [1, 2, 3]  # type: ignore[attr-defined]  # EntitlementState


def test_newer_proof_of_the_same_access_is_kept_without_a_word() -> None:
    told = Told(quantity=5).created().later().updated(metadata={"a": "b"})
    customer, judged = heard(told.events)
    assert customer.access is not None
    assert (customer.access.version, customer.access.cause) == (1, "evt_sub_1_01")
    assert customer.access.features["seats"]["evidence"] == ["evt_sub_1_02"]
    assert judged[1].effects == ()


def test_a_subscription_of_nobody_is_parked_with_its_reason() -> None:
    told = Told()
    told.body["customer"] = None
    _, [judged] = run(FOLD, CATALOG, [record_of(told.created().events[0])])
    assert (judged.outcome, judged.reason) == (
        "parked",
        "subscription.customer is missing: it belongs to nobody",
    )
