"""Webhooks over real HTTP: signed, tried again, as bad as told, and in step with the clock."""

from __future__ import annotations

import asyncio

import pytest
import stripe

from millrace_lab.account import DAY, MINUTE
from millrace_lab.delivery.schedule import Profile
from millrace_lab.delivery.sender import Sender
from millrace_lab.edge.triggers import trigger
from tests.integration.millrace_lab.served import Hook, Request, Served, hooked, serve
from tests.support.double import OPENS


def verified(request: Request, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(request.body.decode(), request.signature, secret, tolerance=300)
    except stripe.SignatureVerificationError:
        return False
    return True


async def test_an_event_arrives_signed_and_soon_after_its_request(served: Served, hook: Hook) -> None:
    endpoint = await served.endpoint(hook, "product.created")
    await served.post("/v1/products", name="Team")
    await served.lab("/clock/advance", by="0s")
    (request,) = hook.heard
    assert verified(request, endpoint["secret"])
    event = stripe.Webhook.construct_event(request.body, request.signature, endpoint["secret"])
    assert event.type == "product.created"
    assert event.created == OPENS
    assert event.pending_webhooks == 1


async def test_an_endpoint_gets_the_version_that_it_was_made_with(served: Served, hook: Hook) -> None:
    await served.endpoint(hook, "product.created", api_version="2024-06-20")
    await served.endpoint(hook, "product.created")
    await served.post("/v1/products", name="Team")
    await served.lab("/clock/advance", by="0s")
    assert {r.event["api_version"] for r in hook.heard} == {"2024-06-20", "2026-10-28.endive"}


async def test_a_thin_destination_is_told_without_the_object(served: Served, hook: Hook) -> None:
    made = await served.http.post(
        "/v2/core/event_destinations",
        json={
            "name": "thin",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": ["v1.product.created"],
            "webhook_endpoint": {"url": hook.url},
            "include": ["webhook_endpoint.signing_secret"],
        },
    )
    secret = made.json()["webhook_endpoint"]["signing_secret"]
    product = await served.post("/v1/products", name="Team")
    await served.lab("/clock/advance", by="0s")
    (request,) = hook.heard
    client = stripe.StripeClient("sk_test_lab")
    notification = client.parse_event_notification(request.body, request.signature, secret)
    assert notification.type == "v1.product.created"
    assert request.event["related_object"]["id"] == product["id"]
    assert "data" not in request.event


@pytest.mark.parametrize("answer", [500, 301, 404])
async def test_a_refused_delivery_is_made_again_in_its_time(answer: int, served: Served, hook: Hook) -> None:
    await served.endpoint(hook)
    hook.answers = [answer]
    await served.post("/v1/products", name="Team")
    await served.lab("/clock/advance", by="9m")
    assert len(hook.heard) == 1
    await served.lab("/clock/advance", by="1m")
    assert len(hook.heard) == 2
    assert [each["status"] for each in (await served.http.get("/_lab/deliveries")).json()["attempts"]] == [
        answer,
        200,
    ]


async def test_each_attempt_is_signed_anew_with_the_real_time(served: Served, hook: Hook) -> None:
    endpoint = await served.endpoint(hook)
    hook.answers = [500]
    await served.post("/v1/products", name="Team")
    await served.lab("/clock/advance", by="2d")
    assert all(verified(each, endpoint["secret"]) for each in hook.heard)


async def test_a_handler_that_asks_back_is_answered_as_of_now_in_the_story(
    served: Served, hook: Hook
) -> None:
    """Two updates are delivered one after the other; who refetches at the first must not see the second."""
    await served.endpoint(hook, "product.updated")
    product = await served.post("/v1/products", name="Team")
    seen = []

    async def refetch(request: Request) -> None:
        answer = await served.http.get(f"/v1/products/{product['id']}")
        seen.append((request.event["data"]["object"]["name"], answer.json()["name"]))

    hook.reacts = refetch
    for name in ("Team 2", "Team 3"):
        await served.post(f"/v1/products/{product['id']}", name=name)
        await served.lab("/clock/advance", by="1h")
    assert seen == [("Team 2", "Team 2"), ("Team 3", "Team 3")]


async def test_time_waits_for_the_deliveries_of_each_second(served: Served, hook: Hook) -> None:
    """While a handler works on what is due at one second, the account's clock stands there."""
    await served.endpoint(hook, "product.created")
    hook.answers = [500, 500]
    at = []

    async def look(_: Request) -> None:
        at.append((await served.http.get("/_lab/clock")).json()["now"] - OPENS)

    hook.reacts = look
    await served.post("/v1/products", name="Team")
    await served.lab("/clock/advance", by="1d")
    assert at == [0, 600, 7800]


async def test_an_advance_can_be_stopped_between_two_moments(served: Served, hook: Hook) -> None:
    await served.endpoint(hook)
    hook.answers = [500] * 3
    await served.post("/v1/products", name="Team")
    await served.lab("/clock/advance", by="0s")

    async def stop(_: Request) -> None:
        served.house.life.stop()

    hook.reacts = stop
    assert (await served.lab("/clock/advance", by="1d"))["now"] == OPENS + 10 * MINUTE
    hook.reacts = None
    assert (await served.lab("/clock/advance", by="1d"))["now"] == OPENS + DAY + 10 * MINUTE


async def test_an_endpoint_that_is_unplugged_gets_it_when_it_is_back(served: Served, hook: Hook) -> None:
    endpoint = await served.endpoint(hook)
    await served.lab(f"/endpoints/{endpoint['id']}/down")
    await served.post("/v1/products", name="Team")
    await served.lab("/clock/advance", by="5m")
    assert hook.heard == []
    await served.lab(f"/endpoints/{endpoint['id']}/up")
    await served.lab("/clock/advance", by="1h")
    assert hook.types() == ["product.created"]


async def test_while_a_secret_is_rolled_both_are_good_for_a_day(served: Served, hook: Hook) -> None:
    endpoint = await served.endpoint(hook)
    new = (await served.lab(f"/endpoints/{endpoint['id']}/roll"))["secret"]
    await served.post("/v1/products", name="Team")
    await served.lab("/clock/advance", by="25h")
    await served.post("/v1/products", name="Solo")
    await served.lab("/clock/advance", by="0s")
    good = [(verified(each, endpoint["secret"]), verified(each, new)) for each in hook.heard]
    assert good == [(True, True), (False, True)]


async def test_resent_by_hand(served: Served, hook: Hook) -> None:
    await served.endpoint(hook)
    await served.post("/v1/products", name="Team")
    await served.lab("/clock/advance", by="0s")
    event = hook.heard[0].event["id"]
    answer = await served.lab(f"/events/{event}/resend")
    assert [(each["way"], each["status"]) for each in answer["attempts"]] == [("resend", 200)]
    assert [each.event["id"] for each in hook.heard] == [event, event]


MISHAPS = {
    # what the schedule does to every first attempt → what the handler meets
    "stalled": (Profile(stalled=1.0), 0),
    "unheard": (Profile(unheard=1.0), 3),
    "lost": (Profile(lost=1.0), 1),
    "gone": (Profile(gone=1.0), 0),
    "twice": (Profile(twice=1.0), 2),
}


@pytest.mark.parametrize("what", MISHAPS)
async def test_a_mishap_of_the_schedule_really_happens(what: str, hook: Hook) -> None:
    profile, arrives = MISHAPS[what]
    async with serve(profile) as served:
        await served.endpoint(hook)
        await served.post("/v1/products", name="Team")
        await served.lab("/clock/advance", by="3d")
        assert len(hook.heard) >= arrives
        assert (hook.broken > 0) == (what == "stalled")
        assert (len(hook.heard) == 0) == (arrives == 0)


async def test_a_rolled_out_secret_and_an_event_of_the_other_mode_can_be_told(hook: Hook) -> None:
    async with serve(Profile(rotated=1.0, stray=1.0)) as served:
        endpoint = await served.endpoint(hook)

        async def judge(request: Request) -> None:
            request.status = 200

        hook.reacts = judge
        await served.post("/v1/products", name="Team")
        await served.lab("/clock/advance", by="0s")
    good = {(verified(each, endpoint["secret"]), each.event["livemode"]) for each in hook.heard}
    assert good == {(False, False), (True, True)}


async def test_an_endpoint_where_nobody_listens_is_a_failure_like_any(served: Served) -> None:
    async with hooked() as gone:
        pass
    await served.endpoint(gone)
    await served.post("/v1/products", name="Team")
    await served.lab("/clock/advance", by="3d")
    attempts = (await served.http.get("/_lab/deliveries")).json()["attempts"]
    assert [each["error"] for each in attempts] == ["connection refused"] * 3


async def test_an_answer_that_takes_too_long_is_none(served: Served, hook: Hook) -> None:
    await served.endpoint(hook)
    never = asyncio.Event()

    async def hang(_: Request) -> None:
        await never.wait()

    hook.reacts = hang
    mail = served.house.mail
    trigger(served.house.api, "product.created")
    async with Sender(mail, timeout_seconds=0.05) as sender:
        await sender.send(mail.take(OPENS))
    never.set()
    assert [(each.answer.status, each.answer.error) for each in mail.log] == [(None, "timed out")]


async def test_whoever_keeps_a_clock_of_their_own_is_told_before_anything_arrives(
    served: Served, hook: Hook
) -> None:
    """Such as a system whose time is turned together with the account's."""
    told: list[int] = []

    async def turn(now: int) -> None:
        told.append(now - OPENS)

    async def look(_: Request) -> None:
        seen.append(told[-1])

    seen: list[int] = []
    served.house.life.moments.append(turn)
    hook.reacts, hook.answers = look, [500, 500]
    await served.endpoint(hook)
    await served.post("/v1/products", name="Team")
    await served.lab("/clock/advance", by="1d")
    assert seen == [0, 600, 7800]
    assert told[-1] == 86400, "and of where the clock stops, when nothing is due there"


async def test_many_are_sent_at_once(served: Served, hook: Hook) -> None:
    """Forty handlers wait for each other: were they sent one by one, none would ever be answered."""
    meeting = asyncio.Barrier(40)

    async def meet(_: Request) -> None:
        await meeting.wait()

    for number in range(40):
        await served.post("/v1/products", name=str(number))
    await served.endpoint(hook)
    events = [told.id for told in served.house.account.events[:40]]
    hook.reacts = meet
    for event in events:
        served.house.mail.resend(event)
    await served.lab("/clock/advance", by="0s")
    assert [each.answer.status for each in served.house.mail.log] == [200] * 40


async def test_a_running_clock_follows_the_real_one_and_can_still_be_turned(served: Served) -> None:
    life, real = served.house.life, [1000.0]
    life.wall = lambda: real[0]
    life.let_run()
    real[0] += 5
    await life.catch_up()
    assert served.house.account.now == OPENS + 5
    await served.lab("/clock/advance", by="1d")
    real[0] += 5
    await life.catch_up()
    assert served.house.account.now == OPENS + DAY + 10
    life.hold()
    real[0] += 5
    await life.catch_up()
    assert served.house.account.now == OPENS + DAY + 10
