"""Writing is strict, reading is not; and what is written stays what it was, byte for byte."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace.errors import Poison
from millrace.events import Body, Event
from millrace.events.examples import EXAMPLES
from millrace.events.ours import (
    PAYLOADS,
    DunningChanged,
    EntitlementChanged,
    EntitlementState,
    LedgerPosted,
    Payload,
)

AT = datetime(2026, 7, 1, tzinfo=UTC)
BY_TYPE: dict[type[Payload], Payload] = {type(example): example for example in EXAMPLES}


def received(payload: Payload, **changes: Any) -> Event:
    """An event as a consumer gets it: its body is bytes until somebody looks."""
    event = payload.event(id="evt_1", source="millrace/test", at=AT)
    return replace(event, data=Body(orjson.dumps({**event.data, **changes})))


WRITTEN = {  # the bytes that consumers of version 1 have been given so far
    LedgerPosted: b'{"account":"acct_1Mill","customer":"cus_Sq7Pb2","fact":"invoice:in_1RfQx4:finalized",'
    b'"kind":"invoice.finalized","effective_at":"2026-07-01T09:30:00Z","entries":[{"account":"1100",'
    b'"currency":"eur","amount_minor":4900,"invoice":"in_1RfQx4"},{"account":"4000","currency":"eur",'
    b'"amount_minor":-4900,"invoice":"in_1RfQx4"}],"cause":"evt_1RfQx5finalized"}',
    EntitlementChanged: b'{"account":"acct_1Mill","customer":"cus_Sq7Pb2","version":7,"catalog":"2026-06-01",'
    b'"changes":[{"feature":"exports","before":{"verdict":"denied","limit":null,"until":null},'
    b'"after":{"verdict":"allowed","limit":null,"until":null},"reason":"plan team gives exports"}],'
    b'"cause":"evt_1RgBc2paid"}',
    DunningChanged: b'{"account":"acct_1Mill","customer":"cus_Sq7Pb2","invoice":"in_1RfQx4",'
    b'"subscription":"sub_1QzT3k","stage":"grace","previous_stage":null,"access":"given","case_version":1,'
    b'"attempts":1,"grace_until":"2026-07-08T09:30:00Z",'
    b'"reason":"the first payment of a renewal failed: grace until day 7","cause":"evt_1RfQx9failed"}',
}


@pytest.mark.parametrize("payload", WRITTEN, ids=lambda payload: payload.TYPE)
def test_what_is_written_is_what_was_written_before_it_was_typed(payload: type[Payload]) -> None:
    assert orjson.dumps(BY_TYPE[payload].model_dump(mode="json")) == WRITTEN[payload]


VERDICT = {
    "verdict": "limited", "kind": "seats", "limit": 8, "reason": "plan team gives 8 seats", "rule": "plan",
    "evidence": ["evt_1", "evt_2"], "until": None,
}  # fmt: skip
ENDED = {
    **VERDICT,
    "verdict": "denied", "limit": None, "rule": "not_in_plan",
}  # fmt: skip


@pytest.mark.parametrize(
    "features",
    [
        {"seats": VERDICT},
        {"seats": {**VERDICT, "until": "2026-08-01T00:00:00Z", "then": ENDED}, "exports": ENDED},
        {"seats": {**VERDICT, "until": "2026-08-01T00:00:00.250000Z",
                   "then": {**VERDICT, "until": "2026-09-01T12:00:01Z", "then": ENDED}}},
        {},
    ],
)  # fmt: skip
def test_verdicts_are_published_as_entitlement_judged_them(features: Any) -> None:
    body = EntitlementState(
        account="acct_1", customer="cus_1", version=1, catalog="1", features=features, as_of=AT
    )
    assert orjson.dumps(body.model_dump(mode="json")["features"]) == orjson.dumps(features)


def test_an_entry_of_no_invoice_says_nothing_of_one() -> None:
    entries: Any = [{"account": "1000", "currency": "eur", "amount_minor": 5}]
    posted = BY_TYPE[LedgerPosted].model_dump() | {"entries": entries}
    assert LedgerPosted(**posted).model_dump(mode="json")["entries"] == entries


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.TYPE)
def test_an_example_survives_the_wire_and_so_it_does_with_what_a_newer_writer_adds(
    payload: type[Payload],
) -> None:
    example = BY_TYPE[payload]
    assert payload.of(received(example)) == example
    assert payload.of(received(example, added_later={"deep": [1]})) == example


def test_what_is_added_deep_inside_is_passed_over() -> None:
    example = BY_TYPE[EntitlementState]
    later = orjson.loads(orjson.dumps(example.model_dump(mode="json")["features"]))
    later["exports"]["added_later"] = True
    assert EntitlementState.of(received(example, features=later)) == example


def test_a_word_that_came_later_is_read_as_it_is_and_cannot_be_written() -> None:
    case = BY_TYPE[DunningChanged]
    assert DunningChanged.of(received(case, stage="frozen", previous_stage="thawed")).stage == "frozen"
    with pytest.raises(ValidationError, match="it is none of open, grace"):
        DunningChanged(**case.model_dump() | {"stage": "frozen"})
    changes: Any = [{"feature": "f", "before": None, "after": {"verdict": "on_request", "limit": None, "until": None},
                     "reason": ""}]  # fmt: skip
    change = EntitlementChanged.of(received(BY_TYPE[EntitlementChanged], changes=changes)).changes[0]
    assert change.after is not None
    assert change.after.verdict == "on_request"


def test_a_writer_cannot_add_a_field_by_mistake() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        DunningChanged(**BY_TYPE[DunningChanged].model_dump(), stge="grace")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\xff", "value is not JSON"),
        (b"[1]", "value is not a JSON object but list"),
        (b"{}", "millrace.dunning.changed: account: Field required"),
        (b'{"account":"a","customer":"c","invoice":7}', "millrace.dunning.changed: invoice: "),
    ],
)
def test_a_body_that_is_none_is_poison_and_the_field_is_named(raw: bytes, said: str) -> None:
    event = replace(received(BY_TYPE[DunningChanged]), data=Body(raw))
    with pytest.raises(Poison) as refused:
        DunningChanged.of(event)
    assert str(refused.value).startswith(said)


SECRET = "anna@example.com"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text() | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.sampled_from(PAYLOADS), st.data())
def test_whatever_comes_it_is_a_body_or_poison_that_quotes_nothing(
    payload: type[Payload], data: st.DataObject
) -> None:
    example = BY_TYPE[payload]
    fields = st.sampled_from(sorted(payload.model_fields))
    spoiled = data.draw(st.dictionaries(fields, JSON, max_size=3))
    try:
        body = payload.of(received(example, **spoiled))
    except Poison as problem:
        assert SECRET not in str(problem)
    else:
        assert isinstance(body, payload)
