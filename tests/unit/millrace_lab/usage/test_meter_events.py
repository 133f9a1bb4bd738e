"""Meter events: what is refused at once, what is reported afterwards, what is billed twice."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_lab.account import DAY, MINUTE
from millrace_lab.api import Reply, Request
from millrace_lab.periods import iso
from tests.support.double import Double
from tests.unit.millrace_lab.usage.shops import Body, Metered

ERRORS = "v1.billing.meter.error_report_triggered"


def test_an_event_answers_what_was_sent_and_is_told_to_nobody() -> None:
    shop = Metered()
    mark = shop.stripe.mark()
    event = shop.use("25", identifier="first")
    assert event == {
        "object": "billing.meter_event",
        "created": shop.stripe.now,
        "event_name": "calls",
        "identifier": "first",
        "livemode": False,
        "payload": {"stripe_customer_id": shop.customer, "value": "25"},
        "timestamp": shop.stripe.now,
    }
    assert shop.stripe.types(mark) == []


REFUSED = """
 event  payload                   seconds    | code                             param
 other  stripe_customer_id value  0          | no_meter                         event_name
 calls  value                     0          | meter_event_no_customer_defined  payload
 calls  stripe_customer_id        0          | meter_event_value_not_found      payload
 calls  stripe_customer_id value  -3024001   | timestamp_too_far_in_past        timestamp
 calls  stripe_customer_id value  301        | timestamp_in_future              timestamp
"""


@pytest.mark.parametrize("row", REFUSED.strip().splitlines()[1:])
def test_what_can_be_seen_at_once_is_refused_at_once(row: str) -> None:
    shop = Metered()
    sent, outcome = row.split("|")
    event, *keys, after = sent.split()
    code, param = outcome.split()
    full = {"stripe_customer_id": shop.customer, "value": "1"}
    refused = shop.stripe.refusal(
        "POST",
        "/v1/billing/meter_events",
        event_name=event,
        payload={key: full[key] for key in keys},
        timestamp=shop.stripe.now + int(after),
    )
    assert (refused["status"], refused["code"], refused["param"]) == (400, code, param)


def test_thirty_five_days_and_five_minutes_are_still_taken() -> None:
    shop = Metered()
    shop.use("1", shop.stripe.now - 35 * DAY)
    shop.use("2", shop.stripe.now + 5 * MINUTE)
    assert shop.used(shop.stripe.now - 36 * DAY, shop.stripe.now + DAY) == 3


def test_an_identifier_is_refused_for_a_day_and_billed_again_after_it() -> None:
    shop = Metered()
    start = shop.stripe.now
    shop.use("5", identifier="row-1")
    shop.stripe.wait("23h 59m")
    payload = {"stripe_customer_id": shop.customer, "value": "5"}
    again = {"event_name": "calls", "payload": payload, "identifier": "row-1"}
    refused = shop.stripe.refusal("POST", "/v1/billing/meter_events", **again)
    assert refused["message"] == "An event already exists with identifier row-1."
    shop.stripe.wait("1m")
    shop.use("5", identifier="row-1")
    assert shop.used(start, start + 2 * DAY) == 10


def test_a_mistake_that_shows_afterwards_is_accepted_not_counted_and_reported() -> None:
    shop = Metered()
    start = shop.stripe.now
    shop.stripe.wait("3s")
    for customer, value, name in [
        ("cus_gone", "1", "a"),
        (shop.customer, "many", "b"),
        ("cus_gone", "2", "c"),
    ]:
        payload = {"stripe_customer_id": customer, "value": value}
        shop.stripe.post("/v1/billing/meter_events", event_name="calls", payload=payload, identifier=name)
    assert shop.used(start, start + DAY) == 0
    shop.stripe.wait("6s")
    assert shop.stripe.told(ERRORS) == []
    shop.stripe.wait("1s")
    (told,) = shop.stripe.told(ERRORS)
    assert told.thin
    assert told.object["_related"]["id"] == shop.meter
    assert told.object["validation_start"] == iso(start)
    assert told.object["validation_end"] == iso(start + 10)
    assert told.object["developer_message_summary"] == "There are 3 invalid events"
    kinds = told.object["reason"]["error_types"]
    assert [(kind["code"], kind["error_count"]) for kind in kinds] == [
        ("meter_event_customer_not_found", 2),
        ("meter_event_invalid_value", 1),
    ]
    samples = kinds[0]["sample_errors"]
    assert [sample["request"]["identifier"] for sample in samples] == ["a", "c"]


def test_a_report_tells_of_its_own_ten_seconds_only() -> None:
    shop = Metered()
    payload = {"stripe_customer_id": "cus_gone", "value": "1"}
    for _ in range(2):
        shop.stripe.post("/v1/billing/meter_events", event_name="calls", payload=payload)
        shop.stripe.wait("1m")
    assert [told.object["reason"]["error_count"] for told in shop.stripe.told(ERRORS)] == [1, 1]


def test_an_event_is_taken_back_within_a_day_and_never_after() -> None:
    shop = Metered()
    start = shop.stripe.now
    shop.use("5", identifier="wrong")
    shop.use("7", identifier="right")
    taken = {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "wrong"}}
    assert shop.stripe.post("/v1/billing/meter_event_adjustments", **taken)["status"] == "complete"
    assert shop.used(start, start + DAY) == 7
    assert "already" in shop.stripe.refusal("POST", "/v1/billing/meter_event_adjustments", **taken)["message"]
    shop.stripe.wait("1d")
    late = taken | {"cancel": {"identifier": "right"}}
    assert "24 hours" in shop.stripe.refusal("POST", "/v1/billing/meter_event_adjustments", **late)["message"]
    other = taken | {"cancel": {"identifier": "unheard"}}
    assert shop.stripe.refusal("POST", "/v1/billing/meter_event_adjustments", **other)["status"] == 400


def test_an_archived_meter_takes_nothing() -> None:
    shop = Metered()
    shop.stripe.post(f"/v1/billing/meters/{shop.meter}/deactivate")
    payload = {"stripe_customer_id": shop.customer, "value": "1"}
    refused = shop.stripe.refusal("POST", "/v1/billing/meter_events", event_name="calls", payload=payload)
    assert refused["code"] == "archived_meter"


# The second API.


def streamed(stripe: Double, token: str, *events: Body) -> Reply:
    path = "/v2/billing/meter_event_stream"
    return stripe.api.call(Request("POST", path, {"events": list(events)}, key=token))


def event(customer: str, value: str = "1", name: str = "calls", **more: Any) -> Body:
    return {"event_name": name, "payload": {"stripe_customer_id": customer, "value": value}, **more}


def test_the_second_api_takes_times_as_text_and_checks_at_once_too() -> None:
    shop = Metered()
    at = shop.stripe.now - DAY
    answered = shop.stripe.post("/v2/billing/meter_events", **event(shop.customer, "3", timestamp=iso(at)))
    assert (answered["object"], answered["timestamp"]) == ("v2.billing.meter_event", iso(at))
    assert shop.used(at, at + 1) == 3
    wrong = event(shop.customer, timestamp="yesterday")
    assert shop.stripe.refusal("POST", "/v2/billing/meter_events", **wrong)["param"] == "timestamp"
    taken = {"event_name": "calls", "type": "cancel", "cancel": {"identifier": answered["identifier"]}}
    assert shop.stripe.post("/v2/billing/meter_event_adjustments", **taken)["status"] == "complete"
    assert shop.used(at, at + 1) == 0


def test_a_stream_needs_a_token_that_lasts_fifteen_minutes() -> None:
    shop = Metered()
    session = shop.stripe.post("/v2/billing/meter_event_session")
    token = session["authentication_token"]
    assert session["expires_at"] == iso(shop.stripe.now + 15 * MINUTE)
    assert streamed(shop.stripe, "sk_test_lab", event(shop.customer)).status == 401
    shop.stripe.wait("14m 59s")
    assert streamed(shop.stripe, token, event(shop.customer)).status == 200
    shop.stripe.wait("1s")
    assert streamed(shop.stripe, token, event(shop.customer)).status == 401


def test_a_stream_counts_what_is_right_and_reports_the_rest() -> None:
    shop = Metered()
    start = shop.stripe.now
    token = shop.stripe.post("/v2/billing/meter_event_session")["authentication_token"]
    reply = streamed(
        shop.stripe,
        token,
        event(shop.customer, "2", identifier="once"),
        event(shop.customer, "2", identifier="once"),
        event(shop.customer, "40", timestamp=iso(start - 36 * DAY)),
        event(shop.customer, name="unheard", identifier="lost"),
    )
    assert (reply.status, reply.body) == (200, {})
    assert shop.used(start - 40 * DAY, start + DAY) == 2
    shop.stripe.wait("10s")
    assert [told.type for told in shop.stripe.told() if told.thin] == [
        ERRORS,
        "v1.billing.meter.no_meter_found",
    ]
    ours, nobodys = [told.object for told in shop.stripe.told() if told.thin]
    assert ours["reason"]["error_types"][0]["code"] == "timestamp_too_far_in_past"
    assert "_related" not in nobodys
    (kind,) = nobodys["reason"]["error_types"]
    assert kind["code"] == "no_meter"
    assert kind["sample_errors"][0]["request"]["identifier"] == "lost"


def test_each_customer_of_a_stream_has_a_time_of_their_own() -> None:
    shop = Metered()
    clock = shop.stripe.post("/v1/test_helpers/test_clocks", frozen_time=shop.stripe.now)["id"]
    ahead = shop.stripe.post("/v1/customers", test_clock=clock)["id"]
    path = f"/v1/test_helpers/test_clocks/{clock}/advance"
    shop.stripe.post(path, frozen_time=shop.stripe.now + 40 * DAY)
    token = shop.stripe.post("/v2/billing/meter_event_session")["authentication_token"]
    streamed(shop.stripe, token, event(ahead, "1"), event(shop.customer, "2"))
    assert shop.used(shop.stripe.now, shop.stripe.now + 1) == 2


def test_a_stream_takes_a_hundred_events_at_a_time() -> None:
    shop = Metered()
    token = shop.stripe.post("/v2/billing/meter_event_session")["authentication_token"]
    assert streamed(shop.stripe, token, *[event(shop.customer)] * 100).status == 200
    assert streamed(shop.stripe, token, *[event(shop.customer)] * 101).status == 400
