"""A page of rows as records of their partitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.partitioner import murmur2 as the_clients
from hypothesis import given
from hypothesis import strategies as st

from millrace.events.dataref import Claim
from millrace.events.keys import key_hash, murmur2
from outbox_relay.domain.cursor import NOTHING, Position, Snapshot
from outbox_relay.domain.page import Knowledge, Page, Plan, Refused, Row, Rules, plan

PARTITIONS = {"billing": 4, "payments": 2, "odd": 3}
WIDE = Rules(record_bytes=10_000)


def row(
    row_id: int, key: str = "k", topic: str = "billing", headers: str = "", payload: bytes = b"{}"
) -> Row:
    headers = headers or f'{{"ce_id": "evt_{row_id}"}}'
    size = len(key.encode()) + len(headers.encode()) + len(payload)
    return Row(row_id, topic, key, headers, payload, row_id + 100, size, key_hash(key))


def knowledge(**more: Any) -> Knowledge:
    return Knowledge("main@0", 1, PARTITIONS, {"payments": (1, 2, 3)}, **more)


def became(made: Plan) -> dict[int, str]:
    """What became of each row that the plan got to."""
    sent = {int(dict(r.headers)["millrace-outbox-id"]): "record" for rs in made.batches.values() for r in rs}
    parked = {one.row.id: one.reason for one in made.parked}
    return dict(sorted({**sent, **parked, **dict.fromkeys(made.unclaimed, "claim")}.items()))


@given(st.binary(max_size=64))
def test_keys_go_where_every_client_would_send_them(key: bytes) -> None:
    assert murmur2(key) == the_clients(key) & 0xFFFFFFFF


def test_rows_of_one_key_share_a_partition_in_order_and_are_numbered_densely() -> None:
    rows = [row(n, key=f"k{n % 5}", topic="billing" if n % 3 else "payments") for n in range(1, 41)]
    made = plan(rows, WIDE, Knowledge("main@0", 1, PARTITIONS, {"billing": (7, 0, 0, 0)}))
    for (topic, number), records in made.batches.items():
        first = 7 if (topic, number) == ("billing", 0) else 0
        seen = [int(dict(r.headers)["millrace-pseq"]) for r in records]
        ids = [int(dict(r.headers)["millrace-outbox-id"]) for r in records]
        assert seen == list(range(first + 1, first + 1 + len(seen)))
        assert ids == sorted(ids)
        assert {key_hash(r.key.decode()) % PARTITIONS[topic] for r in records} == {number}
        assert made.pseq[topic][number] == seen[-1]
    assert made.published == {"billing": 27, "payments": 13}


def test_a_plan_leaves_the_numbers_that_it_was_given_alone() -> None:
    """They belong to a page that may not be committed yet."""
    given_numbers: Mapping[str, list[int]] = {"billing": [1, 2, 3, 4], "other": [9]}
    made = plan([row(1)], WIDE, Knowledge("main@0", 1, PARTITIONS, given_numbers))
    assert given_numbers == {"billing": [1, 2, 3, 4], "other": [9]}
    assert made.pseq["other"] == [9]


LIMITS = Rules(record_bytes=2000, claim_bytes=1000, claim_bytes_max=5000, block=frozenset({"billing"}))
FIT = [  # payload bytes → what becomes of the row
    (999, "record"),
    (1000, "record"),  # the limit itself still goes as it is
    (1001, "claim"),
    (5000, "claim"),
    (5001, "too_large"),
    (2 << 20, "too_large"),
]


@pytest.mark.parametrize(("payload_bytes", "becomes"), FIT)
def test_a_payload_travels_stays_behind_or_is_too_large(payload_bytes: int, becomes: str) -> None:
    made = plan([row(2, payload=bytes(payload_bytes))], LIMITS, knowledge())
    assert became(made) == {2: becomes}


def test_what_does_not_fit_into_a_record_with_its_headers_leaves_its_payload_behind() -> None:
    wide = f'{{"a": "{"x" * 1100}"}}'
    assert became(plan([row(2, headers=wide, payload=bytes(900))], LIMITS, knowledge())) == {2: "claim"}
    assert became(plan([row(2, headers=f'{{"a": "{"x" * 1800}"}}')], LIMITS, knowledge())) == {2: "record"}
    alone = f'{{"a": "{"x" * 2000}"}}'
    assert became(plan([row(2, headers=alone)], LIMITS, knowledge())) == {2: "too_large"}


def test_a_claim_is_a_small_record_that_says_where_the_payload_is() -> None:
    claim = Claim("ledger", "8c5c2c0e-0b0c-4d1e-9a52-5d8f3d0e4a11", 4000, "ab" * 32)
    first = plan([row(1), row(2, payload=bytes(4000)), row(3)], LIMITS, knowledge())
    assert first.unclaimed == [2]
    made = plan([row(1), row(2, payload=bytes(4000)), row(3)], LIMITS, knowledge(claims={2: claim}))
    records = [r for group in made.batches.values() for r in group]
    headers = dict(records[1].headers)
    assert became(made) == {1: "record", 2: "record", 3: "record"}
    assert headers["ce_dataref"] == b"millrace:ledger/8c5c2c0e-0b0c-4d1e-9a52-5d8f3d0e4a11"
    assert Claim.parse(headers["ce_dataref"], records[1].value) == claim
    assert [dict(r.headers)["millrace-pseq"] for r in records] == [b"1", b"2", b"3"]  # in its place


UNFIT = [
    (row(2, topic="nowhere"), "unknown_topic"),
    (row(2, topic="payments"), "grown_topic"),
    (row(2, topic="odd"), "grown_topic"),  # two shards do not divide three partitions
    (row(2, key="k")._replace(hash=17), "bad_hash"),
    (row(2)._replace(payload=None), "bad_payload"),
    (row(2, headers='["a", "list"]'), "bad_headers"),
    (row(2, headers='{"n": 1}'), "bad_headers"),
    (row(2, headers='{"n": null}'), "bad_headers"),
    (row(2, headers='{"n": {"a": "b"}}'), "bad_headers"),
    (row(2, headers="null"), "bad_headers"),
    (row(2, headers="[" * 900 + "]" * 900), "bad_headers"),
    (row(2, headers="[" * 2000 + "]" * 2000), "bad_headers"),  # deeper than a parser goes, and too long
]


@pytest.mark.parametrize(("bad", "reason"), UNFIT)
def test_a_row_that_cannot_go_is_stepped_over(bad: Row, reason: str) -> None:
    known = replace(knowledge(given_up={"nowhere", "payments", "odd"}), shards=2)
    made = plan([row(1), bad, row(3, key="l")], LIMITS, known)
    assert became(made) == {1: "record", 2: reason, 3: "record"}
    assert made.published == {"billing": 2}
    assert made.parked[0].detail


def test_names_and_values_beyond_ascii_go_as_utf_8() -> None:
    made = plan(
        [row(2, key="acct_1/Ω", headers='{"née": "Zoë 🎉", "": "", "content-type": "a/b"}')],
        LIMITS,
        knowledge(),
    )
    [record] = [r for group in made.batches.values() for r in group]
    assert record.key == "acct_1/Ω".encode()
    assert record.headers[:3] == [("née", "Zoë 🎉".encode()), ("", b""), ("content-type", b"a/b")]


def test_a_writer_cannot_pass_its_own_headers_off_as_the_relays() -> None:
    forged = '{"millrace-outbox": "x@9", "millrace-outbox-id": "7", "millrace-pseq": "7", "a": "b"}'
    [record] = plan([row(2, headers=forged)], LIMITS, knowledge()).batches["billing", key_hash("k") % 4]
    assert record.headers == [
        ("a", b"b"), ("millrace-outbox", b"main@0"), ("millrace-outbox-id", b"2"), ("millrace-pseq", b"1"),
    ]  # fmt: skip


def test_a_topic_that_may_still_appear_holds_everything_behind_it() -> None:
    made = plan([row(1), row(2, topic="nowhere"), row(3)], LIMITS, knowledge())
    assert became(made) == {1: "record"}
    assert made.held == Refused(2, "nowhere", "unknown_topic", "its topic does not exist; create it")


def test_behind_a_parked_row_its_key_stands_still_and_others_do_not() -> None:
    bad = row(2, headers="[]")
    rows = [row(1), bad, row(3), row(4, key="other"), row(5, topic="payments"), row(6)]
    made = plan(rows, LIMITS, replace(knowledge(), pseq={}))
    assert became(made) == {1: "record", 2: "bad_headers", 3: "behind", 4: "record", 5: "record", 6: "behind"}


def test_where_keys_are_not_blocked_a_parked_row_is_skipped_alone() -> None:
    made = plan([row(2, headers="[]"), row(3)], replace(LIMITS, block=frozenset()), knowledge())
    assert became(made) == {2: "bad_headers", 3: "record"}


def test_a_key_that_is_blocked_already_waits() -> None:
    made = plan([row(2), row(3, key="other")], LIMITS, knowledge(blocked={("billing", "k")}))
    assert became(made) == {2: "behind", 3: "record"}


def test_a_page_that_is_read_again_publishes_nothing_that_is_in_quarantine() -> None:
    """It was parked, then the relay died before the page was published; meanwhile the reason may have gone."""
    made = plan([row(2), row(3), row(4)], LIMITS, knowledge(parked={2: "rejected"}, dropped={4}))
    assert became(made) == {2: "rejected", 3: "behind"}


def test_a_full_quarantine_holds() -> None:
    rows = [row(1, headers="[]", topic="payments"), row(2), row(3, headers="[]"), row(4)]
    made = plan(rows, LIMITS, replace(knowledge(room=1), pseq={}))
    assert became(made) == {1: "bad_headers", 2: "record"}
    assert made.held is not None
    assert (made.held.row_id, made.held.reason) == (3, "quarantine_full")
    again = plan(
        rows[:3], LIMITS, replace(knowledge(room=0, parked={1: "bad_headers", 3: "bad_headers"}), pseq={})
    )
    assert again.held is None  # they are in there already


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
