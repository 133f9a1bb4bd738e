"""What only the double has: triggers, settings, schedules, acts of the world, and one file for it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace_lab.account import DAY
from millrace_lab.delivery.schedule import PROFILES
from millrace_lab.edge.control import seconds_of
from millrace_lab.edge.triggers import TRIGGERS, trigger
from millrace_lab.errors import StripeError
from tests.integration.millrace_lab.served import Hook, Served
from tests.support.double import OPENS, Double


@pytest.mark.parametrize("type_", TRIGGERS)
def test_a_trigger_brings_its_event_about(type_: str) -> None:
    stripe = Double()
    trigger(stripe.api, type_)
    assert type_ in stripe.types()


def test_a_trigger_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(StripeError, match=r"invoice\.paid"):
        trigger(Double().api, "invoice.praised")


SPANS = {"31d": 31 * DAY, "1d 30s": DAY + 30, "2h": 7200, "90m": 5400, "1w": 7 * DAY, "0s": 0}


@pytest.mark.parametrize("text", SPANS)
def test_a_stretch_of_time_is_read(text: str) -> None:
    assert seconds_of(text) == SPANS[text]


@pytest.mark.parametrize("text", ["", "31", "d", "1 month", "-1d", "1d and 2h"])
def test_what_is_no_stretch_of_time_is_refused(text: str) -> None:
    with pytest.raises(StripeError, match="Not a time"):
        seconds_of(text)


async def refusal(served: Served, path: str, /, **given: Any) -> str:
    answer = await served.http.post(f"/_lab{path}", json=given)
    assert answer.status_code == 400
    return str(answer.json()["error"]["message"])


async def test_a_schedule_is_changed_for_what_is_decided_from_now_on(served: Served, hook: Hook) -> None:
    await served.endpoint(hook)
    await served.post("/v1/products", name="Team")
    kept = list(served.house.mail.schedule.records)
    changed = await served.lab("/schedule", profile="usual", lost=1.0, seed=4)
    assert (changed["seed"], changed["profile"]["lost"], changed["profile"]["twice"]) == (4, 1.0, 0.1)
    assert served.house.mail.schedule.records == kept
    await served.post("/v1/products", name="Solo")
    assert [each.fault for each in served.house.mail.schedule.records] == ["", "lost"]
    assert (await served.lab("/schedule"))["odd"]["lost"] == 1


async def test_what_cannot_be_set_is_refused_by_name(served: Served) -> None:
    assert "hostile" in await refusal(served, "/schedule", profile="kindest")
    assert "unheard" in await refusal(served, "/schedule", unherd=1.0)
    assert "draft_secs" in await refusal(served, "/settings", draft_secs=5)
    assert "turned back" in await refusal(served, "/clock/advance", until=OPENS - 1)
    assert "No such endpoint" in await refusal(served, "/endpoints/we_nobody/down")
    assert (await served.http.post("/_lab/clock/advance", content=b"{")).status_code == 400
    assert set(PROFILES) == {"kind", "usual", "hostile"}


ODD: list[tuple[str, dict[str, Any]]] = [
    ("/clock/advance", {"until": "soon"}),
    ("/clock/advance", {"until": 10**14}),
    ("/clock/advance", {"for": "1d"}),
    ("/schedule", {"profile": ["usual"]}),
    ("/schedule", {"lost": "often"}),
    ("/schedule", {"seed": None}),
    ("/settings", {"draft_seconds": "an hour"}),
    ("/settings", {"dunning": "never"}),
    ("/endpoints/we_1/roll", {"overlap": "x"}),
    ("/charges/ch_1/dispute", {"mood": "angry"}),
    ("/disputes/dp_1/decide", {"won": "perhaps"}),
    ("/save", {}),
]


@pytest.mark.parametrize(("path", "given"), ODD)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(
    path: str, given: dict[str, Any], served: Served
) -> None:
    before = dict(served.house.account.settings), served.house.mail.schedule.profile
    answer = await served.http.post(f"/_lab{path}", json=given)
    assert answer.status_code == 400, answer.text
    assert (served.house.account.settings, served.house.mail.schedule.profile) == before


async def test_settings_are_what_a_person_has_in_the_dashboard(served: Served) -> None:
    assert (await served.lab("/settings", draft_seconds=60))["draft_seconds"] == 60
    assert (await served.http.get("/_lab/settings")).json()["draft_seconds"] == 60


async def test_a_charge_is_disputed_and_lost(served: Served) -> None:
    trigger(served.house.api, "charge.succeeded")
    (charge,) = served.house.account.all("charge")
    dispute = await served.lab(f"/charges/{charge['id']}/dispute", reason="product_not_received")
    assert (dispute["charge"], dispute["reason"]) == (charge["id"], "product_not_received")
    lost = await served.lab(f"/disputes/{dispute['id']}/decide", won=False)
    assert lost["status"] == "lost"


@pytest.mark.parametrize(("succeeds", "status"), [(True, "succeeded"), (False, "requires_payment_method")])
async def test_a_customer_answers_the_question_of_their_bank(
    succeeds: bool, status: str, served: Served
) -> None:
    trigger(served.house.api, "payment_intent.requires_action")
    (intent,) = served.house.account.all("payment_intent")
    await served.lab(f"/payment_intents/{intent['id']}/authenticate", succeeds=succeeds)
    assert served.house.account.objects[intent["id"]]["status"] == status


@pytest.mark.parametrize("path", ["/objects/cus_nobody", "/events/evt_nothing", "/pay/cs_nothing"])
async def test_a_page_of_what_is_not_there_says_so(path: str, served: Served) -> None:
    answer = await served.http.get(path)
    assert answer.status_code == 404
    assert "No such" in answer.text or "Nothing is here" in answer.text


async def test_what_an_invoice_names_as_its_papers_is_served(served: Served) -> None:
    served.house.account.settings["site"] = "http://double"
    api = served.house.api
    customer = api.post("/v1/customers", name="Ada")["id"]
    draft = api.post("/v1/invoices", customer=customer, auto_advance=False)["id"]
    api.post("/v1/invoiceitems", customer=customer, invoice=draft, amount=1000)
    invoice = api.post(f"/v1/invoices/{draft}/finalize")
    for name in ("hosted_invoice_url", "invoice_pdf"):
        page = await served.http.get(invoice[name].removeprefix("http://double"))
        assert (page.status_code, f"Invoice {invoice['number']}" in page.text) == (200, True)


async def test_another_sites_page_may_not_press_our_buttons(served: Served) -> None:
    for origin, status in (("http://elsewhere.example", 403), ("http://double", 200)):
        answer = await served.http.post("/_lab/clock/hold", json={}, headers={"Origin": origin})
        assert answer.status_code == status


async def test_saved_and_loaded_while_it_is_served(tmp_path: Path, served: Served, hook: Hook) -> None:
    """Going on from the file, what was waiting is delivered; what came after the save never was."""
    await served.endpoint(hook)
    hook.answers = [500]
    await served.post("/v1/products", name="Team")
    path = str(tmp_path / "kept")
    await served.lab("/save", path=path)
    await served.post("/v1/products", name="Solo")
    await served.lab("/load", path=path)
    hook.heard.clear()
    await served.lab("/clock/advance", by="1d")
    assert [each.event["data"]["object"]["name"] for each in hook.heard] == ["Team"]
    assert "cannot be read" in await refusal(served, "/load", path=str(tmp_path / "nothing"))
    assert "path" in await refusal(served, "/save")
