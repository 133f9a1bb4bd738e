"""The relay, with a signal to itself at a point that the test names. Everything else is the product.

python -m tests.fault.outbox_relay.dying, with DIE_AT=<point>, DIE_AT_PASSAGE=<n>, DIE_OF=SIGKILL|SIGSTOP
python -m tests.fault.outbox_relay.dying    reads one environment a line, as JSON; each is a life of the relay

To start Python costs more than a life may last here, so the second form is started once and forks for each life,
which logs to LIFE_LOG. It tells two lines about one: its pid, and how it ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import orjson
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.transaction import EndTxnRequest

from millrace import service
from outbox_relay import app
from outbox_relay.publisher import ConfluentPublisher, TxnPublisher, client, confluent, undecided
from outbox_relay.relay import quarantine
from outbox_relay.relay.quarantine import Quarantine
from outbox_relay.settings import Settings
from outbox_relay.store import Outbox
from outbox_relay.store.quarantine import Shelf

AT_THE_START = ("after_fence", "settling", "cursor_read")  # once in a term
POINTS = (
    *AT_THE_START,
    "page_read", "after_claim", "after_park",             # nothing of the page is in Kafka yet
    "partial_send", "full_send", "before_commit", "during_commit", "after_commit",
)  # fmt: skip
OF_DECISIONS = ("in_redrive", "after_redrive")  # planned, not published; published, not marked

passages = 0


def here(point: str) -> bool:
    """Whether this is the passage at which to go."""
    global passages
    if os.environ.get("DIE_AT") != point:
        return False
    passages += 1
    return passages == int(os.environ.get("DIE_AT_PASSAGE", "1"))


def go() -> None:
    os.kill(os.getpid(), getattr(signal, os.environ.get("DIE_OF", "SIGKILL")))


def after(owner: Any, name: str, point: str) -> None:
    """Go when it has returned; where there may be nothing to decide, when it has returned a decision."""
    original = getattr(owner, name)

    async def dying(*arguments: Any, **options: Any) -> Any:
        answer = await original(*arguments, **options)
        if (answer is not None or point != "in_redrive") and here(point):
            go()
        return answer

    setattr(owner, name, dying)


def before(owner: Any, name: str, point: str) -> None:
    """Go instead of beginning it."""
    original = getattr(owner, name)

    def dying(*arguments: Any, **options: Any) -> Any:
        if here(point):
            go()
        return original(*arguments, **options)

    setattr(owner, name, dying)


def in_the_send(publisher: type[TxnPublisher] | type[ConfluentPublisher]) -> None:
    """Half of the batches are acknowledged, or all of them are on their way."""
    original: Callable[..., Any] = publisher.send

    async def send(self: Any, batches: Any, cursor: Any) -> None:
        if batches and here("partial_send"):
            await original(self, batches[: len(batches) // 2], cursor)
            go()
        if here("full_send"):
            asyncio.get_running_loop().call_later(0.002, go)
        await original(self, batches, cursor)

    publisher.send = send  # type: ignore[method-assign]


def in_the_commit() -> None:
    """The request is on the wire."""
    sending = AIOKafkaClient.send

    async def send(self: Any, node: int, request: Any, **options: Any) -> Any:
        if isinstance(request, EndTxnRequest) and here("during_commit"):
            asyncio.get_running_loop().call_later(0.001, go)
        return await sending(self, node, request, **options)

    AIOKafkaClient.send = send
    committing = confluent.Producer._commit

    def commit(self: confluent.Producer) -> None:
        if here("during_commit"):
            threading.Timer(0.001, go).start()
        committing(self)

    confluent.Producer._commit = commit  # type: ignore[method-assign]


def prepare() -> None:
    """Every point is laid; which one counts is in the environment of a life."""
    after(client.Producer, "start", "after_fence")
    before(undecided, "settle", "settling")
    for publisher in (TxnPublisher, ConfluentPublisher):
        after(publisher, "fence", "cursor_read")
        in_the_send(publisher)
        before(publisher, "commit", "before_commit")
        after(publisher, "commit", "after_commit")
    in_the_commit()
    after(Outbox, "page", "page_read")
    after(quarantine, "claim", "after_claim")
    after(Shelf, "park", "after_park")
    after(Quarantine, "decided", "in_redrive")
    before(Quarantine, "settled", "after_redrive")


def live(environment: dict[str, str]) -> NoReturn:
    os.environ.update(environment)
    with open(environment["LIFE_LOG"], "ab") as log:  # noqa: PTH123 the descriptor is wanted
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    service.main("outbox-relay", Settings, app.main)
    sys.exit(0)


def main() -> None:
    prepare()
    if "DIE_AT" in os.environ:
        return service.main("outbox-relay", Settings, app.main)
    while line := sys.stdin.buffer.readline():
        if (child := os.fork()) == 0:
            live(orjson.loads(line))
        print(child, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201
    return None


if __name__ == "__main__":
    main()
