"""A `read_committed` reader: when each row could be consumed.

python -m tests.bench.relay_reader KAFKA TOPIC ROWS   says `ready`, prints {row: when it was read} as JSON, and ends
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from aiokafka import AIOKafkaConsumer, TopicPartition


async def main(kafka: str, topic: str, rows: int) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, isolation_level="read_committed", enable_auto_commit=False,
        auto_offset_reset="earliest", fetch_max_wait_ms=100,
    )  # fmt: skip
    await consumer.start()
    numbers = consumer.partitions_for_topic(topic) or await consumer._client._wait_on_metadata(topic)
    consumer.assign([TopicPartition(topic, n) for n in numbers])
    print("ready", flush=True)  # noqa: T201
    seen: dict[str, float] = {}
    async with asyncio.timeout(300):
        while len(seen) < rows:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                now = time.monotonic()
                seen.update((dict(record.headers)["ce_id"].decode(), now) for record in records)
    print(json.dumps(seen))  # noqa: T201
    await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
