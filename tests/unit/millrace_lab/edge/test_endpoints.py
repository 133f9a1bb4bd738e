"""Webhook endpoints and event destinations: who is sent what, signed how."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_lab.account import DAY, HOUR, Told
from millrace_lab.errors import StripeError
from millrace_lab.platform import destinations, endpoints
from millrace_lab.platform.event_types import EVENT_TYPES, matches
from tests.support.double import Double

URL = "https://example.com/hook"
PATH = "/v1/webhook_endpoints"
DESTINATIONS = "/v2/core/event_destinations"
THIN: dict[str, Any] = {
    "name": "ours",
    "type": "webhook_endpoint",
    "event_payload": "thin",
    "enabled_events": ["v1.product.updated"],
    "webhook_endpoint": {"url": URL},
}


def test_the_secret_is_shown_once_and_the_version_set_once() -> None:
    stripe = Double()
    made = stripe.post(PATH, url=URL, enabled_events=["*"], api_version="2025-08-27.basil")
    assert made["secret"].startswith("whsec_")
    assert "secret" not in stripe.get(f"{PATH}/{made['id']}")
    assert "secret" not in stripe.get(PATH)["data"][0]
    changed = stripe.post(f"{PATH}/{made['id']}", url=URL + "/2", enabled_events=["invoice.paid"])
    assert (changed["url"], changed["enabled_events"]) == (URL + "/2", ["invoice.paid"])
    refused = stripe.refusal("POST", f"{PATH}/{made['id']}", api_version="2024-06-20")
    assert refused["code"] == "parameter_unknown"
    assert stripe.types() == []  # nothing is told about endpoints


def test_an_endpoint_is_disabled_enabled_and_deleted() -> None:
    stripe = Double()
    id_ = stripe.post(PATH, url=URL, enabled_events=["*"])["id"]
    assert stripe.post(f"{PATH}/{id_}", disabled="true")["status"] == "disabled"
    assert stripe.post(f"{PATH}/{id_}", disabled="false")["status"] == "enabled"
    assert stripe.delete(f"{PATH}/{id_}")["deleted"]
    assert stripe.get(PATH)["data"] == []


def test_there_are_sixteen_at_most() -> None:
    stripe = Double()
    for _ in range(16):
        stripe.post(PATH, url=URL, enabled_events=["*"])
    assert "maximum of 16" in stripe.refusal("POST", PATH, url=URL, enabled_events=["*"])["message"]


def test_urls_types_and_versions_are_looked_at() -> None:
    stripe = Double()
    for url in ("example.com", "ftp://example.com", "https://", "javascript:alert(1)"):
        assert stripe.refusal("POST", PATH, url=url, enabled_events=["*"])["code"] == "url_invalid"
    assert stripe.refusal("POST", PATH, url=URL, enabled_events=[])["param"] == "enabled_events"
    old = stripe.refusal("POST", PATH, url=URL, enabled_events=["*"], api_version="2017-08-15")
    assert old["param"] == "api_version"
    assert stripe.post(PATH, url="http://localhost:1/x", enabled_events=["*"])["status"] == "enabled"
    stripe.account.livemode = True
    plain = stripe.refusal("POST", PATH, url="http://localhost:1/x", enabled_events=["*"])
    assert "https in live mode" in plain["message"]


def test_a_rolled_secret_signs_beside_the_new_one_for_a_day_at_most() -> None:
    stripe = Double()
    made = stripe.post(PATH, url=URL, enabled_events=["*"])
    step = stripe.account.step()
    rolled = endpoints.roll(step, made["id"], overlap=2 * HOUR)
    step.commit()
    kept = stripe.account.objects[made["id"]]
    assert endpoints.active_secrets(kept, stripe.now) == [rolled["secret"], made["secret"]]
    assert endpoints.active_secrets(kept, stripe.now + 2 * HOUR) == [rolled["secret"]]
    with pytest.raises(StripeError, match="at most 24 hours"):
        endpoints.roll(stripe.account.step(), made["id"], overlap=DAY + 1)


def test_a_second_roll_leaves_the_first_ones_time_as_it_is() -> None:
    stripe = Double()
    made = stripe.post(PATH, url=URL, enabled_events=["*"])
    secrets = [made["secret"]]
    for _ in range(2):
        step = stripe.account.step()
        secrets.insert(0, endpoints.roll(step, made["id"])["secret"])
        step.commit()
        stripe.wait("12h")
    kept = stripe.account.objects[made["id"]]
    assert endpoints.active_secrets(kept, stripe.now - 1) == secrets
    assert endpoints.active_secrets(kept, stripe.now) == secrets[:2]
    assert endpoints.active_secrets(kept, stripe.now + 12 * HOUR) == secrets[:1]


def test_types_are_wanted_by_name_or_by_the_beginning_of_it() -> None:
    assert {"invoice.paid", "customer.subscription.updated"} <= EVENT_TYPES
    assert matches("invoice.paid", ["*"])
    assert matches("invoice.paid", ["invoice.*"])
    assert not matches("invoice.paid", ["invoice.payment_failed", "invoice_payment.*"])
    assert not matches("invoice.paid", [])


# Destinations of the second API.


def test_a_destination_shows_its_url_and_secret_to_whom_includes_them() -> None:
    stripe = Double()
    include = ["webhook_endpoint.url", "webhook_endpoint.signing_secret"]
    made = stripe.post(DESTINATIONS, **THIN, include=include)
    assert made["webhook_endpoint"]["url"] == URL
    assert made["webhook_endpoint"]["signing_secret"].startswith("whsec_")
    assert stripe.post(DESTINATIONS, **THIN)["webhook_endpoint"] == {"url": None, "signing_secret": None}
    again = stripe.get(f"{DESTINATIONS}/{made['id']}", include=include)
    assert again["webhook_endpoint"] == {"url": URL, "signing_secret": None}


def test_a_destination_changes_is_disabled_enabled_and_deleted() -> None:
    stripe = Double()
    id_ = stripe.post(DESTINATIONS, **THIN, metadata={"team": "a", "tier": "1"})["id"]
    stripe.wait("1h")
    changed = stripe.post(f"{DESTINATIONS}/{id_}", name="theirs", metadata={"tier": None})
    assert (changed["name"], changed["metadata"]) == ("theirs", {"team": "a"})
    assert (changed["created"], changed["updated"]) == (
        "2026-07-01T00:00:00.000Z",
        "2026-07-01T01:00:00.000Z",
    )
    disabled = stripe.post(f"{DESTINATIONS}/{id_}/disable")
    assert (disabled["status"], disabled["status_details"]) == ("disabled", {"disabled": {"reason": "user"}})
    assert stripe.post(f"{DESTINATIONS}/{id_}/enable")["status"] == "enabled"
    assert stripe.delete(f"{DESTINATIONS}/{id_}") == {"id": id_, "object": "v2.core.event_destination"}
    assert stripe.refusal("GET", f"{DESTINATIONS}/{id_}")["status"] == 404


WANTED = """
 payload   enabled               product.updated  customer.created  meter error
 thin      v1.product.updated    thin             -                 -
 thin      *                     thin             thin              thin
 snapshot  product.updated       snapshot         -                 -
 snapshot  *                     snapshot         snapshot          -
"""
METER_ERROR = "v1.billing.meter.error_report_triggered"


def test_thin_destinations_get_notifications_and_snapshot_ones_a_fixed_version() -> None:
    for row in WANTED.strip().splitlines()[1:]:
        payload, enabled, *expected = row.split()
        stripe = Double()
        version = {"snapshot_api_version": "2025-08-27.basil"} if payload == "snapshot" else {}
        body = THIN | {"event_payload": payload, "enabled_events": [enabled]} | version
        made = stripe.account.objects[stripe.post(DESTINATIONS, **body)["id"]]
        told = _told(stripe)
        sent = [_sent(stripe, made, each) for each in told]
        assert sent == expected, row
        disabled = {**made, "status": "disabled"}
        assert not any(destinations.wants(disabled, each) for each in told)


def _told(stripe: Double) -> list[Told]:
    product = stripe.post("/v1/products", name="Team")["id"]
    stripe.post(f"/v1/products/{product}", name="Team 2")
    stripe.post("/v1/customers", email="ada@example.com")
    step = stripe.account.step()
    step.tell_thin(METER_ERROR, {"reason": {"error_count": 1}})
    step.commit()
    return stripe.told("product.updated", "customer.created", METER_ERROR)


def _sent(stripe: Double, destination: dict[str, Any], told: Told) -> str:
    if not destinations.wants(destination, told):
        return "-"
    body = destinations.payload(stripe.account, destination, told)
    if body["object"] == "event":
        assert body["api_version"] == "2025-08-27.basil"
        return "snapshot"
    assert not {"changes", "data", "snapshot_event"} & body.keys()
    return "thin"


def test_the_fetched_event_says_what_the_pushed_one_left_out() -> None:
    stripe = Double()
    updated, _, error = _told(stripe)
    found = stripe.get("/v2/core/events", types=["v1.product.updated"])["data"]
    fetched = stripe.get(f"/v2/core/events/{found[0]['id']}")
    assert fetched == found[0]
    assert fetched["snapshot_event"] == updated.id
    assert fetched["changes"] == {"before": {"name": "Team"}, "after": {"name": "Team 2"}}
    product = updated.object["id"]
    assert fetched["related_object"] == {"id": product, "type": "product", "url": f"/v1/products/{product}"}
    assert stripe.get(fetched["related_object"]["url"])["name"] == "Team 2"
    thin = stripe.get("/v2/core/events", types=[METER_ERROR])["data"][0]
    assert thin["data"] == {"reason": {"error_count": 1}}
    assert error.id not in [e["id"] for e in stripe.get("/v1/events")["data"]]  # thin only
    assert stripe.refusal("GET", f"/v1/events/{error.id}")["status"] == 404


def test_the_second_api_pages_by_url() -> None:
    stripe = Double()
    for number in range(5):
        stripe.post("/v1/products", name=str(number))
    first = stripe.get("/v2/core/events", limit=2, types=["v1.product.created"])
    assert len(first["data"]) == 2
    seen, url = len(first["data"]), first["next_page_url"]
    while url:
        path, _, query = url.partition("?")
        pairs = dict(pair.split("=") for pair in query.split("&"))
        following = stripe.get(path, limit=pairs["limit"], page=pairs["page"], types=["v1.product.created"])
        seen, url = seen + len(following["data"]), following["next_page_url"]
    assert seen == 5


def test_a_ping_goes_to_its_own_destination_only() -> None:
    stripe = Double()
    ids = [stripe.post(DESTINATIONS, **THIN)["id"] for _ in range(2)]
    event = stripe.post(f"{DESTINATIONS}/{ids[0]}/ping")
    assert (event["type"], event["related_object"]["id"]) == ("v2.core.event_destination.ping", ids[0])
    told = stripe.told()[-1]
    wanting = [id_ for id_ in ids if destinations.wants(stripe.account.objects[id_], told)]
    assert wanting == ids[:1]


def test_a_destination_asks_for_types_of_its_kind() -> None:
    stripe = Double()
    wrong: list[dict[str, Any]] = [
        {"enabled_events": ["product.updated"]},  # a snapshot's type
        {"event_payload": "snapshot", "snapshot_api_version": "2024-06-20"},  # thin types
        {"event_payload": "snapshot", "enabled_events": ["product.updated"]},  # no version
        {"snapshot_api_version": "2024-06-20"},  # thin events have none
        {"type": "amazon_eventbridge"},
    ]
    for change in wrong:
        assert stripe.refusal("POST", DESTINATIONS, **THIN | change)["status"] == 400
