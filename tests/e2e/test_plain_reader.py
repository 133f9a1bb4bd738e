"""Whoever has docs/events.md and schemas/ can read everything: a reader without our code finds no fault in a demo.

And it does find faults: the same records, spoiled in one place each, on topics of their own.
"""

from __future__ import annotations

import ast
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from lab.stack import Stack
from millrace import topics as declared
from millrace.events.examples import ACCOUNT, CLAIM, CUSTOMER, EXAMPLES, HEADERS, STRIPE, example_headers
from millrace.events.keys import key_hash
from millrace.events.ours import LedgerPosted
from millrace.schemas import topic as topic_of
from millrace.schemas.channels import writer_of
from tests.e2e.demo import Played
from tests.support import plain

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "schemas"
ALLOWED = {"aiokafka", "jsonschema", "yaml"}

pytestmark = pytest.mark.timeout(420)


def test_it_imports_nothing_of_ours() -> None:
    imported = set()
    for path in sorted(Path(plain.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add((node.module or "").partition(".")[0])
    assert "aiokafka" in imported
    assert imported - set(sys.stdlib_module_names) == ALLOWED


def test_every_record_of_a_demo_is_as_promised(played: Played) -> None:
    seen = asyncio.run(plain.read(played.result.site.stack.kafka, SCHEMAS))
    print(seen.table())  # noqa: T201 shown where it fails, or with -s
    assert seen.wrong == []
    told = {topic for topic, _ in seen.counts}
    assert told >= {
        declared.STRIPE_BILLING,
        declared.STRIPE_PAYMENTS,
        declared.ENTITLEMENT_STATE,
        declared.ENTITLEMENT_CHANGED,
        declared.LEDGER_POSTED,
        declared.DUNNING_CHANGED,
        declared.DUNNING_TIMERS,
    }
    stripes = sum(n for (topic, _), n in seen.counts.items() if topic.startswith("stripe."))
    assert stripes > 800
    ours = sum(n for (_, type_), n in seen.counts.items() if type_.startswith("millrace."))
    assert ours > 200


Spoil = Callable[[dict[str, str], dict[str, Any]], object]


def claim(headers: dict[str, str], body: dict[str, Any]) -> object:
    """A claim check in the body's place."""
    headers["ce_dataref"] = CLAIM["dataref"]
    body.clear()
    return body.update(CLAIM)


POSTED = next(one for one in EXAMPLES if isinstance(one, LedgerPosted))
SPOILED: dict[str, tuple[Spoil, str]] = {
    "as it should be": (lambda headers, body: None, ""),
    "a header missing": (lambda headers, body: headers.pop("ce_time"), "header: 'ce_time' is a required property"),
    "a time that is none": (
        lambda headers, body: headers.update(ce_time="2026-07-45T09:30:00Z"),
        "header: '2026-07-45T09:30:00Z' is not a 'date-time'",
    ),
    "a number missing": (lambda headers, body: headers.pop("millrace-pseq"), "header: "),
    "a type of another topic": (
        lambda headers, body: headers.update(ce_type="millrace.dunning.changed"),
        "'millrace.dunning.changed' is no type of this channel",
    ),
    "another version": (
        lambda headers, body: headers.update(ce_dataschema="millrace/ledger.posted/2"),
        "ce_dataschema is 'millrace/ledger.posted/2' and should be 'millrace/ledger.posted/1'",
    ),
    "a field of another type": (
        lambda headers, body: body["entries"][0].update(amount_minor="49.00"),
        "value: $.entries[0].amount_minor: '49.00' is not of type 'integer'",
    ),
    "a field missing": (lambda headers, body: body.pop("fact"), "value: $: 'fact' is a required property"),
    "the key of somebody else": (
        lambda headers, body: body.update(customer="cus_other"),
        f"the key is b'{ACCOUNT}/{CUSTOMER}' and should be '{ACCOUNT}/cus_other'",
    ),
    "a number passed over": (
        lambda headers, body: headers.update({"millrace-pseq": "9"}),
        "millrace-pseq is 9 after 1",
    ),
    "the same event again": (lambda headers, body: headers.update(ce_id="first"), "was at"),
    "a claim check": (lambda headers, body: claim(headers, body), ""),
    "a claim of something else": (
        lambda headers, body: (claim(headers, body), headers.update(ce_dataref=f"{CLAIM['dataref'][:-1]}0")),
        "dataref differs",
    ),
    "a claim without its hash": (
        lambda headers, body: (claim(headers, body), body.pop("sha256")),
        "value: $: 'sha256' is a required property",
    ),
}  # fmt: skip


async def test_every_type_of_ours_is_accepted_on_its_channel(
    stack: Stack, topics: Callable[..., Awaitable[str]]
) -> None:
    """Also those that a quiet demo has none of."""
    called = {await topics("plain"): payload for payload in EXAMPLES}
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka)
    await producer.start()
    try:
        for topic, payload in called.items():
            headers = example_headers(payload, writer_of(type(payload)))
            await send(producer, topic, headers, payload.model_dump(mode="json"))
    finally:
        await producer.stop()
    also = {topic: topic_of(type(payload)).format(consumer="ours") for topic, payload in called.items()}
    seen = await plain.read(stack.kafka, SCHEMAS, also=also)
    assert seen.wrong == []
    assert seen.counts == {(topic, payload.TYPE): 1 for topic, payload in called.items()}


async def test_a_record_that_is_not_as_promised_is_named(
    stack: Stack, topics: Callable[..., Awaitable[str]]
) -> None:
    made = {what: await topics("plain", partitions=1) for what in SPOILED}
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka)
    await producer.start()
    try:
        for what, (spoil, _) in SPOILED.items():
            for number, record in enumerate((_nothing, spoil), 1):
                headers = example_headers(POSTED, "ledger")
                headers |= {"ce_id": "first" if number == 1 else "second", "millrace-pseq": str(number)}
                headers["ce_source"] = f"millrace/{what}".replace(" ", "-")
                body = POSTED.model_dump(mode="json")
                record(headers, body)
                await send(producer, made[what], headers, body)
    finally:
        await producer.stop()
    seen = await plain.read(stack.kafka, SCHEMAS, also=dict.fromkeys(made.values(), declared.LEDGER_POSTED))
    for what, (_, named) in SPOILED.items():
        found = [line for line in seen.wrong if line.startswith(f"{made[what]}/")]
        assert len(found) == (1 if named else 0), (what, found)
        assert all(line.startswith(f"{made[what]}/0/1: ") and named in line for line in found), (what, found)


STRIPES: dict[str, tuple[Spoil, str]] = {
    "as it should be": (lambda headers, body: None, ""),
    "a body of another event": (lambda headers, body: body.update(id="evt_other"), "ce_id is"),
    "a body without its object": (lambda headers, body: body["data"].pop("object"), "'object' is a required"),
    "half a sealed text": (
        lambda headers, body: body["data"]["object"].update(customer_email="sealed:!"), "value: $.data.object",
    ),
    "a sealed object that is open": (
        lambda headers, body: body["data"]["object"].update(shipping={"$sealed": "Anna"}), "value: $.data.object",
    ),
}  # fmt: skip


async def test_a_body_of_stripes_that_is_not_as_promised_is_named(
    stack: Stack, topics: Callable[..., Awaitable[str]]
) -> None:
    made = {what: await topics("plain", partitions=1) for what in STRIPES}
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka)
    await producer.start()
    try:
        for what, (spoil, _) in STRIPES.items():
            headers, body = HEADERS | {"ce_id": f"evt_{len(what)}"}, orjson.loads(orjson.dumps(STRIPE))
            body["id"] = headers["ce_id"]
            spoil(headers, body)
            await send(producer, made[what], headers, body)
    finally:
        await producer.stop()
    seen = await plain.read(stack.kafka, SCHEMAS, also=dict.fromkeys(made.values(), declared.STRIPE_BILLING))
    for what, (_, named) in STRIPES.items():
        found = [line for line in seen.wrong if line.startswith(f"{made[what]}/")]
        assert len(found) == (1 if named else 0), (what, found)
        assert all(named in line for line in found), (what, found)


RAW: dict[str, tuple[dict[str, Any], str]] = {
    "not JSON": ({"value": b"{"}, "the value is not JSON"),
    "nothing": ({"value": None}, "the value is not JSON"),
    "a header twice": ({"headers": [("ce_id", b"once more")]}, "a header is there twice"),
    "a header that is no text": ({"headers": [("later", b"\xff")]}, "a header is not UTF-8"),
    "another partition": ({"partition": "the other"}, "it is not in its key's partition"),
}


async def test_what_is_no_text_or_in_the_wrong_place_is_named(
    stack: Stack, topics: Callable[..., Awaitable[str]]
) -> None:
    made = {what: await topics("plain", partitions=2) for what in RAW}
    at = key_hash(f"{ACCOUNT}/{CUSTOMER}") % 2
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka)
    await producer.start()
    try:
        for what, (spoiled, _) in RAW.items():
            headers = example_headers(POSTED, what.replace(" ", "-"))
            await producer.send_and_wait(
                made[what],
                spoiled.get("value", orjson.dumps(POSTED.model_dump(mode="json"))),
                key=f"{ACCOUNT}/{CUSTOMER}".encode(),
                partition=1 - at if "partition" in spoiled else at,
                headers=[(name, said.encode()) for name, said in headers.items()]
                + spoiled.get("headers", []),
            )
    finally:
        await producer.stop()
    seen = await plain.read(stack.kafka, SCHEMAS, also=dict.fromkeys(made.values(), declared.LEDGER_POSTED))
    for what, (_, named) in RAW.items():
        found = [line for line in seen.wrong if line.startswith(f"{made[what]}/")]
        assert [line.partition(": ")[2] for line in found] == [named], what


def _nothing(headers: dict[str, str], body: dict[str, Any]) -> None:
    """As it should be."""


async def send(producer: AIOKafkaProducer, topic: str, headers: dict[str, str], body: dict[str, Any]) -> None:
    await producer.send_and_wait(
        topic,
        orjson.dumps(body),
        key=f"{ACCOUNT}/{CUSTOMER}".encode(),
        headers=[(name, value.encode()) for name, value in headers.items()],
    )
