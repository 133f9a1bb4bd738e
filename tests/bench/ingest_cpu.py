"""What processes have used, as the kernel counts it. Units: seconds of CPU, ten milliseconds fine; MiB."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg

TICKS = os.sysconf("SC_CLK_TCK")


def used(pids: Sequence[int]) -> float:
    """User and system time of these processes, all threads."""
    return sum(sum(map(int, _fields(pid)[11:13])) for pid in pids) / TICKS


def used_by_tree(parent: int) -> float:
    """A process, the children that it has and those that have ended: a whole PostgreSQL."""
    children = sum(sum(map(int, fields[11:13])) for fields in _every() if int(fields[1]) == parent)
    return (children + sum(map(int, _fields(parent)[11:15]))) / TICKS


async def postmaster(dsn: str) -> int:
    """The process that every backend of this server is a child of.

    Raises: AssertionError where the server's processes cannot be seen, for its share would read as nothing.
    """
    connection = await asyncpg.connect(dsn)
    try:
        return _parent_of_backend(await connection.fetchval("select pg_backend_pid()"))
    finally:
        await connection.close()


def _parent_of_backend(pid: int) -> int:
    name = Path(f"/proc/{pid}/comm")
    seen = name.exists() and name.read_text().startswith("postgres")
    assert seen, "PostgreSQL runs where its CPU cannot be counted: measure on a native stack"
    return int(_fields(pid)[1])


def resident_mib(pids: Sequence[int]) -> float:
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _fields(pid: int) -> list[str]:
    """/proc/PID/stat from the state on: [1] parent, [11] user, [12] system, [13] and [14] of ended children."""
    return _parsed(Path(f"/proc/{pid}/stat").read_text())


def _parsed(stat: str) -> list[str]:
    return stat.rpartition(")")[2].split()  # the name before ")" may hold blanks


def _every() -> Iterator[list[str]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            yield _parsed(stat.read_text())
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
