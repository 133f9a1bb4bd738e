"""Deliver events the way Stripe does: signed, in parallel, again and again until they are acknowledged."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import orjson
import stripe

from millrace.clock import Clock
from millrace.errors import Misconfigured
from operations import recorded

RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX = 0.05, 2.0
Progress = Callable[[], None]


@dataclass(slots=True)
class Sent:
    """What became of some deliveries. `acknowledged` holds the event ids that were answered 2xx."""

    acknowledged: set[str] = field(default_factory=set)
    deliveries: int = 0
    retries: int = 0
    refused: list[tuple[str, int, str]] = field(default_factory=list)  # event id, status, the answer's reason


class Sender:
    """Posts bodies to one endpoint. A 4xx is final; a 5xx or a broken connection is tried again, as by Stripe.

    Units: `give_up_seconds` after which a delivery that is never acknowledged is an error.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        secret: str,
        clock: Clock,
        *,
        give_up_seconds: float = 120.0,
    ) -> None:
        self.http, self.url, self.secret, self.clock = http, url, secret, clock
        self.give_up_seconds = give_up_seconds
        self.sent = Sent()

    async def send(self, body: bytes, event_id: str) -> None:
        """Deliver one body until it is answered for good. Raises TimeoutError when nobody ever does."""
        pause = RETRY_SECONDS_FIRST
        async with asyncio.timeout(self.give_up_seconds):
            while not await self._try(body, event_id):
                self.sent.retries += 1
                await asyncio.sleep(pause)
                pause = min(RETRY_SECONDS_MAX, pause * 2)

    async def _try(self, body: bytes, event_id: str) -> bool:
        """One attempt, freshly signed; whether it was answered for good."""
        signature = stripe.WebhookSignature.generate_signature_header(
            body.decode(), self.secret, int(self.clock.now().timestamp())
        )
        headers = {"content-type": "application/json; charset=utf-8", "stripe-signature": signature}
        self.sent.deliveries += 1
        try:
            async with self.http.post(self.url, data=body, headers=headers) as answer:
                reason = await answer.text()
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            return False
        if answer.ok:
            self.sent.acknowledged.add(event_id)
        elif answer.status < 500:
            self.sent.refused.append((event_id, answer.status, reason[:200]))
        return answer.status < 500

    async def send_all(
        self, bodies: Iterable[tuple[bytes, str]], *, at_once: int = 32, progress: Progress | None = None
    ) -> None:
        """Deliver many, up to `at_once` side by side; returns when every one is answered."""
        todo = iter(bodies)

        async def deliver() -> None:
            for body, event_id in todo:
                await self.send(body, event_id)
                if progress:
                    progress()

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(deliver())


@asynccontextmanager
async def sender(url: str, secret: str, clock: Clock, *, at_once: int = 32) -> AsyncIterator[Sender]:
    """A sender with its connections."""
    connector = aiohttp.TCPConnector(limit=at_once)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        yield Sender(http, url, secret, clock)


def events_in(text: bytes, name: str) -> list[tuple[bytes, str]]:
    """The events in a file, each with its id: its bytes are sent exactly as they stand. Raises Misconfigured."""
    file = io.BufferedReader(io.BytesIO(text))
    return [(found.raw, _id(found)) for found in recorded.events_in(file, name)]


def _id(found: recorded.Found) -> str:
    try:
        event = orjson.loads(found.raw)
    except orjson.JSONDecodeError:
        raise Misconfigured(
            f"{found.place}: is not JSON; expected one event a line, an array or a list"
        ) from None
    id_ = event.get("id") if isinstance(event, dict) else None
    if not isinstance(id_, str):
        raise Misconfigured(f"{found.place}: has no 'id'; a Stripe Event object is expected")
    return id_
