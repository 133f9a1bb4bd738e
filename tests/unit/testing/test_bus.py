"""The bus: what a consumer reads from it is what it would read from Kafka."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ingest.domain import envelope
from millrace.events import STRIPE, instant
from millrace.events.examples import EXAMPLES
from millrace.events.keys import key_hash
from millrace.testing import Bus, event_of, stripe_event
from outbox_relay.domain.page import OUTBOX, OUTBOX_ID, PSEQ

PAID = stripe_event("invoice.paid", {"id": "in_1", "customer": "cus_1"})


def test_an_event_comes_back_as_it_was_sent() -> None:
    bus = Bus()
    bus.send(PAID)
    [record] = bus.records
    assert record.event is not None
    assert (record.topic, record.offset, record.problem) == ("stripe.billing", 0, "")
    for name in ("id", "type", "source", "subject", "time", "key", "schema", "recorded"):
        assert getattr(record.event, name) == getattr(PAID, name), name
    assert dict(record.event.data) == dict(PAID.data)


def test_a_key_has_its_partition_and_the_numbers_there_are_dense() -> None:
    bus = Bus(partitions=7)
    for n in range(40):
        bus.send(stripe_event("invoice.paid", {"id": f"in_{n}", "customer": f"cus_{n % 11}"}))
    numbers: dict[int, list[tuple[int, int]]] = {}
    for record in bus.records:
        assert record.key is not None
        assert record.partition == key_hash(record.key.decode()) % 7
        numbers.setdefault(record.partition, []).append((record.offset, int(record.headers[PSEQ])))
    assert len(numbers) > 1
    for found in numbers.values():
        assert found == [(n, n + 1) for n in range(len(found))]


def test_a_record_carries_what_the_relay_adds() -> None:
    bus = Bus()
    bus.send(PAID)
    assert {OUTBOX, OUTBOX_ID, PSEQ} < set(bus.records[0].headers)


@pytest.mark.parametrize("payload", EXAMPLES, ids=lambda payload: payload.TYPE)
def test_ours_go_where_their_service_sends_them(payload: object) -> None:
    event = event_of(payload)  # type: ignore[arg-type]
    bus = Bus()
    bus.send(event)
    assert bus.records[0].topic == type(payload).TOPIC  # type: ignore[attr-defined]
    assert type(payload).of(bus.records[0].event) == payload  # type: ignore[attr-defined]


def test_somebody_elses_event_needs_to_be_told_its_topic() -> None:
    bus, theirs = Bus(), replace(PAID, type="crm.customer.welcomed")
    with pytest.raises(
        ValueError, match=r"crm\.customer\.welcomed is neither Stripe's nor ours: send it with topic="
    ):
        bus.send(theirs)
    bus.send(theirs, topic="crm.welcomed")
    assert [record.topic for record in bus.records] == ["crm.welcomed"]


def test_what_nobody_can_read_says_why() -> None:
    record = Bus().put("stripe.billing", key=b"k", value=b"{", headers={"ce_id": b"e"})
    assert (record.event, record.problem) == (None, "ce_type is missing: not a record of ours")


def test_a_reader_goes_on_behind_its_positions_in_the_order_of_sending() -> None:
    bus = Bus()
    first, second, third = (bus.put("t", partition=n) for n in (0, 1, 0))
    assert bus.after({}) == [first, second, third]
    assert bus.after({("t", 0): 1}) == [second, third]
    assert bus.after({("t", 0): 2, ("t", 1): 1}) == []


BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "of a customer": ("invoice.paid", {"id": "in_1", "customer": "cus_1"}),
    "a customer itself": ("customer.created", {"id": "cus_1"}),
    "an expanded customer": (
        "charge.succeeded",
        {"id": "ch_1", "customer": {"id": "cus_1", "object": "customer"}},
    ),
    "without a customer": ("product.created", {"id": "prod_1"}),
    "without anything": ("balance.available", {}),
}


@pytest.mark.parametrize("body", BODIES)
def test_an_event_of_stripes_is_built_as_the_door_builds_it(body: str) -> None:
    built = stripe_event(*BODIES[body])
    door = envelope.Endpoint("main", "acct_test", False, built.schema, ())
    made = envelope.arrival(door, dict(built.data), b"", now=built.time, trace="")
    assert isinstance(made, envelope.Arrival)
    for name in ("id", "type", "source", "subject", "time", "key", "schema"):
        assert getattr(built, name) == getattr(made.event, name), name


def test_the_same_call_is_the_same_event_and_another_body_another() -> None:
    again = stripe_event("invoice.paid", {"customer": "cus_1", "id": "in_1"})
    other = stripe_event("invoice.paid", {"id": "in_2", "customer": "cus_1"})
    assert PAID.id == again.id != other.id
    assert PAID.id.startswith("evt_")


def test_what_changed_has_its_old_values() -> None:
    event = stripe_event("customer.subscription.updated", {"id": "sub_1"}, previous={"status": "trialing"})
    assert event.data["data"]["object"]["object"] == "subscription"
    assert event.data["data"]["previous_attributes"] == {"status": "trialing"}
    assert event.data["created"] == int(event.time.timestamp())
    assert instant(event.time).endswith("Z")


@pytest.mark.parametrize("type_", ["stripe.invoice.paid", "millrace.ledger.posted", "invoice"])
def test_a_type_that_is_not_stripes_own_is_refused_with_what_to_write(type_: str) -> None:
    with pytest.raises(ValueError, match=r"write Stripe's own type, as in 'invoice\.paid'"):
        stripe_event(type_, {})
    assert STRIPE == "stripe."
