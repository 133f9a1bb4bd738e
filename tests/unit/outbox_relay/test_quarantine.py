"""Finding the row that the broker refuses, knowing when a decided one may go, and saying what was parked."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.events import decode
from millrace.events.keys import key_hash
from millrace.events.ours import OutboxParked
from outbox_relay.domain.cursor import NOTHING, Position, Snapshot
from outbox_relay.domain.page import Knowledge, Page, Parked, Plan, Rules, plan
from outbox_relay.domain.quarantine import Narrowing, narrowed, notices, sent, stepped_over
from tests.unit.outbox_relay.test_page import row

WINDOW = Snapshot(10_000, 10_000)
AT = datetime(2026, 11, 28, 12, tzinfo=UTC)


def planned(page: Page, parked: set[int]) -> Plan:
    known = Knowledge(
        "main@0", 1, {"billing": 3, "payments": 2}, {}, parked=dict.fromkeys(parked, "rejected")
    )
    return plan(page.rows, Rules(), known)


@given(
    rows=st.lists(st.sampled_from(["billing", "payments"]), min_size=1, max_size=60),
    bad=st.sets(st.integers(1, 60), max_size=4),
)
def test_every_refused_row_is_found_and_every_other_one_goes(rows: list[str], bad: set[int]) -> None:
    """A broker that says only which topic it was, and publishes nothing of a page with a bad row in it."""
    outbox = [row(n, key=f"k{n % 7}", topic=topic) for n, topic in enumerate(rows, 1)]
    bad &= {one.id for one in outbox if one.topic == "billing"}
    search: Narrowing | None = None
    published, parked, refusals, place = [], set[int](), 0, 0
    while place < len(outbox):
        page = Page(outbox[place:], Position(WINDOW), WINDOW)
        page = search.cut(page, Position()) if search else page
        made = planned(page, parked)
        going = sent(made, "billing") + sent(made, "payments")
        if bad & set(going):
            refusals += 1
            suspects = sent(made, "billing")
            if len(suspects) == 1:
                parked.add(suspects[0])
                search = None
            else:
                search = narrowed(search, "billing", len(suspects))
            continue
        published += going
        place += len(page.rows)
        search = search.passed(len(sent(made, "billing"))) if search else None
    assert parked == bad
    assert sorted(published) == [one.id for one in outbox if one.id not in bad]
    assert refusals <= len(bad) * (len(outbox).bit_length() + 1)


def test_the_search_ends_behind_the_page_that_was_refused() -> None:
    """The limit was raised meanwhile: nothing is refused any more, and pages are whole again."""
    search = narrowed(None, "billing", 8)
    assert search == Narrowing("billing", 4, 8)
    search = narrowed(search, "billing", 4)
    assert search == Narrowing("billing", 2, 8)
    for left in (6, 4, 2):
        passed = search.passed(2)
        assert passed is not None and passed.left == left
        search = passed
    assert search.passed(2) is None


def test_rows_of_other_topics_are_not_suspected() -> None:
    page = Page(
        [row(1), row(2, topic="payments"), row(3), row(4, topic="payments"), row(5)], Position(WINDOW), WINDOW
    )
    cut = Narrowing("billing", 2, 3).cut(page, Position())
    assert [one.id for one in cut.rows] == [1, 2, 3, 4]
    assert cut.position == Position(NOTHING, WINDOW, last_id=4, newest=104)
    assert Narrowing("billing", 3, 3).cut(page, Position()) is page


BETWEEN = Position(Snapshot(100, 100), Snapshot(200, 200), last_id=7)


@pytest.mark.parametrize(
    ("row_id", "xid", "gone"),
    [
        (5, 99, True),  # the window before this one
        (7, 150, True),  # the open window, up to where it is published
        (8, 150, False),
        (5, 250, False),  # a later window, whatever its number
        (5, 0, True),  # its day was dropped: long ago
    ],
)
def test_a_decided_row_waits_until_its_page_is_published(row_id: int, xid: int, gone: bool) -> None:
    assert stepped_over(BETWEEN, [(row_id, xid)]) == gone
    assert stepped_over(BETWEEN, [(5, 99), (row_id, xid)]) == gone


def test_a_notice_says_what_was_parked_and_quotes_nothing() -> None:
    parked = [
        Parked(row(7, key="acct_1/cus_1", payload=b'{"email": "ada@example.test"}'), "too_large"),
        Parked(row(8, key="no account"), "behind"),
    ]
    made = notices(parked, "main@2", 3, AT)
    records = {r.key: (number, r) for number, group in made.items() for r in group}
    number, record = records[b"acct_1/cus_1"]
    event = decode(record.key, dict(record.headers), record.value)
    body = OutboxParked.of(event)
    assert number == key_hash("acct_1/cus_1") % 3
    assert (body.outbox, body.row_id, body.topic, body.reason, body.behind) == (
        "main@2", 7, "billing", "too_large", False,
    )  # fmt: skip
    assert (event.id, event.time, dict(record.headers)["millrace-outbox"]) == (
        "main@2/7/too_large",
        AT,
        b"main@2",
    )
    assert b"ada@" not in record.value
    _, behind = records[b"no account/billing/8"]
    assert OutboxParked.of(decode(behind.key, dict(behind.headers), behind.value)).behind
