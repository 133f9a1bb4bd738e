"""Whose event it is: the endpoint's own account's, or, with Connect, the connected account's that it names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.domain import Arrival, Endpoint, envelope

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PLATFORM = Endpoint("main", "acct_1", True, "2026-10-28.endive", ())
CONNECT = replace(PLATFORM, connect=True)
SNAPSHOT = {
    "object": "event",
    "created": 1_795_000_000,
    "data": {"object": {"id": "in_1", "customer": "cus_1"}},
}
THIN = {"object": "v2.core.event", "created": "2026-11-21T11:59:58Z", "related_object": None}

WHOSE: list[tuple[Endpoint, dict[str, Any], str]] = [
    # endpoint  what the body says                                            whose event it is, or the refusal
    (PLATFORM, SNAPSHOT, "acct_1"),
    (PLATFORM, {**SNAPSHOT, "account": None}, "acct_1"),
    (PLATFORM, {**SNAPSHOT, "account": "acct_1"}, "acct_1"),
    (PLATFORM, {**SNAPSHOT, "account": "acct_2"}, "account_wrong"),
    (PLATFORM, {**SNAPSHOT, "account": ["acct_1"]}, "account_wrong"),
    (PLATFORM, {**SNAPSHOT, "context": "acct_2"}, "acct_1"),  # a snapshot names its account as account
    (CONNECT, {**SNAPSHOT, "account": "acct_2"}, "acct_2"),
    (CONNECT, {**SNAPSHOT, "account": "acct_1"}, "acct_1"),
    (CONNECT, SNAPSHOT, "account_missing"),
    (CONNECT, {**SNAPSHOT, "account": None}, "account_missing"),
    (CONNECT, {**SNAPSHOT, "account": "cus_2"}, "account_missing"),
    (CONNECT, {**SNAPSHOT, "account": "acct_2/cus_1"}, "account_missing"),  # would read as another's key
    (CONNECT, {**SNAPSHOT, "account": {"id": "acct_2"}}, "account_missing"),
    (PLATFORM, THIN, "acct_1"),
    (PLATFORM, {**THIN, "context": None}, "acct_1"),
    (PLATFORM, {**THIN, "context": "acct_1"}, "acct_1"),
    (PLATFORM, {**THIN, "context": "acct_2"}, "account_wrong"),
    (PLATFORM, {**THIN, "account": None, "context": "acct_2"}, "account_wrong"),
    (PLATFORM, {**THIN, "context": "org_1"}, "acct_1"),  # an organisation's, whose account is the endpoint's
    (CONNECT, {**THIN, "context": "acct_2"}, "acct_2"),
    (CONNECT, {**THIN, "context": "org_1"}, "account_missing"),
    (CONNECT, THIN, "account_missing"),
]


@pytest.mark.parametrize(("endpoint", "body", "whose"), WHOSE)
def test_an_event_belongs_to_the_account_that_it_names_and_that_may(
    endpoint: Endpoint, body: dict[str, Any], whose: str
) -> None:
    body = {"id": "evt_1", "type": "x", "livemode": True, **body}
    found = envelope.arrival(endpoint, body, b"", now=NOW, trace="")
    if isinstance(found, Arrival):
        assert found.event.source == f"stripe/{whose}"
        assert found.event.key.split("/")[0] == found.event.account == whose
    else:
        assert found.name == whose
