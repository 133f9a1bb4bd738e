"""The audit chain without a database: each row's hash covers all of it and the row before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from millrace.audit import GENESIS, Entry, _links

ENTRY = Entry(
    at=datetime(2026, 3, 1, 12, tzinfo=UTC), actor="ledger", action="applied stripe.invoice.paid",
    subject="in_1", event="evt_1", reason="posted",
)  # fmt: skip
OTHERS = [
    replace(ENTRY, at=ENTRY.at + timedelta(microseconds=1)),
    replace(ENTRY, actor="x"),
    replace(ENTRY, action="x"),
    replace(ENTRY, subject="x"),
    replace(ENTRY, event="x"),
    replace(ENTRY, reason="x"),
    replace(ENTRY, actor="ledgera", action="pplied stripe.invoice.paid"),  # the same text, cut elsewhere
]


def chain(*entries: Entry, name: str = "ledger/0", seq: int = 0, link: bytes = GENESIS) -> list[bytes]:
    return list(_links(name, seq, link, entries))


@pytest.mark.parametrize("other", OTHERS)
def test_a_change_of_any_field_is_another_hash(other: Entry) -> None:
    assert chain(ENTRY) != chain(other)


def test_the_place_the_chain_and_everything_before_count_too() -> None:
    first, second = OTHERS[:2]
    plain = chain(ENTRY)
    assert plain != chain(ENTRY, name="ledger/1")
    assert plain != chain(ENTRY, seq=1)
    assert plain != chain(ENTRY, link=b"\x01" * 32)
    assert chain(first, ENTRY)[1] != chain(second, ENTRY)[1]
    assert chain(ENTRY, ENTRY)[0] != chain(ENTRY, ENTRY)[1]


def test_a_chain_is_the_same_in_one_piece_or_two() -> None:
    head, tail = chain(*OTHERS[:2]), OTHERS[2:]
    assert chain(*OTHERS) == head + chain(*tail, seq=2, link=head[-1])


def test_the_zone_an_instant_is_written_in_does_not_matter() -> None:
    east = ENTRY.at.astimezone(timezone(timedelta(hours=9)))
    assert chain(replace(ENTRY, at=east)) == chain(ENTRY)
