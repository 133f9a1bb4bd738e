"""Who may ask for what."""

from __future__ import annotations

import pytest

from millrace_lab.api.keys import permission
from millrace_lab.composition import OPERATIONS
from tests.support.double import Double
from tests.unit.millrace_lab.edge.asking import ask, message

KEYS = """
 key               status  says
 sk_test_lab       200     -
 -                 401     You did not provide an API key.
 sk_test_          401     Invalid API Key provided: sk_test_
 sk_live_1234567   401     Invalid API Key provided: sk_live_***4567
 rk_test_unknown   401     Invalid API Key provided: rk_test_***nown
 pk_test_1234      401     This API call cannot be made with a publishable API key.
 password          401     Invalid API Key provided: password
"""


@pytest.mark.parametrize("row", KEYS.strip().splitlines()[1:])
def test_a_key_is_this_accounts_or_nobodys(row: str) -> None:
    key, status, says = row.split(maxsplit=2)
    reply = ask(Double(), "GET", "/v1/products", api_key=None if key == "-" else key)
    assert reply.status == int(status)
    assert says == "-" or message(reply).startswith(says)


RESTRICTED = """
 may                            asks                                         lacks
 customer_read                  GET /v1/customers                            -
 customer_write                 GET /v1/customers                            -
 customer_read                  POST /v1/customers                           rak_customer_write
 customer_read                  GET /v1/subscriptions                        rak_subscription_read
 billing_meter_event_write      POST /v1/billing/meter_events                -
 billing_meter_event_write      GET /v1/billing/meters                       rak_billing_meter_read
 customer_write                 POST /v1/customers/cus_1/balance_transactions -
 -                              GET /v1/account                              rak_account_read
"""


@pytest.mark.parametrize("row", RESTRICTED.strip().splitlines()[1:])
def test_a_restricted_key_does_what_it_was_given_and_is_told_what_it_lacks(row: str) -> None:
    may, method, path, lacks = row.split()
    stripe = Double(restricted_keys={"rk_test_metering": [] if may == "-" else [may]})
    reply = ask(stripe, method, path, api_key="rk_test_metering")
    if lacks == "-":
        assert reply.status != 403
    else:
        assert reply.status == 403
        assert f"Having the '{lacks}' permission would allow this request to continue." in message(reply)
        assert "rk_test_****ring" in message(reply)


def test_a_restricted_key_that_may_not_changes_nothing() -> None:
    stripe = Double(restricted_keys={"rk_test_reader": ["product_read"]})
    ask(stripe, "POST", "/v1/products", api_key="rk_test_reader", name="Team")
    assert stripe.told() == []
    assert stripe.get("/v1/products")["data"] == []


def test_a_session_of_the_meter_event_stream_opens_nothing_else() -> None:
    assert ask(Double(), "GET", "/v1/customers", api_key="mes_token").status == 403


def test_every_operation_has_a_permission_of_one_noun_to_read_or_write() -> None:
    odd = {o.route: permission(o) for o in OPERATIONS if not permission(o).endswith(("_read", "_write"))}
    assert odd == {}
    writes = {o.route for o in OPERATIONS if o.method != "GET" and permission(o).endswith("_read")}
    assert writes == set()


def test_a_live_account_takes_live_keys() -> None:
    stripe = Double()
    stripe.account.livemode = True
    assert ask(stripe, "GET", "/v1/products", api_key="sk_live_lab").status == 200
    assert ask(stripe, "GET", "/v1/products", api_key="sk_test_lab").status == 401
