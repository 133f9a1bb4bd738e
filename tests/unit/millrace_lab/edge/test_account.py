"""The account, as its owner reads it."""

from __future__ import annotations

from tests.support.double import Double


def test_an_account_is_its_own_and_no_other_can_be_reached() -> None:
    stripe = Double(name="Acme", country="DE")
    own = stripe.get("/v1/account")
    assert (own["country"], own["default_currency"]) == ("DE", "eur")
    assert own["settings"]["dashboard"]["display_name"] == "Acme"
    assert stripe.get(f"/v1/accounts/{own['id']}") == own
    other = stripe.refusal("GET", "/v1/accounts/acct_other")
    assert (other["status"], other["code"]) == (403, "account_invalid")
