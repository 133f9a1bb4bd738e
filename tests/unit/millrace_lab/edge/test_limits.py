"""Rate limits, as documented: a second of the caller's, so many requests over all and of each operation."""

from __future__ import annotations

from tests.support.double import Double
from tests.unit.millrace_lab.edge.asking import ask, message


def test_nobody_is_held_to_limits_unless_they_are_set() -> None:
    stripe = Double()
    assert {ask(stripe, "GET", "/v1/products", at=1.0).status for _ in range(200)} == {200}


def test_each_operation_has_its_own_limit_and_all_ids_share_it() -> None:
    stripe = Double(limits={"account": 100, "operation": 25})
    statuses = [ask(stripe, "GET", f"/v1/products/prod_{n}", at=1.0).status for n in range(26)]
    assert statuses == [404] * 25 + [429]
    assert ask(stripe, "GET", "/v1/products", at=1.0).status == 200
    refused = ask(stripe, "GET", "/v1/products/prod_1", at=1.9)
    assert refused.headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    assert refused.body["error"]["code"] == "rate_limit"
    assert "Retry-After" not in refused.headers
    assert ask(stripe, "GET", "/v1/products/prod_1", at=2.0).status == 404


def test_the_account_has_a_limit_over_all() -> None:
    stripe = Double(limits="documented")
    paths = ["/v1/products", "/v1/prices", "/v1/customers"]
    replies = [ask(stripe, "GET", paths[n % 3], at=5.0) for n in range(26)]
    assert [r.status for r in replies] == [200] * 25 + [429]  # a sandbox: 25 a second
    assert replies[-1].headers["Stripe-Rate-Limited-Reason"] == "global-rate"
    assert "rate limit" in message(replies[-1])


def test_what_was_refused_was_not_done_and_does_not_count() -> None:
    stripe = Double(limits={"account": 2, "operation": 2})
    for _ in range(9):
        ask(stripe, "POST", "/v1/products", at=1.0, name="Team")
    assert len(stripe.told("product.created")) == 2
    assert ask(stripe, "POST", "/v1/products", at=2.01, name="Team").status == 200
