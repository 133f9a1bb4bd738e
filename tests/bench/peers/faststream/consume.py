"""FastStream with a transaction an event, as its users write it.

python consume.py NAME DSN KAFKA TOPIC COUNT   consumes so many events, prints its own cost as JSON, and ends
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import Any

import asyncpg
from aiokafka import ConsumerRecord
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage

SEEN = "insert into {name}.seen (source, event_id) values ($1, $2) on conflict do nothing returning 1"


async def main(name: str, dsn: str, kafka: str, topic: str, count: str) -> None:
    pool = await asyncpg.create_pool(dsn, min_size=2, max_size=4)
    seen = SEEN.format(name=name)
    broker = KafkaBroker(kafka)
    app = FastStream(broker)
    took = {"events": 0, "began": 0.0, "cpu": 0.0}

    @broker.subscriber(  # type: ignore[untyped-decorator]
        topic,
        group_id=name,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        ack_policy=AckPolicy.ACK,
    )
    async def handle(body: dict[str, Any], message: KafkaMessage) -> None:
        raw: ConsumerRecord = message.raw_message
        if not took["events"]:
            took.update(began=time.perf_counter(), cpu=time.process_time())
        named = dict(raw.headers)
        async with pool.acquire() as connection, connection.transaction():
            await connection.fetchval(seen, named["ce_source"].decode(), named["ce_id"].decode())
        took["events"] += 1
        if took["events"] == int(count):
            app.exit()

    await app.run(log_level=40)
    seconds, cpu = time.perf_counter() - took["began"], time.process_time() - took["cpu"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    told = {"events": took["events"], "seconds": seconds, "cpu_seconds": cpu, "rss_mib": peak}
    print(json.dumps(told))  # noqa: T201
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
