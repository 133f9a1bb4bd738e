"""What the demo delivers: everything, some of it twice and late, nothing after the end; and what it says to try."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
import yaml

from lab.demo.site import ACCOUNT, COMPANY, Endpoint
from lab.demo.story import Posting, Story, company, recorded
from lab.demo.trying import GRACE_DAYS, example, guide
from lab.northwind.quarter import Quarter
from millrace_lab.account import DAY
from millrace_lab.clockwork import advance


@pytest.fixture(scope="module")
def story() -> Story:
    return company(seed=4, customers=40)


def made(story: Story) -> Quarter:
    assert story.company is not None
    return story.company


def postings(story: Story) -> list[Posting]:
    return [posting for _, of_day in story.days for posting in of_day]


def test_every_event_arrives_and_a_copy_has_the_same_bytes(story: Story) -> None:
    bodies = {posting.event_id: posting.body for posting in postings(story)}
    assert all(posting.body == bodies[posting.event_id] for posting in postings(story))
    assert {id_: orjson.loads(body) for id_, body in bodies.items()} == {
        event["id"]: event for _, event in made(story).events
    }


def test_a_tenth_comes_twice_and_a_twentieth_late(story: Story) -> None:
    told = {event["id"]: at for at, event in made(story).events}
    count = Counter(posting.event_id for posting in postings(story))
    first = {posting.event_id: posting.at for posting in reversed(postings(story))}
    late = [id_ for id_, at in first.items() if at > told[id_]]
    assert sum(n > 1 for n in count.values()) / len(told) == pytest.approx(0.10, abs=0.02)
    assert len(late) / len(told) == pytest.approx(0.05, abs=0.02)


def test_they_arrive_in_order_by_day_and_none_after_the_end(story: Story) -> None:
    assert all(earlier.at <= later.at for earlier, later in pairwise(postings(story)))
    assert all(posting.at.date() == day for day, of_day in story.days for posting in of_day)
    assert postings(story)[-1].at < story.ends == story.starts + timedelta(days=91)


def test_the_same_seed_delivers_the_same_and_another_one_does_not(story: Story) -> None:
    assert company(4, 40).days == story.days
    assert company(5, 40).days != story.days


def test_what_is_late_at_the_end_of_a_persons_own_events_still_arrives(tmp_path: Path) -> None:
    file = tmp_path / "events.json"
    events = [{"id": f"evt_{n}", "object": "event", "created": 1500000000} for n in range(400)]
    events[3] |= {"account": "acct_Connected", "livemode": True}
    file.write_text(json.dumps(events))
    story = recorded(file, seed=1)
    assert {posting.event_id for posting in postings(story)} == {event["id"] for event in events}
    assert len(postings(story)) > 420
    assert story.endpoints == [Endpoint(ACCOUNT, False), Endpoint("acct_Connected", True)]
    assert (story.truth, story.company) == (None, None)


@pytest.mark.parametrize("seed", [7, 11, 12])
def test_the_customer_to_try_has_always_paid_and_would_be_out_of_grace_when_it_says(seed: int) -> None:
    """Played on: with a bank that declines, the renewal has failed seven days before, and Stripe has not given up."""
    quarter = made(company(seed, customers=20))
    who = example(quarter)
    assert who is not None
    assert not [it for it in quarter.truth.dunning.values() if it.customer == who.customer]
    quarter.api.post(f"/v1/payment_methods/{who.card}", metadata={"lab_bank": "insufficient_funds"})
    advance(quarter.account, quarter.account.now + who.days * DAY)
    sub = quarter.account.objects[who.subscription]
    failed = [told for told in quarter.account.events if told.type == "invoice.payment_failed"]
    ours = [told.created for told in failed if told.object["id"] == sub["latest_invoice"]]
    assert sub["status"] == "past_due"
    assert 7 * DAY <= quarter.account.now - ours[0] <= 8 * DAY
    policies = yaml.safe_load((COMPANY / "dunning.yaml").read_text())
    assert policies["default"]["grace_days"] == GRACE_DAYS
    assert sub["items"]["data"][0]["price"]["product"] not in str(policies["plans"]), "a policy of its own"


def test_what_to_try_is_told_with_real_ids(story: Story) -> None:
    who = example(made(story))
    assert who is not None
    told = guide("http://stripe.test", "http://access.test/cus_…", made(story))
    for part in (
        who.customer,
        who.name,
        who.card,
        who.subscription,
        f"advance {who.days}d",
        "30 September 2026",
    ):
        assert part in told


def test_without_such_a_customer_the_rest_is_told() -> None:
    story = company(seed=4, customers=40)
    quarter = made(story)
    for sub in list(quarter.account.all("subscription")):
        if sub["ended_at"] is None and sub["status"] != "incomplete_expired":
            quarter.api.delete(f"/v1/subscriptions/{sub['id']}")
    assert example(quarter) is None
    assert "http://stripe.test" in guide("http://stripe.test", "http://access.test", quarter)
