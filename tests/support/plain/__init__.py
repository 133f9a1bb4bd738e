"""A reader of the topics that was written from docs/events.md and schemas/ alone. Nothing of Millrace is imported.

It reads every record of every channel that asyncapi.yaml describes, holds it against what is promised there, and
tells what it has seen and what is wrong.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.partitioner import murmur2

from .contract import Channel, Contract, Message


@dataclass
class Seen:
    """What one reading found. `wrong` has a line for each mistake, with the record's place."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)  # by topic and ce_type
    wrong: list[str] = field(default_factory=list)
    claims: int = 0

    def table(self) -> str:
        return "\n".join(f"{topic:24} {type_:48} {n:6}" for (topic, type_), n in sorted(self.counts.items()))


async def read(kafka: str, schemas: Path, *, also: Mapping[str, str] | None = None) -> Seen:
    """Every record of every described topic, up to where the topics end now.

    `also` names further topics, and for each the one whose description it is to be held against.
    """
    contract, called = Contract(schemas), dict(also or {})
    partitions = await _partitions(kafka)
    topics = {topic: contract.of(called.get(topic, topic)) for topic in called or partitions}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        reading = _Reading({topic: channel for topic, channel in topics.items() if channel}, partitions)
        return await reading.run(consumer)
    finally:
        await consumer.stop()


async def _partitions(kafka: str) -> dict[str, int]:
    """How many partitions each topic has."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        return {found["topic"]: len(found["partitions"]) for found in await admin.describe_topics()}
    finally:
        await admin.close()


class _Reading:
    """One pass over some topics, and what has to be remembered on the way."""

    def __init__(self, channels: Mapping[str, Channel], partitions: Mapping[str, int]) -> None:
        self.channels, self.partitions = channels, partitions
        self.seen = Seen()
        self.names: dict[tuple[str, str], str] = {}  # (ce_source, ce_id) → where
        self.numbers: dict[tuple[TopicPartition, str], int] = {}

    async def run(self, consumer: AIOKafkaConsumer) -> Seen:
        async for record in self._records(consumer):
            at = f"{record.topic}/{record.partition}/{record.offset}"
            self.seen.wrong += [f"{at}: {problem}" for problem in self._wrong(record, at)]
        return self.seen

    async def _records(self, consumer: AIOKafkaConsumer) -> AsyncIterator[ConsumerRecord]:
        parts = [
            TopicPartition(topic, number)
            for topic in self.channels
            for number in range(self.partitions[topic])
        ]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        waiting = {part for part in parts if ends[part]}
        while waiting:
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                for record in batch:
                    yield record
            waiting = {part for part in waiting if await consumer.position(part) < ends[part]}

    def _wrong(self, record: ConsumerRecord, at: str) -> Iterator[str]:
        headers = {name: raw.decode(errors="replace") for name, raw in record.headers}
        if len(headers) != len(record.headers):
            yield "a header is there twice"
        if any("\ufffd" in said for said in headers.values()):
            yield "a header is not UTF-8"
        type_ = headers.get("ce_type", "")
        self.seen.counts[record.topic, type_] += 1
        channel = self.channels[record.topic]
        message = channel.message(type_, claimed="ce_dataref" in headers)
        if message is None:
            yield f"{type_!r} is no type of this channel"
            return
        yield from (f"header: {problem.message}" for problem in message.headers.iter_errors(headers))
        yield from self._numbered(record, headers, channel)
        yield from self._named(headers, at)
        yield from self._told(record, headers, message)

    def _numbered(
        self, record: ConsumerRecord, headers: Mapping[str, str], channel: Channel
    ) -> Iterator[str]:
        """The numbers of an outbox in a partition have no gap, unless older records of a key were compacted away."""
        if not headers.get("millrace-pseq", "").isdecimal():
            return
        author = TopicPartition(record.topic, record.partition), headers.get("millrace-outbox", "")
        number, last = int(headers["millrace-pseq"]), self.numbers.get(author)
        self.numbers[author] = number
        if last is None or number == last + 1 or (channel.compacted and number > last):
            return
        yield f"millrace-pseq is {number} after {last}"

    def _named(self, headers: Mapping[str, str], at: str) -> Iterator[str]:
        name = headers.get("ce_source", ""), headers.get("ce_id", "")
        if "millrace-replay" not in headers and (first := self.names.setdefault(name, at)) != at:
            yield f"{name} was at {first} already"

    def _told(self, record: ConsumerRecord, headers: Mapping[str, str], message: Message) -> Iterator[str]:
        try:
            value = json.loads(record.value or b"")
        except ValueError:
            yield "the value is not JSON"
            return
        found = list(message.payload.iter_errors(value))
        yield from (f"value: {problem.json_path}: {problem.message[:200]}" for problem in found)
        if found:
            return
        if "ce_dataref" in headers:
            self.seen.claims += 1
            yield from () if value["dataref"] == headers["ce_dataref"] else ("dataref differs",)
            return
        yield from self._keyed(record, headers, value)
        if message.name.startswith("stripe."):
            yield from _agree(headers, {"ce_id": value["id"], "ce_type": f"stripe.{value['type']}"})
        else:
            yield from _agree(headers, {"ce_dataschema": message.schema["$id"]})

    def _keyed(
        self, record: ConsumerRecord, headers: Mapping[str, str], value: dict[str, Any]
    ) -> Iterator[str]:
        account, customer = _owner(headers, value)
        key = f"{account}/{customer or headers.get('ce_subject')}"
        if record.key != key.encode():
            yield f"the key is {record.key!r} and should be {key!r}"
            return
        if (murmur2(record.key) & 0x7FFFFFFF) % self.partitions[record.topic] != record.partition:
            yield "it is not in its key's partition"


def _owner(headers: Mapping[str, str], value: dict[str, Any]) -> tuple[str, str]:
    """The account and customer that a body names; Stripe's names them where Stripe does."""
    if not headers["ce_type"].startswith("stripe."):
        return value["account"], value["customer"]
    about = value.get("data", {}).get("object", {})
    customer = about.get("id") if about.get("object") == "customer" else about.get("customer")
    if isinstance(customer, dict):
        customer = customer.get("id")
    return headers.get("ce_source", "").removeprefix("stripe/"), customer or ""


def _agree(headers: Mapping[str, str], expected: Mapping[str, str]) -> Iterator[str]:
    for name, value in expected.items():
        if headers.get(name) != value:
            yield f"{name} is {headers.get(name)!r} and should be {value!r}"
