"""Reads that lag, for those who refetch."""

from __future__ import annotations

from tests.support.double import Double


def _reads(lag: int) -> list[str]:
    """The names that a reader sees, second by second after a change."""
    stripe = Double(lag_seconds=lag)
    product = stripe.post("/v1/products", name="old")["id"]
    stripe.wait("1h")
    stripe.post(f"/v1/products/{product}", name="new")
    seen = []
    for _ in range(lag + 2):
        seen.append(stripe.get(f"/v1/products/{product}")["name"])
        assert [p["name"] for p in stripe.get("/v1/products")["data"]] == seen[-1:]
        stripe.wait("1s")
    return seen


def test_a_reader_may_see_what_was_for_some_seconds_and_then_what_is() -> None:
    assert set(_reads(0)) == {"new"}
    seen = _reads(30)
    assert seen[0] == "old"
    assert seen[-1] == "new"
    assert seen == sorted(seen, reverse=True)  # never back again


def test_writers_and_new_objects_never_lag() -> None:
    stripe = Double(lag_seconds=60)
    product = stripe.post("/v1/products", name="old", metadata={"a": "1"})["id"]
    assert stripe.get(f"/v1/products/{product}")["name"] == "old"
    stripe.post(f"/v1/products/{product}", metadata={"b": "2"})
    assert stripe.post(f"/v1/products/{product}", name="new")["metadata"] == {"a": "1", "b": "2"}
    stripe.delete(f"/v1/products/{product}")
    assert stripe.refusal("GET", f"/v1/products/{product}")["status"] == 404


def test_what_lived_on_a_deleted_clock_is_gone_at_once() -> None:
    stripe = Double(lag_seconds=60)
    clock = stripe.post("/v1/test_helpers/test_clocks", frozen_time=stripe.now)["id"]
    customer = stripe.post("/v1/customers", test_clock=clock)["id"]
    stripe.post(f"/v1/customers/{customer}", name="Ada")
    stripe.delete(f"/v1/test_helpers/test_clocks/{clock}")
    assert stripe.get(f"/v1/customers/{customer}")["deleted"] is True
