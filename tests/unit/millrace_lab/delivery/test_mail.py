"""The book of deliveries: who gets what, what follows an answer, and who waits for whom."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_lab.account import DAY, HOUR, MINUTE
from millrace_lab.delivery.mail import Answer, Attempt, Letter, Mail
from millrace_lab.delivery.schedule import Profile, Schedule
from millrace_lab.edge.triggers import trigger
from tests.support.double import OPENS, Double

OK, BAD, AWAY = Answer(200, 4), Answer(500, 4), Answer(301, 4)


class Post:
    """A double with a mail, and a postman who answers for the endpoints."""

    def __init__(self, profile: Profile | str = "kind") -> None:
        self.stripe = Double()
        self.account = self.stripe.account
        self.mail = Mail(self.account, Schedule(1, profile))

    def endpoint(self, *types: str, **params: Any) -> str:
        made = self.stripe.post(
            "/v1/webhook_endpoints",
            url="https://example.com/hook",
            enabled_events=list(types) or ["*"],
            **params,
        )
        return str(made["id"])

    def product(self, name: str = "Team") -> str:
        return str(self.stripe.post("/v1/products", name=name)["id"])

    def deliver(self, *answers: Answer, until: int = OPENS + 30 * DAY) -> list[Attempt]:
        """Make every delivery up to a second; the answers in turn, the last one for all that follow."""
        left, made = list(answers), []
        while letters := self.mail.take(until):
            for letter in letters:
                self.account.now = max(self.account.now, letter.at)
                made.append(self.mail.record(letter, left.pop(0) if len(left) > 1 else left[0]))
        return made


def seconds(made: list[Attempt]) -> list[int]:
    return [attempt.letter.at - OPENS for attempt in made]


WANTED = [
    # an endpoint asks for     it hears
    (["*"], ["product.created", "product.updated", "product.deleted"]),
    (["product.updated"], ["product.updated"]),
    (["customer.created"], []),
]


@pytest.mark.parametrize(("types", "heard"), WANTED)
def test_an_endpoint_hears_what_it_asked_for(types: list[str], heard: list[str]) -> None:
    post = Post()
    post.endpoint(*types)
    product = post.product()
    post.stripe.post(f"/v1/products/{product}", name="Team 2")
    post.stripe.delete(f"/v1/products/{product}")
    made = post.deliver(OK)
    assert [post.account.by_event[a.letter.event].type for a in made] == heard


LIVE = [0, 300, 2100, 9300, 27300, 63300, 106500, 149700, 192900, 236100]  # 5 min, 30 min, 2 h, 5 h … 12 h
SANDBOX = [0, 10 * MINUTE, 10 * MINUTE + 2 * HOUR]
TRIES = [
    # live mode  setting    attempts at an endpoint that always fails, in seconds after the first
    (False, "by_mode", SANDBOX),
    (True, "by_mode", LIVE),
    (False, "live", LIVE),
    (True, "sandbox", SANDBOX),
]


@pytest.mark.parametrize(("livemode", "setting", "tries"), TRIES)
def test_a_failure_is_tried_again_for_three_days_or_three_times(
    livemode: bool, setting: str, tries: list[int]
) -> None:
    post = Post()
    post.endpoint()
    post.account.livemode, post.account.settings["retries"] = livemode, setting
    post.product()
    assert seconds(post.deliver(BAD)) == tries
    assert post.account.pending != {}


@pytest.mark.parametrize("failing", [BAD, AWAY, Answer(error="timed out"), Answer(404), Answer(199)])
def test_anything_but_a_success_is_tried_again_until_one(failing: Answer) -> None:
    post = Post()
    post.endpoint()
    post.product()
    made = post.deliver(failing, OK)
    assert [a.letter.attempt for a in made] == [1, 2]
    assert post.account.pending == {}


@pytest.mark.parametrize("ending", ["deleted", "disabled"])
def test_an_endpoint_that_is_gone_is_left_alone(ending: str) -> None:
    post = Post()
    endpoint = post.endpoint()
    post.product()
    post.deliver(BAD, until=OPENS)
    if ending == "deleted":
        post.stripe.delete(f"/v1/webhook_endpoints/{endpoint}")
    else:
        post.stripe.post(f"/v1/webhook_endpoints/{endpoint}", disabled="true")
    post.product("Solo")
    assert post.deliver(BAD) == []
    assert post.account.pending == {}


def test_pending_webhooks_counts_the_endpoints_that_have_not_accepted() -> None:
    post = Post()
    post.endpoint(), post.endpoint()
    post.product()
    event = post.account.events[-1].id
    assert post.stripe.get(f"/v1/events/{event}")["pending_webhooks"] == 2
    post.deliver(OK, BAD, until=OPENS)
    assert post.stripe.get(f"/v1/events/{event}")["pending_webhooks"] == 1
    assert [e["id"] for e in post.stripe.get("/v1/events", delivery_success="false")["data"]] == [event]
    post.deliver(OK)
    assert post.stripe.get(f"/v1/events/{event}")["pending_webhooks"] == 0


def test_a_resend_by_hand_does_not_call_off_the_retries() -> None:
    post = Post()
    endpoint = post.endpoint()
    post.product()
    event = post.account.events[-1].id
    post.deliver(BAD, until=OPENS)
    assert [letter.way for letter in post.mail.resend(event, endpoint)] == ["resend"]
    post.deliver(OK, until=OPENS)
    assert post.account.pending == {}
    later = post.deliver(BAD)
    assert [(a.letter.way, a.letter.attempt) for a in later] == [("automatic", 2), ("automatic", 3)]


def test_copies_are_sent_but_decide_nothing() -> None:
    post = Post(Profile(twice=1.0, echo=1.0))
    post.endpoint()
    for name in ("Team", "Solo", "Duo"):
        post.product(name)
    made = post.deliver(OK, OK, OK, BAD)
    assert {a.letter.way for a in made if not a.answer.accepted} == {"copy"}
    assert [a.letter.attempt for a in made if a.letter.way == "automatic"] == [1, 1, 1]
    assert max(seconds(made)) > DAY


def test_a_new_invoice_is_acknowledged_when_the_last_of_its_endpoints_accepts_it() -> None:
    """Until then it stays a draft, for up to 72 hours. Source: docs.stripe.com/billing/invoices/subscription."""
    post = Post()
    post.account.settings["retries"] = "live"
    post.endpoint("invoice.created"), post.endpoint("invoice.created")
    trigger(post.stripe.api, "customer.subscription.created")
    post.deliver(OK, until=OPENS)
    post.stripe.wait("31d 2h")
    draft = next(reversed(list(post.account.all("invoice"))))
    assert draft["status"] == "draft"
    post.deliver(OK, BAD, until=post.account.now)
    assert post.account.objects[draft["id"]]["webhooks_delivered_at"] is None
    post.deliver(OK, until=post.account.now + HOUR)
    post.stripe.wait("1s")
    assert post.account.objects[draft["id"]]["status"] == "paid"


def test_letters_come_in_the_order_of_time_then_of_ties() -> None:
    post = Post("hostile")
    post.endpoint()
    for number in range(60):
        post.product(str(number))
    at = seconds(post.deliver(OK))
    assert at == sorted(at)


def test_an_event_of_a_test_clock_is_sent_now_whatever_the_clock_says() -> None:
    post = Post()
    post.endpoint("test_helpers.test_clock.created")
    post.stripe.post("/v1/test_helpers/test_clocks", frozen_time=OPENS + 300 * DAY)
    assert seconds(post.deliver(OK)) == [0]


def test_the_book_is_kept_and_taken_up_again() -> None:
    post = Post("hostile")
    post.endpoint(), post.endpoint()
    for number in range(20):
        post.product(str(number))
    post.deliver(OK, BAD, BAD, OK, until=OPENS + HOUR)
    other = Mail(post.account, post.mail.schedule)
    other.restore(post.mail.state())
    assert other.state() == post.mail.state()
    assert other.waiting() == post.mail.waiting() != []
    assert isinstance(other.waiting()[0], Letter)
