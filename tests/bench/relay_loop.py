"""The relay that most teams write: claim rows with SKIP LOCKED, send them, mark them, commit. At least once.

python -m tests.bench.relay_loop DSN KAFKA   drains the outbox, prints its own cost as JSON, and ends
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

import asyncpg
from aiokafka import AIOKafkaProducer

PAGE = 2000
CLAIM = """
select id, topic, key, headers, payload from pending where published_at is null order by id limit $1
   for update skip locked
"""
MARK = "update pending set published_at = now() where id = any($1::bigint[])"


async def main(dsn: str, kafka: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True, compression_type="zstd",
                                linger_ms=5, max_batch_size=512 * 1024)  # fmt: skip
    await producer.start()
    began, cpu, rows = time.perf_counter(), time.process_time(), 0
    while page := await once(connection, producer):
        rows += page
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu_seconds": cpu, "rss_mib": peak}))  # noqa: T201
    await producer.stop()
    await connection.close()


async def once(connection: asyncpg.Connection[asyncpg.Record], producer: AIOKafkaProducer) -> int:
    async with connection.transaction():
        page = await connection.fetch(CLAIM, PAGE)
        sent = []
        for row in page:
            headers = [(name, value.encode()) for name, value in row["headers"].items()]
            sent.append(
                await producer.send(row["topic"], row["payload"], row["key"].encode(), headers=headers)
            )
        await asyncio.gather(*sent)
        await connection.execute(MARK, [row["id"] for row in page])
    return len(page)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
