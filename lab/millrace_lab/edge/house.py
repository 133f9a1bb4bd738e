"""Everything under one roof: Stripe's API, the double's own control, the hosted pages, and the page at /.

/v1 /v2                       Stripe's API
/_lab                         what only the double has (`control`)
/pay /portal /invoice         what Stripe hosts, as stand-ins (`hosted`)
/                             the page (`page`)
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from millrace_lab import saving
from millrace_lab.account import Account, Step
from millrace_lab.api import Api
from millrace_lab.delivery.life import Life, Moment
from millrace_lab.delivery.mail import Mail
from millrace_lab.delivery.sender import Sender
from millrace_lab.edge import control, hosting, page
from millrace_lab.edge.app import App
from millrace_lab.errors import StripeError

API = ("/v1/", "/v2/")
Result = TypeVar("Result")


class House:
    """ASGI over one account and its deliveries, which live while the server does.

    `site` is its own address, for the links to what it hosts; `ready` is called when it is served. With
    `state`, a file, everything is written there when the server stops. A receiver whose clock is turned
    together with the account's is told by `moments`, and signed for by `wall`, its clock in seconds.
    """

    def __init__(
        self,
        account: Account,
        mail: Mail,
        *,
        running: bool = False,
        site: str | None = None,
        state: Path | None = None,
        ready: Callable[[], None] = lambda: None,
        moments: Sequence[Moment] = (),
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.site, self.state, self.ready = site, state, ready
        self._moments, self._wall = moments, wall
        self._own = Starlette(routes=[*control.routes(self), *hosting.routes(self), *page.routes(self)])
        self._furnish(account, mail)
        if running:
            self.life.let_run()

    def _furnish(self, account: Account, mail: Mail) -> None:
        self.account, self.mail = account, mail
        if self.site:
            account.settings["site"] = self.site
        self.api = Api(account)
        self._app = cast(ASGIApp, App(self.api))
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"].startswith(API):
            await self._app(scope, receive, send)
            self.life.wake()
        elif _is_foreign(scope):
            await PlainTextResponse("Only pages of this server may do this.", 403)(scope, receive, send)
        else:
            await self._own(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.open()
                self.ready()
            else:
                await self.close()
                if self.state:
                    saving.save(self.state, self.account, self.mail)
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

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


def _is_foreign(scope: Scope) -> bool:
    """Whether another site's page makes a browser ask this: the double stands open on a person's machine."""
    headers = Request(scope).headers
    origin = headers.get("origin")
    return scope["method"] != "GET" and origin is not None and urlsplit(origin).netloc != headers.get("host")
