"""A page of rows as records of their partitions."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from aiokafka.partitioner import murmur2 as the_clients
from hypothesis import given
from hypothesis import strategies as st

from outbox_relay.domain.cursor import NOTHING, Position, Snapshot
from outbox_relay.domain.page import Page, Row, murmur2, partition, plan

PARTITIONS = {"billing": 3, "payments": 2}


def row(row_id: int, key: str = "k", topic: str = "billing", headers: str = "", size: int = 10) -> Row:
    return Row(
        row_id,
        topic,
        key,
        headers or f'{{"ce_id": "evt_{row_id}"}}',
        b"{}",
        row_id + 100,
        size,
    )


@given(st.binary(max_size=64))
def test_keys_go_where_every_client_would_send_them(key: bytes) -> None:
    assert murmur2(key) == the_clients(key) & 0xFFFFFFFF


def test_rows_of_one_key_share_a_partition_in_order_and_are_numbered_densely() -> None:
    rows = [row(n, key=f"k{n % 5}", topic="billing" if n % 3 else "payments") for n in range(1, 41)]
    made = plan(rows, PARTITIONS, {"billing": (7, 0, 0)}, bytes_max=100)
    for (topic, number), records in made.batches.items():
        first = 7 if (topic, number) == ("billing", 0) else 0
        seen = [int(dict(r.headers)["millrace-pseq"]) for r in records]
        ids = [int(dict(r.headers)["millrace-outbox-id"]) for r in records]
        assert seen == list(range(first + 1, first + 1 + len(seen)))
        assert ids == sorted(ids)
        assert {partition(r.key.decode(), PARTITIONS[topic]) for r in records} == {number}
        assert made.pseq[topic][number] == seen[-1]
    assert made.published == {"billing": 27, "payments": 13}


def test_a_plan_leaves_the_numbers_that_it_was_given_alone() -> None:
    """They belong to a page that may not be committed yet."""
    given_numbers: Mapping[str, list[int]] = {"billing": [1, 2, 3], "other": [9]}
    made = plan([row(1)], PARTITIONS, given_numbers, bytes_max=100)
    assert given_numbers == {"billing": [1, 2, 3], "other": [9]}
    assert made.pseq["other"] == [9]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(2, topic="nowhere"), "unknown_topic"),
        (row(2, topic="payments"), "grown_topic"),
        (row(2, size=101), "too_large"),
        (row(2, headers='["a", "list"]'), "bad_headers"),
        (row(2, headers='{"n": 1}'), "bad_headers"),
        (row(2, headers='{"n": null}'), "bad_headers"),
        (row(2, headers="null"), "bad_headers"),
        (row(2, headers="[" * 2000 + "]" * 2000), "bad_headers"),  # deeper than a parser goes
    ],
)
def test_nothing_steps_over_a_row_that_cannot_go(bad: Row, reason: str) -> None:
    made = plan([row(1), bad, row(3)], PARTITIONS, {"payments": (1, 2, 3)}, bytes_max=100)
    assert made.refused is not None
    assert (made.refused.row_id, made.refused.reason) == (2, reason)
    assert [dict(r.headers)["millrace-outbox-id"] for rs in made.batches.values() for r in rs] == [b"1"]
    assert sum(made.published.values()) == 1


def test_a_page_is_cut_before_the_row_that_cannot_go() -> None:
    window = Snapshot(9, 9)
    page = Page([row(1), row(2), row(3)], Position(window), window)
    cut = page.before(3, Position())
    assert [r.id for r in cut.rows] == [1, 2]
    assert cut.position == Position(NOTHING, window, last_id=2, newest=102)


def test_with_nothing_before_the_row_one_stays_where_one_stood() -> None:
    window = Snapshot(9, 9)
    place = Position(NOTHING, window, last_id=4, newest=8)
    cut = Page([row(5)], Position(window), window).before(5, place)
    assert (list(cut.rows), cut.position, cut.goes_on) == ([], place, False)
