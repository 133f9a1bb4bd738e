"""One account and its deliveries, which live together: what the pages and the control act upon."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from millrace_lab import saving
from millrace_lab.account import Account, Step
from millrace_lab.api import Api
from millrace_lab.delivery.life import Life, Moment
from millrace_lab.delivery.mail import Mail
from millrace_lab.delivery.sender import Sender
from millrace_lab.errors import StripeError

Result = TypeVar("Result")


class House:
    """An account, its API, its mail and its life.

    `site` is its own address, for the links to what it hosts. With `state`, a file, everything is written
    there by `leave`. A receiver whose clock is turned together with the account's is told by `moments`, and
    signed for by `wall`, its clock in seconds.
    """

    def __init__(
        self,
        account: Account,
        mail: Mail,
        *,
        running: bool = False,
        site: str | None = None,
        state: Path | None = None,
        moments: Sequence[Moment] = (),
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.site, self.state = site, state
        self._moments, self._wall = moments, wall
        self._furnish(account, mail)
        if running:
            self.life.let_run()

    def _furnish(self, account: Account, mail: Mail) -> None:
        self.account, self.mail = account, mail
        if self.site:
            account.settings["site"] = self.site
        self.api = Api(account)
        self.sender = Sender(mail, wall=self._wall)
        self.life = Life(account, mail, self.sender)
        self.life.moments += self._moments

    async def move_in(self, account: Account, mail: Mail) -> None:
        """Another account from now on."""
        await self.close()
        self._furnish(account, mail)
        await self.open()

    def act(self, do: Callable[[Step], Result], *, automatic: bool = True) -> Result:
        """Something that happens outside of the API, in a step of its own. Raises StripeError."""
        step = self.account.step(automatic=automatic)
        try:
            result = do(step)
        except StripeError as error:
            if error.keep:
                step.commit()
                self.life.wake()
            raise
        step.commit()
        self.life.wake()
        return result

    async def open(self) -> None:
        """Begin to send what is due."""
        await self.sender.__aenter__()
        self._living = asyncio.create_task(self.life.run())

    async def close(self) -> None:
        """Let what is being sent arrive, then stop."""
        await self.life.end()
        self._living.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._living
        await self.sender.__aexit__()

    async def leave(self) -> None:
        """Stop, and write everything to the file that was named, if one was."""
        await self.close()
        if self.state:
            saving.save(self.state, self.account, self.mail)
