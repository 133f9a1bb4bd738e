"""The list of events: newest first, thirty days, in the account's version."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.double import Double
from tests.unit.millrace_lab.edge.asking import ask


def _told(**settings: Any) -> Double:
    """Two products and a customer, a day between each act."""
    stripe = Double(**settings)
    product = stripe.post("/v1/products", name="Team")["id"]
    stripe.wait("1d")
    stripe.post(f"/v1/products/{product}", name="Team 2")
    stripe.wait("1d")
    stripe.post("/v1/customers", email="ada@example.com")
    return stripe


FILTERED = """
 filter                      | types, newest first
 {}                          | customer.created product.updated product.created
 type=product.*              | product.updated product.created
 type=product.updated        | product.updated
 types=product.created customer.created | customer.created product.created
 type=*                      | customer.created product.updated product.created
 type=price.*                |
"""


@pytest.mark.parametrize("row", FILTERED.strip().splitlines()[1:])
def test_events_are_filtered_by_type_or_by_types(row: str) -> None:
    asked, types = (part.strip() for part in row.split("|"))
    name, _, value = asked.partition("=")
    params = {} if asked == "{}" else {name: value.split() if name == "types" else value}
    assert [e["type"] for e in _told().get("/v1/events", **params)["data"]] == types.split()


def test_type_and_types_exclude_each_other_and_twenty_are_enough() -> None:
    stripe = _told()
    both = stripe.refusal("GET", "/v1/events", type="product.*", types=["customer.created"])
    assert both["message"] == "You may only specify one of these parameters: type, types."
    assert stripe.refusal("GET", "/v1/events", types=["customer.created"] * 21)["param"] == "types"


def test_events_are_filtered_by_the_second_in_which_they_were_told() -> None:
    stripe = _told()
    second = stripe.told("product.updated")[0].created
    assert len(stripe.get("/v1/events", created=second)["data"]) == 1
    assert len(stripe.get("/v1/events", created={"gt": second})["data"]) == 1
    assert len(stripe.get("/v1/events", created={"gte": second})["data"]) == 2
    assert len(stripe.get("/v1/events", created={"lt": second})["data"]) == 1


def test_events_are_kept_for_thirty_days() -> None:
    stripe = _told()
    first = stripe.told()[0].id
    stripe.wait("27d 86399s")
    assert stripe.get(f"/v1/events/{first}")["type"] == "product.created"
    assert len(stripe.get("/v1/events")["data"]) == 3
    stripe.wait("1s")
    assert stripe.refusal("GET", f"/v1/events/{first}")["message"] == f"No such event: '{first}'"
    assert len(stripe.get("/v1/events")["data"]) == 2


def test_pages_go_both_ways() -> None:
    stripe = Double()
    for number in range(7):
        stripe.post("/v1/products", name=str(number))
    ids = [told.id for told in reversed(stripe.told())]
    first = stripe.get("/v1/events", limit=3)
    assert ([e["id"] for e in first["data"]], first["has_more"]) == (ids[:3], True)
    second = stripe.get("/v1/events", limit=4, starting_after=ids[2])
    assert ([e["id"] for e in second["data"]], second["has_more"]) == (ids[3:], False)
    back = stripe.get("/v1/events", limit=2, ending_before=ids[3])
    assert ([e["id"] for e in back["data"]], back["has_more"]) == (ids[1:3], True)
    assert stripe.get("/v1/events", limit=3, ending_before=ids[3])["has_more"] is False
    assert stripe.refusal("GET", "/v1/events", starting_after=ids[0], ending_before=ids[1])["status"] == 400
    assert stripe.refusal("GET", "/v1/events", starting_after="evt_none")["status"] == 400


def test_delivery_success_is_what_delivery_knows_of_every_endpoint() -> None:
    stripe = _told()
    failed = stripe.told()[1].id
    stripe.account.pending[failed] = 2
    assert [e["id"] for e in stripe.get("/v1/events", delivery_success="false")["data"]] == [failed]
    assert len(stripe.get("/v1/events", delivery_success="true")["data"]) == 2
    assert stripe.get(f"/v1/events/{failed}")["pending_webhooks"] == 2


def test_an_event_keeps_the_body_it_was_about_and_says_who_asked() -> None:
    stripe = _told()
    event = stripe.get("/v1/events", type="product.updated")["data"][0]
    assert event["data"]["object"]["name"] == "Team 2"
    assert event["data"]["previous_attributes"]["name"] == "Team"
    created = stripe.get("/v1/events", type="product.created")["data"][0]
    assert created["data"]["object"]["name"] == "Team"
    assert "previous_attributes" not in created["data"]
    assert created["request"]["id"].startswith("req_")


def test_events_are_in_the_accounts_version_whatever_the_caller_speaks() -> None:
    stripe = _told(api_version="2025-08-27.basil")
    for version in ("2024-06-20", "2026-10-28.endive", None):
        event = ask(stripe, "GET", "/v1/events", version=version, type="customer.created").body["data"][0]
        assert event["api_version"] == "2025-08-27.basil"
        assert "customer_account" not in event["data"]["object"]  # dahlia brought it
