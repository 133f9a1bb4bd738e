"""A story of a platform and an account that is connected to it. Source: docs.stripe.com/connect/webhooks."""

from __future__ import annotations

from millrace_lab.delivery.letters import envelope
from millrace_lab.delivery.mail import Answer, Mail
from millrace_lab.delivery.schedule import Schedule
from tests.unit.millrace_lab.stories.stage import Connected, Stage


def test_a_connected_account_keeps_its_own_books_in_the_platforms_time() -> None:
    """Ada pays the cloud on day 31, Bob pays the studio on day 41: neither is in the other's books.

    The platform's endpoint hears of Ada; the one made with `connect` hears of Bob, and of whose he is.
    """
    cloud = Stage("usd", "customer.created invoice.paid")
    mail = Mail(cloud.account, Schedule(7, "kind"))
    endpoints = {listen(cloud, "invoice.paid", connect=connect): connect for connect in (False, True)}
    studio = Connected(cloud, "DE", "eur", "customer.created invoice.paid")
    cloud.sells("Team", "20.00")
    studio.sells("Class", "9.00")
    cloud.plays("""
    day | what happens             | invoice | lines          | total | balance | told
    0   | ada has a card           |         |                |       | 0.00    | customer.created
    0   | ada subscribes to 1 Team | 1 paid  | 1 x Team 20.00 | 20.00 |         | invoice.paid
    """)
    studio.plays("""
    day    | what happens        | invoice | lines           | total | balance | told
    10     | bob has a card      |         |                 |       | 0.00    | customer.created
    10     | bob subscribes to 3 | 1 paid  | 3 x Class 27.00 | 27.00 |         | invoice.paid
           | Class               |         |                 |       |         |
    41 +1h |                     | 2 paid  | 3 x Class 27.00 | 27.00 |         | invoice.paid
    """)
    cloud.plays("""
    day    | what happens | invoice | lines          | total | balance | told
    41 +1h |              | 2 paid  | 1 x Team 20.00 | 20.00 |         | invoice.paid
    """)
    heard = [(endpoints[letter.endpoint], cloud.account.told(letter.event)) for letter in mail.waiting()]
    seen = [
        (connect, body["data"]["object"]["total"], body.get("account"))
        for connect, told in heard
        if told and (body := envelope(cloud.account, told))
    ]
    assert seen == [
        (False, 2000, None),
        (True, 2700, studio.id),
        (False, 2000, None),
        (True, 2700, studio.id),
    ]


def test_a_draft_of_a_connected_account_waits_for_the_platforms_endpoint() -> None:
    """The platform's own drafts do not. Source: docs.stripe.com/billing/subscriptions/webhooks, `invoice.created`."""
    cloud = Stage()
    mail = Mail(cloud.account, Schedule(7, "kind"))
    listen(cloud, "invoice.created", connect=True)
    cloud.sells("Team", "20.00")
    cloud.has_card("ada")
    cloud.subscribes("ada", "1 Team", "")
    studio = Connected(cloud, "DE", "eur")
    studio.sells("Class", "9.00")
    studio.plays("""
    day    | what happens              | invoice | total
    0      | bob has a card            |         |
    0      | bob subscribes to 3 Class | 1 paid  | 27.00
    31 +2h |                           | 2 draft | 27.00
    """)
    cloud.plays("""
    day    | what happens | invoice | total
    31 +2h |              | 1 paid  | 20.00
           |              | 2 paid  | 20.00
    """)
    while letters := mail.take(cloud.now):
        for letter in letters:
            mail.record(letter, Answer(200))
    studio.plays("""
    day    | what happens | invoice | total
    31 +3h |              | 2 paid  | 27.00
    """)


def listen(company: Stage, type_: str, *, connect: bool) -> str:
    endpoint = company.post(
        "/v1/webhook_endpoints",
        url="https://example.com/hook",
        enabled_events=[type_],
        connect=connect,
    )
    return str(endpoint["id"])


def test_what_belongs_to_a_connected_account_is_asked_for_as_that_account() -> None:
    cloud = Stage()
    studio = Connected(cloud, "DE", "eur")
    bob = studio.person("bob")
    assert cloud.refusal("GET", f"/v1/customers/{bob}")["code"] == "resource_missing"
    assert cloud.refusal("GET", f"/v1/accounts/{bob}")["code"] == "account_invalid"
    (created,) = studio.get("/v1/events")["data"]
    assert (created["account"], created["type"]) == (studio.id, "customer.created")
    assert cloud.get("/v1/events")["data"] == []
    assert studio.get("/v1/account") == cloud.get(f"/v1/accounts/{studio.id}")
    assert [each["id"] for each in cloud.get("/v1/accounts")["data"]] == [studio.id]
    assert (studio.get("/v1/account")["type"], studio.get("/v1/account")["default_currency"]) == (
        "express",
        "eur",
    )


def test_nobody_is_reached_who_is_not_connected_and_what_is_missing_says_so() -> None:
    cloud = Stage()
    studio = Connected(cloud, "DE", "eur")
    hook = {"url": "https://example.com/hook", "enabled_events": ["*"]}
    assert studio.refusal("POST", "/v1/webhook_endpoints", **hook)["status"] == 501
    assert studio.refusal("POST", "/v1/accounts", type="custom")["status"] == 501
    studio.id = "acct_stranger"
    assert studio.refusal("GET", "/v1/customers")["code"] == "account_invalid"
    assert cloud.refusal("POST", "/v1/accounts", type="standard")["param"] == "type"
