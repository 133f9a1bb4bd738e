"""Deliver events the way Stripe does: signed, in parallel, again and again until they are acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import stripe

from millrace.clock import Clock
from millrace.errors import Misconfigured

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
    """The events in a file: one JSON per line, an array, or a Stripe list object. Raises Misconfigured.

    A single line's bytes are sent exactly as they stand.
    """
    if (whole := _parsed(text)) is not None:
        return [
            (orjson.dumps(e), _id(e, f"{name}: event {n}")) for n, e in enumerate(_elements(whole, name), 1)
        ]
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            event = _parsed(line)
            if event is None:
                raise Misconfigured(
                    f"{name}:{number}: is not JSON; expected one event a line, an array or a list"
                )
            found.append((line, _id(event, f"{name}:{number}")))
    return found


def _parsed(text: bytes) -> Any | None:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _elements(whole: Any, name: str) -> list[Any]:
    if isinstance(whole, list):
        return whole
    if isinstance(whole, dict) and whole.get("object") == "list":
        return _elements(whole.get("data"), name)
    if isinstance(whole, dict):
        return [whole]
    raise Misconfigured(f"{name}: holds neither events nor a list of them")


def _id(event: Any, where: str) -> str:
    found = event.get("id") if isinstance(event, dict) else None
    if not isinstance(found, str):
        raise Misconfigured(f"{where}: has no 'id'; a Stripe Event object is expected")
    return found
