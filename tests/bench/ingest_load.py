"""The load: a process of its own that posts prepared requests over connections which stay open.

python -m tests.bench.ingest_load PLAN    says `ready` when all is prepared and warm, starts at a line on its
                                          input, prints what it saw as JSON, and ends

    closed loop   each connection sends its next request when the last one is answered
    open loop     requests start on a fixed schedule, whatever the answers take; time counts from the schedule

An answer that is not 200, or a connection that ends, fails the run.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import uvloop

from tests.bench.ingest_body import requests

LATE_SECONDS = 60.0  # nothing may take longer than this


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send. Units: `rate` in events per second; 0 is the closed loop."""

    ports: Sequence[int]
    events: int
    run: int = 1
    warm: int = 500
    seconds: float = math.inf  # or until all events are sent
    rate: float = 0.0
    customers: int = 2000  # in turn, from `first` on
    first: int = 0
    connections: int = 64


class Sender(asyncio.Protocol):
    """One connection, with one request in flight."""

    def __init__(self) -> None:
        self.since = 0.0
        self.held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so

    def send(self, load: Load, request: bytes, since: float) -> None:
        self.load, self.since = load, since
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        data = self.held + data
        if not data.endswith(b"}"):  # every answer is a JSON object, and nothing follows it
            self.held = data
            return
        self.held = b""
        if data.startswith(b"HTTP/1.1 200 "):
            self.load.answered(self)
        else:
            self.load.fail(data.decode())

    def connection_lost(self, problem: Exception | None) -> None:
        self.load.fail(f"a connection ended: {problem}")


class Load:
    """Requests on their way. `answers` holds (when it was due, seconds until its answer) of each."""

    def __init__(self, requests: Iterable[bytes]) -> None:
        self.requests = iter(requests)
        self.answers: list[tuple[float, float]] = []
        self.flying = 0
        self.ended = asyncio.get_running_loop().create_future()

    def fly(self, sender: Sender, since: float) -> bool:
        """Send the next request, if there is one."""
        if (request := next(self.requests, None)) is None:
            return False
        self.flying += 1
        sender.send(self, request, since)
        return True

    def answered(self, sender: Sender) -> None:
        now = time.perf_counter()
        self.answers.append((sender.since, now - sender.since))
        self.flying -= 1
        self.free(sender, now)

    def free(self, sender: Sender, now: float) -> None:
        raise NotImplementedError

    def fail(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(AssertionError(why))

    def end_if_empty(self) -> None:
        if not self.flying and not self.ended.done():
            self.ended.set_result(None)


class Closed(Load):
    """As fast as it is answered, for so many seconds or until nothing is left."""

    async def run(self, senders: Sequence[Sender], seconds: float) -> None:
        began = time.perf_counter()
        self.ends = began + seconds
        for sender in senders:
            self.fly(sender, began)
        self.end_if_empty()
        await asyncio.wait_for(self.ended, min(seconds, 3600) + LATE_SECONDS)

    def free(self, sender: Sender, now: float) -> None:
        if now >= self.ends or not self.fly(sender, now):
            self.end_if_empty()


class Open(Load):
    """On a schedule. A request that finds no free connection waits, and its time runs."""

    async def run(self, senders: Sequence[Sender], rate: float, count: int) -> None:
        self.idle, self.due, self.scheduled = deque(senders), deque[float](), False
        began, told = time.perf_counter(), 0
        while told < count and not self.ended.done():
            while told < count and began + told / rate <= time.perf_counter():
                self.tell(began + told / rate)
                told += 1
            await asyncio.sleep(0.001)
        self.scheduled = True
        self.end_if_empty()
        await asyncio.wait_for(self.ended, LATE_SECONDS)

    def tell(self, since: float) -> None:
        if self.idle:
            self.fly(self.idle.popleft(), since)
        else:
            self.due.append(since)

    def free(self, sender: Sender, now: float) -> None:
        if self.due:
            self.fly(sender, self.due.popleft())
            return
        self.idle.append(sender)
        if self.scheduled:
            self.end_if_empty()


async def main(plan: Plan) -> None:
    prepared = requests(plan.run, range(plan.first, plan.first + plan.warm + plan.events), plan.customers)
    loop = asyncio.get_running_loop()
    senders = [
        (await loop.create_connection(Sender, "127.0.0.1", plan.ports[n % len(plan.ports)]))[1]
        for n in range(plan.connections)
    ]
    await Closed(prepared[: plan.warm]).run(senders, math.inf)
    gc.freeze()  # the prepared requests need not be looked through again
    print("ready", flush=True)  # noqa: T201
    await loop.run_in_executor(None, sys.stdin.readline)
    print(json.dumps(await measured(plan, senders, prepared[plan.warm :])))  # noqa: T201


async def measured(plan: Plan, senders: Sequence[Sender], prepared: Sequence[bytes]) -> dict[str, object]:
    cpu, began = time.process_time(), time.perf_counter()
    load: Closed | Open
    if plan.rate:
        load = Open(prepared)
        await load.run(senders, plan.rate, len(prepared))
    else:
        load = Closed(prepared)
        await load.run(senders, plan.seconds)
    return {
        "events": len(load.answers),
        "seconds": time.perf_counter() - began,
        "generator_seconds": time.process_time() - cpu,
        "answers": load.answers,
    }


if __name__ == "__main__":
    uvloop.run(main(Plan(**json.loads(sys.argv[1]))))
