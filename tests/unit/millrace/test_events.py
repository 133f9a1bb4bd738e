"""Events on the wire: what is written is read back, and whatever is wrong is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest

from millrace.errors import Poison
from millrace.events import HEADERS, Event, decode, headers, instant
from millrace.events.ours import PAYLOADS, VERSIONS, DeadLetter, DunningTimerDue, LedgerPosted, Payload
from millrace.topics import TOPICS, dead_letter

PAID = Event(
    id="evt_1",
    type="stripe.invoice.paid",
    source="stripe/acct_1",
    subject="in_1",
    time=datetime(2026, 3, 1, 12, tzinfo=UTC),
    key="acct_1/cus_1",
    schema="2026-10-28.endive",
    data={"id": "evt_1"},
    trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
KEY, VALUE = b"acct_1/cus_1", b'{"id":"evt_1"}'
GOOD = {name: value.encode() for name, value in headers(PAID).items()}


def without(*names: str, **changed: bytes) -> dict[str, bytes]:
    return {name: value for name, value in (GOOD | changed).items() if name not in names}


def test_an_event_travels_in_its_headers_and_comes_back_the_same() -> None:
    assert decode(KEY, GOOD, VALUE) == PAID
    assert PAID.account == "acct_1"


def test_the_headers_are_cloudevents_in_binary_mode() -> None:
    assert headers(PAID) == {
        "ce_specversion": "1.0",
        "ce_id": "evt_1",
        "ce_type": "stripe.invoice.paid",
        "ce_source": "stripe/acct_1",
        "ce_subject": "in_1",
        "ce_time": "2026-03-01T12:00:00Z",
        "ce_dataschema": "2026-10-28.endive",
        "content-type": "application/json",
        "traceparent": PAID.trace,
    }


def test_an_event_without_a_trace_and_headers_of_others_are_no_matter() -> None:
    assert decode(KEY, without("traceparent") | {"millrace-pseq": b"7"}, VALUE).trace == ""


def test_instants_are_written_in_utc_with_microseconds_only_where_there_are_any() -> None:
    east = timezone(timedelta(hours=2))
    assert instant(datetime(2026, 3, 1, 14, tzinfo=east)) == "2026-03-01T12:00:00Z"
    assert instant(datetime(2026, 3, 1, 14, 0, 0, 5, tzinfo=east)) == "2026-03-01T12:00:00.000005Z"


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_a_missing_or_empty_header_is_named(name: str) -> None:
    for wrong in (without(name), GOOD | {name: b""}):
        with pytest.raises(Poison, match=f"{name} is missing"):
            decode(KEY, wrong, VALUE)


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_a_header_that_is_no_text_is_named(name: str) -> None:
    with pytest.raises(Poison, match=f"{name} is not UTF-8"):
        decode(KEY, GOOD | {name: b"\xff\xfe"}, VALUE)
    with pytest.raises(Poison, match=f"{name} holds a NUL"):
        decode(KEY, GOOD | {name: b"evt\x00"}, VALUE)


BAD: list[tuple[str, bytes | None, dict[str, bytes], bytes | None]] = [
    ("record has no key", None, GOOD, VALUE),
    ("key is missing", b"", GOOD, VALUE),
    ("key is not UTF-8", b"\xff", GOOD, VALUE),
    ("record has no value", KEY, GOOD, None),
    ("value is not JSON", KEY, GOOD, b""),
    ("value is not JSON", KEY, GOOD, b"\xff\xfe"),
    ("value is not JSON", KEY, GOOD, b'{"a":'),
    ("value is not JSON", KEY, GOOD, b'{"a":NaN}'),
    ("value is not JSON", KEY, GOOD, b'{"a":Infinity}'),
    ("value is not JSON", KEY, GOOD, b'{"a":"\\ud800"}'),
    ("value is not JSON", KEY, GOOD, b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
    ("value is not a JSON object but list", KEY, GOOD, b"[]"),
    ("value is not a JSON object but str", KEY, GOOD, b'"evt_1"'),
    ("value is not a JSON object but NoneType", KEY, GOOD, b"null"),
    ("ce_time is not RFC 3339", KEY, GOOD | {"ce_time": b"yesterday"}, VALUE),
    ("ce_time has no zone", KEY, GOOD | {"ce_time": b"2026-03-01T12:00:00"}, VALUE),
    ("ce_time is outside the calendar", KEY, GOOD | {"ce_time": b"0001-01-01T00:00:00+10:00"}, VALUE),
    (
        "ce_dataschema 'millrace/ledger.posted/99' of 'millrace.ledger.posted' is unknown",
        KEY,
        GOOD | {"ce_type": b"millrace.ledger.posted", "ce_dataschema": b"millrace/ledger.posted/99"},
        VALUE,
    ),
    ("is unknown to this version", KEY, GOOD | {"ce_type": b"millrace.unheard.of"}, VALUE),
]


@pytest.mark.parametrize(("named", "key", "received", "value"), BAD)
def test_a_record_that_is_not_an_event_of_ours_is_poison_and_says_why(
    named: str, key: bytes | None, received: dict[str, bytes], value: bytes | None
) -> None:
    with pytest.raises(Poison, match=named):
        dict(decode(key, received, value).data)


def test_every_version_of_stripes_and_every_type_of_other_teams_passes() -> None:
    assert decode(KEY, GOOD | {"ce_dataschema": b"2031-01-01.future"}, VALUE).schema == "2031-01-01.future"
    assert decode(KEY, GOOD | {"ce_type": b"crm.welcomed"}, VALUE).data == {"id": "evt_1"}


@pytest.mark.parametrize(
    ("received", "value"),
    [
        (GOOD, b"\xff"),
        (GOOD, b"[1]"),
        (GOOD | {"ce_type": b"millrace.unheard.of"}, VALUE),
    ],
)
def test_a_body_that_nobody_looks_at_poisons_nobody(received: dict[str, bytes], value: bytes) -> None:
    event = decode(KEY, received, value)
    assert (event.id, repr(event.data)) == ("evt_1", f"Body({len(value)} bytes)")
    for look in (len, list, lambda data: data["id"], lambda data: data.get("id"), lambda data: "id" in data):
        with pytest.raises(Poison):
            look(event.data)


def test_a_body_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    event, parsed, loads = decode(KEY, GOOD, VALUE), list[bytes](), orjson.loads

    def counted(raw: bytes) -> Any:
        parsed.append(raw)
        return loads(raw)

    monkeypatch.setattr(orjson, "loads", counted)
    assert (event.data["id"], dict(event.data), len(event.data)) == ("evt_1", {"id": "evt_1"}, 1)
    assert parsed == [VALUE]


def test_when_the_webhook_was_received_travels_with_the_event() -> None:
    received = PAID.time + timedelta(milliseconds=1500)
    sent = headers(replace(PAID, recorded=received))
    assert sent["ce_recordedtime"] == "2026-03-01T12:00:01.500000Z"
    assert decode(KEY, {name: text.encode() for name, text in sent.items()}, VALUE).recorded == received


@pytest.mark.parametrize("raw", [b"", b"soon", b"\xff", b"2026-03-01T12:00:00"])
def test_a_time_of_receipt_that_cannot_be_read_stops_nothing(raw: bytes) -> None:
    assert decode(KEY, GOOD | {"ce_recordedtime": raw}, VALUE).recorded is None


# --- our own payloads ---

DUE = DunningTimerDue(
    account="acct_1",
    customer="cus_1",
    invoice="in_1",
    timer="grace",
    due_at=datetime(2026, 3, 8, tzinfo=UTC),
)


def carried(payload: Payload, **changed: Any) -> Event:
    event = payload.event(id="dunning.evt_1.0", source="millrace/dunning", at=PAID.time)
    key, value = event.key.encode(), {**event.data, **changed}
    sent = {name: text.encode() for name, text in headers(event).items()}
    return decode(key, sent, orjson.dumps(value))


def test_a_payload_travels_typed() -> None:
    event = carried(DUE)
    assert (event.type, event.schema) == ("millrace.dunning.timer.due", "millrace/dunning.timer.due/1")
    assert (event.key, event.subject) == ("acct_1/cus_1", "in_1")
    assert DunningTimerDue.of(event) == DUE


def test_a_fact_without_a_customer_is_keyed_by_its_subject() -> None:
    posted = LedgerPosted(
        account="acct_1", customer="", fact="payout/po_1", kind="payout", effective_at=PAID.time, entries=[],
        cause="evt_1",
    )  # fmt: skip
    assert carried(posted).key == "acct_1/payout/po_1"
    assert carried(posted).account == "acct_1"


def test_a_field_that_a_newer_writer_added_is_passed_over() -> None:
    assert DunningTimerDue.of(carried(DUE, mood="hopeful")) == DUE


@pytest.mark.parametrize(
    ("field", "value"),
    [("due_at", "2026-03-08T00:00:00"), ("due_at", None), ("invoice", 7), ("customer", None)],
)
def test_a_payload_that_does_not_hold_names_its_type_and_field(field: str, value: Any) -> None:
    with pytest.raises(Poison, match=rf"millrace\.dunning\.timer\.due: {field}: "):
        DunningTimerDue.of(carried(DUE, **{field: value}))


def test_the_reason_of_a_refused_payload_quotes_no_value() -> None:
    with pytest.raises(Poison) as refused:
        DunningTimerDue.of(carried(DUE, due_at="jane@example.com"))
    assert "jane" not in str(refused.value)


def test_a_misspelt_field_cannot_be_published() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        DunningTimerDue(**{**DUE.model_dump(), "invoise": "in_1"})


def test_a_dead_letter_is_about_its_event_or_else_its_place_in_kafka() -> None:
    lost = DeadLetter(
        account="", customer="", consumer="ledger", reason="key is missing", event_id="", event_type="",
        topic="stripe.billing", partition=3, offset=7,
    )  # fmt: skip
    assert lost.subject == "stripe.billing/3/7"
    assert lost.model_copy(update={"event_id": "evt_1"}).subject == "evt_1"


def test_every_payload_has_a_type_a_version_and_a_topic_of_its_own() -> None:
    known = {topic.name for topic in TOPICS}
    assert len({p.TYPE for p in PAYLOADS}) == len(PAYLOADS) == len(VERSIONS)
    for payload in PAYLOADS:
        assert payload.TYPE.startswith("millrace.")
        assert payload.schema_id() in VERSIONS[payload.TYPE]
        topic = dead_letter("ledger") if payload is DeadLetter else payload.TOPIC
        assert topic in known
