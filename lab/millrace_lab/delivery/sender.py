"""Letters over real HTTP, many at once. What becomes of an answer is decided in `mail`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Self

import aiohttp

from millrace_lab.delivery.letters import Post, written
from millrace_lab.delivery.mail import Answer, Attempt, Letter, Mail

AT_ONCE = 48
TIMEOUT_SECONDS = 10.0  # Stripe does not publish its own; what is left unanswered longer has failed
NEVER_SENT = {  # faults in which nothing leaves, and what the sender makes of it
    "gone": "timed out",
    "lost": "timed out",
    "down": "connection refused",
}
Heard = Callable[[Attempt], None]


class Sender:
    """Sends the letters of one mail. An async context manager: leaving it closes the connections.

    `wall` is the clock that signatures are made with, in seconds; `heard` is told of every attempt.
    """

    def __init__(
        self,
        mail: Mail,
        *,
        wall: Callable[[], float] = time.time,
        timeout_seconds: float = TIMEOUT_SECONDS,
        at_once: int = AT_ONCE,
        heard: Heard = lambda _: None,
    ) -> None:
        self.mail, self.wall, self.at_once = mail, wall, at_once
        self.listeners: list[Heard] = [heard]
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.at_once, ssl=False),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def send(self, letters: list[Letter]) -> None:
        """Send them all, in this order but many at once, and write down what came of each."""
        waiting = iter(letters)
        lanes = min(self.at_once, len(letters))
        if lanes == 1:
            await self._lane(waiting)
        else:
            await asyncio.gather(*(self._lane(waiting) for _ in range(lanes)))

    async def _lane(self, waiting: Iterator[Letter]) -> None:
        for letter in waiting:
            attempt = self.mail.record(letter, await self._answer(letter))
            for listener in self.listeners:
                listener(attempt)

    async def _answer(self, letter: Letter) -> Answer:
        if letter.endpoint in self.mail.unplugged:
            return Answer(error="connection refused")
        if letter.fault in NEVER_SENT:
            return Answer(error=NEVER_SENT[letter.fault])
        post = written(self.mail.account, letter, int(self.wall()))
        if letter.fault == "stalled":
            return await self._stalled(post)
        answer = await self._posted(post)
        return Answer(None, answer.milliseconds, "timed out") if letter.fault == "unheard" else answer

    async def _posted(self, post: Post) -> Answer:
        assert self._session is not None
        began = time.monotonic()
        try:
            async with self._session.post(
                post.url, data=post.body, headers=post.headers, allow_redirects=False
            ) as response:
                return Answer(response.status, _since(began))
        except TimeoutError:
            return Answer(None, _since(began), "timed out")
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            return Answer(None, _since(began), _reason(problem))

    async def _stalled(self, post: Post) -> Answer:
        """Half of the body, then nothing more until the connection breaks."""
        assert self._session is not None
        began = time.monotonic()
        headers = {**post.headers, "Content-Length": str(len(post.body))}
        try:
            async with self._session.post(post.url, data=_half(post.body), headers=headers) as response:
                return Answer(response.status, _since(began))
        except (aiohttp.ClientError, OSError, ValueError):
            return Answer(None, _since(began), "timed out")


async def _half(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    raise OSError("the sender stalls on purpose")


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _reason(problem: Exception) -> str:
    if isinstance(problem, aiohttp.ClientConnectorError):
        return "connection refused"
    return str(problem) or type(problem).__name__
