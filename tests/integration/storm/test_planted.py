"""Faults that careful people have made, each planted in a copy of a consumer: found, and told in a few events."""

from __future__ import annotations

import pytest

from millrace_lab.storm.hunting import found, hunt
from tests.integration.storm.conftest import MakeDirect
from tests.integration.storm.planted import PLANTED, planted
from tests.integration.storm.runs import run

SEEDS = range(1, 51)
EVENTS_MOST = 6
MOMENTS = 8  # what is wrong for a week only is wrong too

# The fault → what the shortest story must show: which answer is wrong, and the events that it takes.
SHOWN = {
    "older overwrites newer": (
        {"access", "status", "items", "cancel_at", "pausing"},
        {"customer.subscription."},
    ),
    "deduplicated by event id only": ({"receivable"}, {"invoice.finalized", "invoice_payment.paid"}),
    "refund posted twice": ({"refunded", "settled"}, {"refund.", "charge.refund."}),
    "restriction not lifted": (
        {"access", "restricted", "stage"},
        {"invoice.payment_failed", "invoice.paid", "customer.subscription."},
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
async def test_it_is_found_within_fifty_seeds_and_shrunk_to_six_events(
    fault: str, system_of: MakeDirect
) -> None:
    story = await hunt(await system_of(planted(fault)), run, SEEDS, moments=MOMENTS)
    assert story is not None
    assert len(story.arrivals) <= EVENTS_MOST, f"\n{story}"
    aspects, types = SHOWN[fault]
    assert story.difference.aspect in aspects
    assert all(any(each.type.startswith(beginning) for beginning in types) for each in story.arrivals), (
        f"\n{story}"
    )
    ours = await system_of({})
    assert await found(ours, story.arrivals) == []
