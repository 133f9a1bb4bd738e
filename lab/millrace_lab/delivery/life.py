"""An account and its deliveries live through time together.

What is due at one second, deliveries included, is done before anything of a later second. So a handler that
asks the API back gets the answer as of now in the story, never from its end.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from millrace_lab import clockwork
from millrace_lab.account import Account
from millrace_lab.delivery.mail import Mail
from millrace_lab.delivery.sender import Sender

LOG = logging.getLogger(__name__)
Progress = Callable[[int], None]
Moment = Callable[[int], Awaitable[None]]
RUNNING_TICK_SECONDS = 0.25


class Life:
    """The one place that lets the account's time pass while webhooks are sent.

    A held clock stands until `advance`; a running one follows the real one at a distance. In both modes
    `run` sends what is due now soon after `wake`.
    """

    def __init__(
        self, account: Account, mail: Mail, sender: Sender, wall: Callable[[], float] = time.time
    ) -> None:
        self.account, self.mail, self.sender, self.wall = account, mail, sender, wall
        self.moments: list[
            Moment
        ] = []  # awaited at every moment before its letters are sent, and where it stops
        self.offset: float | None = None  # running: virtual time less real time; held: None
        self._one_at_a_time = asyncio.Lock()
        self._woken = asyncio.Event()
        self._stopped = self._ended = False

    # The clock.

    def hold(self) -> None:
        self.offset = None

    def let_run(self) -> None:
        """From now on a real second is a second of the account."""
        self.offset = self.account.now - self.wall()
        self.wake()

    @property
    def is_running(self) -> bool:
        return self.offset is not None

    async def advance(self, until: int, progress: Progress = lambda _: None) -> int:
        """Live up to and including a second, all deliveries that are due made. Returns where it stopped.

        `stop` ends it early, between two moments, with everything up to there done.
        """
        async with self._one_at_a_time:
            self._stopped = False
            await self._live(until, progress)
            if not self._is_over:
                clockwork.advance(self.account, until)
                await self._meet()
            if self.offset is not None:
                self.offset = max(self.offset, self.account.now - self.wall())
        return self.account.now

    def stop(self) -> None:
        """Let the advance that goes on end where it is."""
        self._stopped = True

    async def end(self) -> None:
        """Let the moment that goes on come to its end; then nothing happens any more."""
        self._ended = True
        async with self._one_at_a_time:
            pass

    async def settle(self) -> None:
        """Send everything that is due now."""
        await self.advance(self.account.now)

    @property
    def _is_over(self) -> bool:
        return self._stopped or self._ended

    async def _live(self, until: int, progress: Progress) -> None:
        while not self._is_over and (at := self._next(until)) is not None:
            letters = self.mail.take(at)
            clockwork.advance(self.account, max(at, self.account.now))
            await self._meet()
            if letters:
                await self.sender.send(letters)
            else:
                await asyncio.sleep(0)  # a long advance without deliveries still lets others in
            progress(self.account.now)

    async def _meet(self) -> None:
        for moment in self.moments:
            await moment(self.account.now)

    def _next(self, until: int) -> int | None:
        soonest = [at for at in (clockwork.next_due(self.account), self.mail.next_at()) if at is not None]
        return min(soonest) if soonest and min(soonest) <= until else None

    # In the background of a server.

    def wake(self) -> None:
        """Something may be due now: a request has been answered."""
        self._woken.set()

    async def run(self) -> None:
        """Keep up with what is due, until cancelled. A bug of ours is logged, and the rest goes on."""
        while True:
            await self._rest()
            try:
                await self.catch_up()
            except Exception:
                LOG.exception("something that was due could not be done")

    async def catch_up(self) -> None:
        """Come to where the clock should be now, and send what is due there."""
        until = self.account.now
        if self.offset is not None:
            until = max(until, int(self.wall() + self.offset))
        await self.advance(until)

    async def _rest(self) -> None:
        try:
            limit = RUNNING_TICK_SECONDS if self.is_running else None
            await asyncio.wait_for(self._woken.wait(), limit)
        except TimeoutError:
            return
        self._woken.clear()
