"""The Kafka client, bent where its defaults are wrong for a relay. Nothing else touches its inside.

- It compresses with zstd at level 3; level 1 costs a third and loses little on JSON.
- It waits 20 ms when the markers of the last transaction are still being written; they take 1 to 5.
- It repeats EndTxn when no answer comes. A delayed first one could then end the *next* transaction
  (KAFKA-17754), so ours is asked once: no answer is a failure, and the producer is replaced.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.codec import zstd_encode
from aiokafka.producer import sender

ZSTD_LEVEL = 1
MARKERS_SECONDS = 0.001
CLOSE_SECONDS = 2.0


def bend() -> None:
    """For every producer of this process: the client has no option for any of it."""
    sender.BACKOFF_OVERRIDE = MARKERS_SECONDS
    sender.EndTxnHandler = EndOnce
    for name in ("default_records", "_crecords.default_records"):
        if module := sys.modules.get(f"aiokafka.record.{name}"):
            vars(module)["zstd_encode"] = functools.partial(zstd_encode, level=ZSTD_LEVEL)


class EndOnce(sender.EndTxnHandler):  # type: ignore[misc]  # the client carries no types
    """Ends a transaction with one request. A refusal by the broker may be repeated; silence may not."""

    async def do(self, node_id: int) -> bool:
        request = self.create_request()
        response = await self._sender.client.send(node_id, request, group=self.group)
        pause = self.handle_response(response)
        await asyncio.sleep(pause or 0)
        return pause is None


class Producer(AIOKafkaProducer):  # type: ignore[misc]  # the client carries no types
    """A transactional producer that is thrown away rather than stopped."""

    def __init__(
        self, kafka: str, transactional_id: str, *, seconds: float, transaction_seconds: float, batch: int
    ):
        bend()
        super().__init__(
            bootstrap_servers=kafka,
            transactional_id=transactional_id,
            compression_type="zstd",
            linger_ms=0,
            max_batch_size=batch,
            transaction_timeout_ms=int(transaction_seconds * 1000),
            request_timeout_ms=int(seconds * 1000) + 5000,  # our own deadline comes first
            retry_backoff_ms=20,
            metadata_max_age_ms=60_000,
        )

    async def known(self) -> Any:
        """The cluster as it is now: every topic with its partitions."""
        return await self.client.fetch_all_metadata()

    async def discard(self) -> None:
        """Let go without flushing and without aborting: the successor's fence aborts what is open."""
        self._closed = True
        working = self._sender.sender_task
        if working:
            working.cancel()
        with suppress(Exception):  # whatever it still has to say, nobody relies on it any more
            await asyncio.wait_for(self.client.close(), CLOSE_SECONDS)
        if working:
            await asyncio.wait([working], timeout=CLOSE_SECONDS)
