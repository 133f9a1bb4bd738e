"""A topic full of events of 2.4 KB with the headers of the relay, for whoever is to consume it.

python -m tests.bench.consumer_topic KAFKA TOPIC COUNT [FIRST] [RATE]   events a second; as fast as it goes without one
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections import Counter

import orjson
from aiokafka import AIOKafkaProducer

from millrace.events.keys import key_hash

KEYS = 2000
LINES = 12
PART = 500


def body(number: int) -> bytes:
    """About 2.4 KB, as an invoice with a few lines is."""
    lines = [
        {"id": f"il_{number}_{line}", "amount": number * line % 9973, "currency": "usd",
         "description": "Seats of the growth plan", "period": {"start": 1767225600, "end": 1769904000},
         "proration": False, "quantity": line}
        for line in range(1, LINES + 1)
    ]  # fmt: skip
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    invoice = {"id": f"in_{number}", "object": "invoice", "customer": f"cus_{number % KEYS}", "note": digest * 6,
               "lines": {"object": "list", "data": lines}}  # fmt: skip
    return orjson.dumps({"id": f"evt_{number}", "object": "event", "data": {"object": invoice}})


def headers(number: int, relay: bytes, sequence: int) -> list[tuple[str, bytes]]:
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    return [
        ("ce_specversion", b"1.0"), ("ce_id", b"evt_%d" % number), ("ce_type", b"stripe.invoice.paid"),
        ("ce_source", b"stripe/acct_1MillraceBench"), ("ce_subject", b"in_%d" % number),
        ("ce_time", b"2026-11-21T12:00:00Z"), ("ce_recordedtime", b"2026-11-21T12:00:01.123456Z"),
        ("ce_dataschema", b"2026-10-28.endive"), ("content-type", b"application/json"),
        ("traceparent", f"00-{digest[:32]}-{digest[32:48]}-01".encode()),
        ("millrace-outbox", relay), ("millrace-outbox-id", b"%d" % number), ("millrace-pseq", b"%d" % sequence),
    ]  # fmt: skip


async def main(kafka: str, topic: str, count: str, first: str = "0", rate: str = "0") -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, compression_type="zstd", linger_ms=5, max_batch_size=256 * 1024
    )
    await producer.start()
    partitions = sorted(await producer.partitions_for(topic))
    relay, sequences = b"main@" + first.encode(), Counter[int]()  # a generation of its own each time
    began = time.perf_counter()
    for start in range(int(first), int(first) + int(count), PART):
        sent = []
        for number in range(start, min(start + PART, int(first) + int(count))):
            key = f"acct_1MillraceBench/cus_{number % KEYS}"
            partition = key_hash(key) % len(partitions)
            sequences[partition] += 1
            sent.append(
                await producer.send(
                    topic,
                    body(number),
                    key.encode(),
                    partition=partition,
                    headers=headers(number, relay, sequences[partition]),
                )
            )
        await asyncio.gather(*sent)
        if int(rate):
            due = began + (start + PART - int(first)) / int(rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
    await producer.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
