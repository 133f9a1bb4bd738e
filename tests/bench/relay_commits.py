"""Writers: single-row commits on a fixed schedule, whatever they take, each with the moment of its commit.

python -m tests.bench.relay_commits DSN TOPIC RATE SECONDS   prints {row: when its commit was known} as JSON, and ends

The clock is the kernel's monotonic one, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import asyncpg

from millrace.events.keys import key_hash

INSERT = """
insert into outbox.event (topic, key, hash, headers, payload)
values ($1, $2, $3, jsonb_build_object('ce_specversion', '1.0', 'ce_id', $4::text, 'ce_type', 'stripe.invoice.paid',
        'ce_source', 'stripe/acct_1MillraceBench', 'ce_subject', 'in_1', 'ce_time', '2026-11-21T12:00:00Z',
        'ce_dataschema', '2026-10-28.endive', 'content-type', 'application/json',
        'traceparent', '00-' || md5($4::text) || '-' || left(md5($4::text), 16) || '-01'), $5)
"""
WRITERS = 8
KEYS = [f"acct_1MillraceBench/cus_{n:014}" for n in range(2000)]
PAYLOAD = b'{"id":"evt_bench","object":"event"}'.ljust(2400)


async def main(dsn: str, topic: str, rate: int, seconds: int) -> None:
    pool = await asyncpg.create_pool(dsn, min_size=WRITERS, max_size=WRITERS)
    committed: dict[int, float] = {}
    due: asyncio.Queue[int] = asyncio.Queue()
    writers = [asyncio.create_task(write(pool, topic, due, committed)) for _ in range(WRITERS)]
    began = time.monotonic()
    for n in range(rate * seconds):
        if (ahead := began + n / rate - time.monotonic()) > 0:
            await asyncio.sleep(ahead)
        due.put_nowait(n)
    await due.join()
    for writer in writers:
        writer.cancel()
    spent = time.monotonic() - began
    print(json.dumps({"committed": committed, "seconds": spent}))  # noqa: T201
    await pool.close()


async def write(
    pool: asyncpg.Pool[asyncpg.Record], topic: str, due: asyncio.Queue[int], committed: dict[int, float]
) -> None:
    async with pool.acquire() as connection:
        insert = await connection.prepare(INSERT)
        while True:
            n = await due.get()
            key = KEYS[n * 7919 % len(KEYS)]
            await insert.fetch(topic, key, key_hash(key), str(n), PAYLOAD)
            committed[n] = time.monotonic()
            due.task_done()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
