"""Everything under one roof: Stripe's API, the double's own control, the hosted pages, and the page at /.

/v1 /v2                       Stripe's API
/_lab                         what only the double has (`control`)
/pay /portal /invoice         what Stripe hosts, as stand-ins (`hosted`)
/                             the page (`page`)
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from millrace_lab.edge import control, hosting, page
from millrace_lab.edge.app import App
from millrace_lab.edge.house import House

API = ("/v1/", "/v2/")


class Serving:
    """ASGI over a house, which lives while the server does. `ready` is called when it is served."""

    def __init__(self, house: House, ready: Callable[[], None] = lambda: None) -> None:
        self.house, self.ready = house, ready
        self._own = Starlette(routes=[*control.routes(house), *hosting.routes(house), *page.routes(house)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"].startswith(API):
            await App(self.house.api)(scope, receive, send)
            self.house.life.wake()
        elif _is_foreign(scope):
            await PlainTextResponse("Only pages of this server may do this.", 403)(scope, receive, send)
        else:
            await self._own(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.house.open()
                self.ready()
            else:
                await self.house.leave()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


def _is_foreign(scope: Scope) -> bool:
    """Whether another site's page makes a browser ask this: the double stands open on a person's machine."""
    headers = Request(scope).headers
    origin = headers.get("origin")
    return scope["method"] != "GET" and origin is not None and urlsplit(origin).netloc != headers.get("host")
