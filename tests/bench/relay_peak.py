"""Kafka's own transactional producer on the same records: what the broker and this machine can take.

`kafka.tools` brings ProducerPerformance; it has no headers, so their bytes are part of the value here.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import orjson

from lab.stack import programs
from lab.stack.jars import jars
from tests.integration.outbox_relay.arena import Arena

MAIN = "org.apache.kafka.tools.ProducerPerformance"
RATE = re.compile(r"([0-9]+) records sent, ([0-9.]+) records/sec")
SAMPLE = (
    "select headers::text as headers, key, payload from outbox.event where topic = $1 order by id limit 5000"
)


async def peak(it: Arena, rows: int, folder: Path) -> dict[str, float]:
    """The tool's own rate. Writes: `rows` records into the topic, in transactions of 100 ms."""
    payloads = folder / "payloads"
    async with it.connection() as connection:
        found = await connection.fetch(SAMPLE, it.topic)
    payloads.write_bytes(
        b"\n".join(r["key"].encode() + orjson.dumps(r["headers"]) + bytes(r["payload"]) for r in found)
    )
    properties = {
        "bootstrap.servers": it.kafka, "compression.type": "zstd", "compression.zstd.level": "1",
        "batch.size": "524288", "linger.ms": "5", "acks": "all", "buffer.memory": "134217728",
    }  # fmt: skip
    (folder / "producer.properties").write_text("".join(f"{k}={v}\n" for k, v in properties.items()))
    words = [
        "--topic", it.topic, "--num-records", rows, "--throughput", -1, "--payload-file", payloads,
        "--producer.config", folder / "producer.properties", "--transactional-id", f"peak-{it.topic}",
        "--transaction-duration-ms", 100,
    ]  # fmt: skip
    said = await _java(folder, *map(str, words))
    whole = RATE.findall(said)
    assert whole and int(whole[-1][0]) == rows, said[-2000:]
    return {"rows": rows, "rows_a_second": float(whole[-1][1])}


async def _java(folder: Path, *words: str) -> str:
    path = f"{jars(print).folder}/*"
    (folder / "log4j2.properties").write_text("status=error\nrootLogger.level=OFF\n")
    logging = f"-Dlog4j2.configurationFile={folder}/log4j2.properties"
    process = await asyncio.create_subprocess_exec(
        str(programs.java(print)), "-Xmx512m", logging, "-cp", path, MAIN, *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    return out.decode()
