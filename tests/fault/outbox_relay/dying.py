"""The relay, with a signal to itself at a point that the test names. Everything else is the product.

python -m tests.fault.outbox_relay.dying, with DIE_AT=<point>, DIE_AT_PASSAGE=<n>, DIE_OF=SIGKILL|SIGSTOP
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from aiokafka.protocol.transaction import EndTxnRequest

from millrace import service
from outbox_relay import app, store
from outbox_relay.domain.cursor import Cursor, Position
from outbox_relay.domain.page import Page
from outbox_relay.publisher import Batches, TxnPublisher, acknowledged, client
from outbox_relay.settings import Settings

POINTS = (
    "after_fence", "cursor_read", "page_read", "partial_send", "full_send", "before_commit", "during_commit",
    "after_commit",
)  # fmt: skip
passages = int(os.environ.get("DIE_AT_PASSAGE", "1"))


def here(point: str) -> bool:
    """Whether this is the passage at which to go."""
    global passages
    if os.environ.get("DIE_AT") != point:
        return False
    passages -= 1
    return passages == 0


def go() -> None:
    os.kill(os.getpid(), getattr(signal, os.environ.get("DIE_OF", "SIGKILL")))


class DyingProducer(client.Producer):
    """Its fence and its EndTxn are on the wire when it goes."""

    async def start(self) -> None:
        await super().start()
        if here("after_fence"):
            go()
        sending = self.client.send

        async def send(node: int, request: Any, **options: Any) -> Any:
            if isinstance(request, EndTxnRequest) and here("during_commit"):
                asyncio.get_running_loop().call_later(0.001, go)
            return await sending(node, request, **options)

        self.client.send = send


class DyingPublisher(TxnPublisher):
    async def fence(self) -> Cursor | None:
        cursor = await super().fence()
        if here("cursor_read"):
            go()
        return cursor

    async def send(self, batches: Batches, cursor: Cursor) -> None:
        if here("partial_send"):
            await self._live.begin_transaction()
            some = [
                await self._live.send_batch(b, t, partition=p) for t, p, b in batches[: len(batches) // 2 + 1]
            ]
            await acknowledged(some)
            go()
        if here("full_send"):
            asyncio.get_running_loop().call_later(0.002, go)
        await super().send(batches, cursor)

    async def commit(self) -> None:
        if here("before_commit"):
            go()
        await super().commit()
        if here("after_commit"):
            go()


class DyingOutbox(store.Outbox):
    async def page(self, position: Position) -> Page:
        page = await super().page(position)
        if here("page_read"):
            go()
        return page


def publisher(settings: Settings) -> TxnPublisher:
    return DyingPublisher(
        settings.kafka,
        settings.cursor_topic,
        deadline_seconds=settings.deadline_seconds,
        transaction_seconds=settings.transaction_seconds,
        batch_bytes=settings.record_bytes,
    )


if __name__ == "__main__":
    app.publisher = publisher
    store.Outbox = DyingOutbox  # type: ignore[misc]  # the point is to replace it
    vars(__import__("outbox_relay.publisher", fromlist=["Producer"]))["Producer"] = DyingProducer
    service.main("outbox-relay", Settings, app.main)
