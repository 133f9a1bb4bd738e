"""What dunning announces: each change that others can see, once, with the access it asks for."""

from __future__ import annotations

from dunning.domain import Case
from millrace.consumer import Outcome
from millrace.events.ours import DunningChanged
from tests.unit.dunning.runner import FOLD, judge
from tests.unit.dunning.told import CUSTOMER, SUBSCRIPTION, day, stripe_event, told


def _announced(case: Case | None, words: str, at: float) -> tuple[Case | None, list[DunningChanged]]:
    decision = judge(case, told(words, at))
    return decision.state or case, [e for e in decision.effects if isinstance(e, DunningChanged)]


def test_each_visible_change_is_announced_with_its_access_and_version() -> None:
    case: Case | None = None
    seen = []
    for words, at in (
        ("declined insufficient_funds", 0),
        ("failed 1", 0),
        ("failed 2", 3),
        ("timer 7", 7),
        ("paid 3", 9),
        ("paid 3", 9),
    ):
        case, announced = _announced(case, words, at)
        seen += [(a.previous_stage, a.stage, a.access, a.attempts, a.case_version) for a in announced]
    assert seen == [
        (None, "grace", "given", 1, 2),
        ("grace", "grace", "given", 2, 3),
        ("grace", "restricted", "restricted", 2, 4),
        ("restricted", "recovered", "given", 3, 5),
    ]


def test_an_announcement_says_who_what_until_when_and_because_of_which_event() -> None:
    event = told("failed 1", 0)
    _, [announced] = _announced(None, "failed 1", 0)
    assert (announced.customer, announced.subscription, announced.invoice) == (CUSTOMER, SUBSCRIPTION, "in_1")
    assert announced.grace_until == day(7)
    assert announced.cause == event.id


def test_a_plan_has_the_grace_and_the_consequences_of_its_own_policy() -> None:
    case = judge(None, told("failed 1", 0, price="price_scale")).state
    assert case is not None and case.standing.grace_until == day(30)
    case = judge(case, told("uncollectible user_forgiven", 9)).state
    assert case is not None and (case.standing.stage, case.standing.access) == ("written_off", "given")


def test_a_policy_that_only_watches_never_restricts() -> None:
    case = judge(None, told("failed 1", 0, price="price_free")).state
    assert case is not None and (case.standing.stage, case.standing.access) == ("open", "given")
    case = judge(case, told("failed 4 last", 9, price="price_free")).state
    assert case is not None and (case.standing.stage, case.standing.access) == ("exhausted", "given")


def test_a_payment_that_names_no_invoice_concerns_no_case() -> None:
    body = {
        "id": "pi_9",
        "object": "payment_intent",
        "customer": CUSTOMER,
        "last_payment_error": {"code": "x"},
    }
    assert FOLD.key(stripe_event("payment_intent.payment_failed", body, day(0), "evt_9")) is None


def test_a_payment_that_does_not_say_why_is_a_noop_with_its_reason() -> None:
    body = {"id": "pi_9", "object": "payment_intent", "invoice": "in_1", "last_payment_error": None}
    decision = judge(None, stripe_event("payment_intent.payment_failed", body, day(0), "evt_9"))
    assert decision.outcome == Outcome.NOOP
    assert decision.reason == "the payment intent does not say why it failed"


def test_an_invoice_that_is_sent_has_no_last_attempt() -> None:
    event = told("failed 1 last", 0)
    event.data["data"]["object"]["collection_method"] = "send_invoice"
    case = judge(None, event).state
    assert case is not None and not case.facts.final
