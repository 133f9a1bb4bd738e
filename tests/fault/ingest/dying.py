"""The edge, with a signal to itself at a point that the test names. Everything else is the product.

python -m tests.fault.ingest.dying        reads one environment a line, as JSON; each is a life of the edge

To start Python costs more than a life may last here, so this process is started once and forks for each life.
It tells two lines about one: its pid, and how it ended. In the environment, beside the edge's settings, stand
DIE_AT=<point>, DIE_AT_PASSAGE=<n> and DIE_AFTER_SECONDS, the time that a statement is given at the server.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, cast

import orjson
import uvloop

import millrace.sealing.store as keys
from ingest import app, door, jobs, store
from ingest.settings import Settings
from ingest.store import Row
from millrace import service
from millrace.postgres import Connection, Pool
from millrace.sealing import Policy

POINTS = (
    "before_statement", "in_statement", "after_commit",   # of a batch
    "after_index",                                        # the digests are committed, the events are not
    "between_answers",                                    # some have left, others have not
    "before_key", "in_key", "after_key",                  # a new customer's
    "before_row", "in_row", "after_row",                  # of a batch that goes row by row
)  # fmt: skip
passages = 0
row_by_row = False


def here(point: str) -> bool:
    """Whether this is the passage at which to go."""
    global passages
    if os.environ.get("DIE_AT") != point:
        return False
    passages += 1
    return passages == int(os.environ["DIE_AT_PASSAGE"])


def go() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def go_when_heard() -> None:
    """Whatever has been answered too early is on the wire by then."""
    await asyncio.sleep(0.005)
    go()


def go_soon() -> None:
    """When the statement that is about to be sent has been at the server for a moment."""
    asyncio.get_running_loop().call_later(float(os.environ["DIE_AFTER_SECONDS"]), go)


def dying_store(storing: Callable[..., Any]) -> Callable[..., Any]:
    async def store(connection: Connection, rows: Sequence[Row]) -> set[tuple[str, str]]:
        before, during, after = ("before_row", "in_row", "after_row") if row_by_row else POINTS[:3]
        if here(before):
            await go_when_heard()
        if here(during):
            go_soon()
        new = await storing(connection, rows)
        if here(after):
            go()
        return cast(set[tuple[str, str]], new)

    return store


def dying_index(indexing: Callable[..., Any]) -> Callable[..., Any]:
    async def index(connection: Connection, rows: Sequence[Any]) -> None:
        await indexing(connection, rows)
        if here("after_index"):
            await go_when_heard()

    return index


def dying_add(adding: Callable[..., Any]) -> Callable[..., Any]:
    async def add(pool: Pool, made: Sequence[keys.Made]) -> None:
        if here("before_key"):
            await go_when_heard()
        if here("in_key"):
            go_soon()
        await adding(pool, made)
        if here("after_key"):
            go()

    return add


class DyingCommits(jobs.GroupCommit):
    """Knows when it goes row by row."""

    async def _one_by_one(self, batch: Sequence[jobs.Waiting]) -> None:
        global row_by_row
        row_by_row = True
        await super()._one_by_one(batch)
        row_by_row = False


class AtOnce:
    """A transport whose answers are on the wire when `write` returns: the loop would send them together."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        os.write(self.transport.get_extra_info("socket").fileno(), data)
        if data.startswith(b"HTTP/1.1 200") and here("between_answers"):
            go()


class DyingConnection(door.Connection):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        at_once = os.environ.get("DIE_AT") == "between_answers"
        super().connection_made(cast(asyncio.Transport, AtOnce(transport)) if at_once else transport)


def live(environment: dict[str, str]) -> NoReturn:
    os.environ.update(environment)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    service.main("ingest", Settings, app.main)
    sys.exit(0)


def main() -> None:
    store.store = dying_store(store.store)
    vars(store)["index"] = dying_index(keys.index)
    keys.add = dying_add(keys.add)
    vars(app)["GroupCommit"] = DyingCommits
    door.Connection = DyingConnection  # type: ignore[misc]  # the point is to replace it
    Policy.read = cache(Policy.read)  # type: ignore[method-assign]  # once for all lives
    while line := sys.stdin.buffer.readline():
        environment = orjson.loads(line)
        Policy.read(Path(environment["INGEST_SEALING"]))
        if (child := os.fork()) == 0:
            live(environment)
        print(child, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
