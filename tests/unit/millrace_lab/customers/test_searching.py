"""Search: what a query finds, and what is no query."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.double import OPENS, Double

FOUND = [
    # query                                                       customers, newest first
    ('email:"ada@example.com"', ["Ada"]),
    ("email:'ADA@example.com'", ["Ada"]),
    ('email~"example"', ["Bob", "Ada"]),
    ('-email~"ada@"', ["Cyd", "Bob"]),
    ("email:null", ["Cyd"]),
    ("-email:null", ["Bob", "Ada"]),
    ('metadata["plan"]:"team"', ["Cyd", "Ada"]),
    ('-metadata["plan"]:null', ["Cyd", "Ada"]),
    ('name:"Ada" AND metadata["plan"]:"team"', ["Ada"]),
    ('name:"Ada" metadata["plan"]:"solo"', []),
    ('name:"Ada" OR name:"Bob"', ["Bob", "Ada"]),
    (f"created>{OPENS}", ["Cyd", "Bob"]),
    (f"created>={OPENS} created<{OPENS + 2}", ["Bob", "Ada"]),
    (f"created<={OPENS}", ["Ada"]),
    ('name:"A"', []),
]
WRONG = [
    "",
    "ada",
    'nickname:"Ada"',
    'metadata:"team"',
    'name["plan"]:"team"',
    'name~"Ad"',
    'created>"soon"',
    'name:"Ada" AND name:"Bob" OR name:"Cyd"',
    'name:"Ada" AND ',
    'name:"Ada" )',
    'name:"Ada',
]


def shop() -> Double:
    stripe = Double()
    people: list[dict[str, Any]] = [
        {"name": "Ada", "email": "ada@example.com", "metadata": {"plan": "team"}},
        {"name": "Bob", "email": "bob@example.com"},
        {"name": "Cyd", "metadata": {"plan": "team"}},
    ]
    for each in people:
        stripe.post("/v1/customers", **each)
        stripe.wait("1s")
    return stripe


@pytest.mark.parametrize(("query", "names"), FOUND)
def test_what_a_query_finds(query: str, names: list[str]) -> None:
    found = shop().get("/v1/customers/search", query=query)
    assert ([each["name"] for each in found["data"]], found["has_more"]) == (names, False)


@pytest.mark.parametrize("query", WRONG)
def test_what_is_no_query(query: str) -> None:
    refused = Double().refusal("GET", "/v1/customers/search", query=query)
    assert (refused["status"], refused["param"]) == (400, "query")


def test_a_search_is_paged_by_a_word() -> None:
    stripe = shop()
    query = "created>0"
    first = stripe.get("/v1/customers/search", query=query, limit="2")
    rest = stripe.get("/v1/customers/search", query=query, limit="2", page=first["next_page"])
    assert [each["name"] for each in first["data"] + rest["data"]] == ["Cyd", "Bob", "Ada"]
    assert (first["has_more"], rest["has_more"], rest["next_page"]) == (True, False, None)
    assert stripe.refusal("GET", "/v1/customers/search", query=query, page="none")["param"] == "page"


def test_products_and_prices_are_searched_too() -> None:
    stripe = Double()
    stripe.post("/v1/products", id="team", name="Team plan", metadata={"tier": "2"})
    stripe.post("/v1/products", id="old", name="Old plan", active="false")
    price = stripe.post("/v1/prices", product="team", currency="usd", unit_amount="5", lookup_key="team")[
        "id"
    ]
    found = stripe.get("/v1/products/search", query='active:"true" AND name~"plan"')
    assert [each["id"] for each in found["data"]] == ["team"]
    found = stripe.get(
        "/v1/prices/search", query='lookup_key:"team" type:"one_time"', expand=["data.product"]
    )
    assert [(each["id"], each["product"]["name"]) for each in found["data"]] == [(price, "Team plan")]
