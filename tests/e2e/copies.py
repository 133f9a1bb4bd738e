"""Everything that lies about of a demo, as plain files, and a search over them.

A file is named by where its content lay, so what is found says where. Packed values are unpacked first, and
bytes are written as bytes: nothing hides behind an encoding of ours.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import asyncpg
import zstandard
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

PACKED = b"\x28\xb5\x2f\xfd"  # how zstd begins

TABLES = """
-- Every table that holds rows, the system's own and its statistics with them.
select nspname as schema, relname as name
  from pg_class join pg_namespace on pg_namespace.oid = relnamespace
 where relkind in ('r', 'm')
 order by 1, 2
"""

BYTES = """
-- The columns that hold bytes.
select table_schema as schema, table_name as name, column_name as column
  from information_schema.columns join information_schema.tables using (table_schema, table_name)
 where data_type = 'bytea' and table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')
 order by 1, 2, 3
"""


async def tables(dsn: str, folder: Path) -> None:
    """A full dump as text, and beside it each column of bytes as the bytes it holds, unpacked."""
    connection = await asyncpg.connect(dsn)
    try:
        for schema, name in await connection.fetch(TABLES):
            file = below(folder, f"{schema}.{name}")
            await connection.copy_from_table(name, schema_name=schema, output=file)
        for schema, name, column in await connection.fetch(BYTES):
            values = await connection.fetch(f'select "{column}" from "{schema}"."{name}"')
            add(below(folder, f"{schema}.{name}.{column}"), *(unpacked(value or b"") for (value,) in values))
    finally:
        await connection.close()


async def topics(kafka: str, folder: Path) -> None:
    """Every record of every topic, those of aborted transactions and Kafka's own with them."""
    async for record in records(kafka):
        headers = [name.encode() + b": " + value for name, value in record.headers]
        add(below(folder, record.topic), record.key or b"", *headers, unpacked(record.value or b""))


async def records(kafka: str) -> AsyncIterator[ConsumerRecord]:
    """A plain consumer's view of the whole cluster, from the beginning to where it ends now."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest",
        isolation_level="read_uncommitted", exclude_internal_topics=False,
    )  # fmt: skip
    await consumer.start()
    try:
        known = await consumer._client.fetch_all_metadata()
        parts = [TopicPartition(t, n) for t in known.topics() for n in known.partitions_for_topic(t) or ()]
        consumer.assign(parts)
        left = {part: end for part, end in (await consumer.end_offsets(parts)).items() if end}
        while left := {part: end for part, end in left.items() if await consumer.position(part) < end}:
            for found in (await consumer.getmany(*left, timeout_ms=200)).values():
                for record in found:
                    yield record
    finally:
        await consumer.stop()


def logs(of: Path, folder: Path) -> None:
    """What every process, PostgreSQL and Kafka have logged."""
    shutil.copytree(of, folder)


def below(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def add(file: Path, *lines: bytes) -> None:
    with file.open("ab") as open_:
        open_.write(b"".join(line + b"\n" for line in lines))


def found(values: Iterable[str], folder: Path) -> Mapping[str, set[str]]:
    """Which of these values are in the files below a folder, and in which."""
    said = {form: value for value in values for form in forms(value)}
    assert said and all(said), "an empty value is everywhere"
    patterns = folder.parent / f"{folder.name}.patterns"
    patterns.write_text("\n".join(said))
    ran = subprocess.run(
        ["grep", "--recursive", "--text", "--fixed-strings", "--only-matching", f"--file={patterns}", folder],
        capture_output=True, env=os.environ | {"LC_ALL": "C"}, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode in (0, 1), ran.stderr
    where: dict[str, set[str]] = defaultdict(set)
    for line in ran.stdout.decode().splitlines():
        place, _, form = line.removeprefix(f"{folder}/").partition(":")
        where[said[form]].add(place)
    return where


def forms(value: str) -> set[str]:
    """A value as it stands, as PostgreSQL spaces it, as JSON escapes it, and as JSON within JSON does."""
    spaced = value.replace('":"', '": "')
    escaped = json.dumps(value)[1:-1] if '"' not in value else value.replace('"', '\\"')
    return {value, spaced, escaped, escaped.replace("\\", "\\\\")}


def unpacked(value: bytes) -> bytes:
    if not value.startswith(PACKED):
        return value
    return zstandard.ZstdDecompressor().decompress(value, max_output_size=2**26)
