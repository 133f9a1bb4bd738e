"""The floor: one-row commits of the bytes that an event of ours leaves behind, 64 clients, no HTTP at all.

Two clients, because a slow one would flatter us; the faster of them is the floor.

    pgbench   the server's own, in C; takes the bytes from a table, for it could send them as text only
    asyncpg   sends them: python -m tests.bench.ingest_floor DSN SECONDS
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path

import asyncpg
import uvloop

from lab.stack import programs
from tests.support.database import Database

CLIENTS = 64
TABLE = """
-- As the tables of ours: the bytes are stored as they come. `sample` holds what one event of ours left behind.
create table floor (id bigint generated always as identity primary key, raw bytea, payload bytea);
create table sample (raw bytea, payload bytea);
alter table floor alter raw set storage external, alter payload set storage external;
"""
SAMPLE = "insert into sample values ($1, $2)"
INSERT = "insert into floor (raw, payload) values ($1, $2)"


async def prepare(db: Database, raw: bytes, payload: bytes) -> None:
    connection = await asyncpg.connect(db.owner)
    try:
        await connection.execute(TABLE)
        await connection.execute(SAMPLE, raw, payload)
    finally:
        await connection.close()


async def pgbench(db: Database, folder: Path, seconds: int) -> float:
    """Commits per second. Raises: AssertionError when there is no pgbench, or it failed."""
    found = [p for each in programs.every_postgres() if (p := each.folder / "pgbench").exists()]
    assert found, "the floor needs pgbench, a program of PostgreSQL's: install postgresql-contrib"
    script = folder / "floor.sql"
    script.write_text("insert into floor (raw, payload) select raw, payload from sample;\n")
    words = [
        "-n",
        "-M",
        "prepared",
        "-c",
        f"{CLIENTS}",
        "-j",
        "2",
        "-T",
        f"{seconds}",
        "-f",
        f"{script}",
        db.owner,
    ]
    process = await asyncio.create_subprocess_exec(
        found[0], *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out = (await process.communicate())[0].decode()
    tps = re.search(r"^tps = ([0-9.]+)", out, re.MULTILINE)
    assert tps and process.returncode == 0, out[-500:]
    return float(tps[1])


async def python(db: Database, seconds: int) -> float:
    """Commits per second of a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.ingest_floor",
        db.owner,
        str(seconds),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return float(json.loads(out))


async def main(dsn: str, seconds: float) -> None:
    connection = await asyncpg.connect(dsn)
    sample = await connection.fetchrow("select raw, payload from sample")
    await connection.close()
    assert sample
    ready = asyncio.Barrier(CLIENTS)
    done = await asyncio.gather(*(insert(dsn, ready, tuple(sample), seconds) for _ in range(CLIENTS)))
    print(sum(done) / seconds)  # noqa: T201


async def insert(dsn: str, ready: asyncio.Barrier, row: tuple[bytes, ...], seconds: float) -> int:
    connection = await asyncpg.connect(dsn)
    statement = await connection.prepare(INSERT)
    await ready.wait()
    ends = time.perf_counter() + seconds
    done = 0
    while time.perf_counter() < ends:
        await statement.fetch(*row)
        done += 1
    await connection.close()
    return done


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], float(sys.argv[2])))
