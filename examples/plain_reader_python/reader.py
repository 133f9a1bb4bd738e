"""Reads a topic of Millrace with aiokafka and nothing of ours, and prints an event a line.

    python reader.py BOOTSTRAP TOPIC      from the beginning to the end of what is there, then stops

Exit codes: 0 all is well · 2 misspelt · 3 the topic's own numbers have a gap.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord


async def records(bootstrap: str, topic: str) -> AsyncIterator[ConsumerRecord]:
    """Every committed record up to the last stable offset, in the order of each partition."""
    kafka = AIOKafkaConsumer(
        topic,  # without a group: every partition of it
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",  # the default shows what was aborted, too
        auto_offset_reset="earliest",
        enable_auto_commit=False,  # a service commits after its effect, never by the clock
    )
    await kafka.start()
    try:
        every = sorted(kafka.assignment())
        if not every:
            sys.exit(f"there is no topic {topic} at {bootstrap}")
        ends = await kafka.end_offsets(every)
        for partition in every:
            while await kafka.position(partition) < ends[partition]:
                for record in (await kafka.getmany(partition, timeout_ms=500)).get(partition, []):
                    yield record
    finally:
        await kafka.stop()


class Reader:
    """Tells what is new, and whether anything is missing before it. A service keeps both in its database."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()  # an event is named by its source and id together
        self.numbers: dict[
            tuple[int, str], int
        ] = {}  # a relay numbers its records in each partition, densely
        self.gaps = 0

    def read(self, record: ConsumerRecord) -> dict[str, Any] | None:
        """The event, or None when it was here before."""
        headers = {name: value.decode() for name, value in record.headers if value is not None}
        self._count(record, headers)
        name = headers["ce_source"], headers["ce_id"]
        if name in self.seen:
            return None
        self.seen.add(name)
        return {
            "partition": record.partition,
            "offset": record.offset,
            "key": record.key.decode(),
            **{part.removeprefix("ce_"): headers[part] for part in sorted(headers) if part.startswith("ce_")},
            "data": json.loads(record.value),  # with `dataref`, a claim check: the payload is elsewhere
        }

    def _count(self, record: ConsumerRecord, headers: dict[str, str]) -> None:
        relay, number = (record.partition, headers["millrace-outbox"]), int(headers["millrace-pseq"])
        last = self.numbers.get(relay, number - 1)
        if number > last + 1:
            self.gaps += 1
            say(f"gap: partition {record.partition} jumps from {last} to {number}")
        self.numbers[relay] = max(last, number)


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


async def main(bootstrap: str, topic: str) -> int:
    reader = Reader()
    async for record in records(bootstrap, topic):
        if (event := reader.read(record)) is not None:
            sys.stdout.write(json.dumps(event, sort_keys=True) + "\n")
    return 3 if reader.gaps else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        say("python reader.py BOOTSTRAP TOPIC")
        sys.exit(2)
    sys.exit(asyncio.run(main(*sys.argv[1:])))
