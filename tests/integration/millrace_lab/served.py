"""The double with its life, and a handler of webhooks that answers as it is told."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from aiohttp import web

from millrace_lab.account import Account
from millrace_lab.clockwork import furnished
from millrace_lab.delivery.mail import Mail
from millrace_lab.delivery.schedule import Profile, Schedule
from millrace_lab.edge.house import House
from millrace_lab.edge.serving import Serving
from tests.support.double import OPENS


@dataclass
class Request:
    body: bytes
    signature: str
    status: int

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found


@dataclass
class Hook:
    """A handler. `answers` are the next statuses, 200 when there are none; `reacts` is awaited before answering."""

    url: str = ""
    heard: list[Request] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    broken: int = 0  # requests that ended in the middle of their body
    reacts: Callable[[Request], Any] | None = None

    def types(self) -> list[str]:
        return [each.event["type"] for each in self.heard]

    async def handle(self, request: web.Request) -> web.Response:
        try:
            body = await request.read()
        except Exception:
            self.broken += 1
            raise
        status = self.answers.pop(0) if self.answers else 200
        heard = Request(body, request.headers["Stripe-Signature"], status)
        self.heard.append(heard)
        if self.reacts:
            await self.reacts(heard)
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status // 100 == 3 else {})


@dataclass
class Served:
    """A double with its life. `post` asks Stripe's API, `lab` the double's own."""

    house: House
    http: httpx.AsyncClient

    async def post(self, path: str, /, **form: Any) -> dict[str, Any]:
        answer = await self.http.post(path, data=form)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def lab(self, path: str, /, **given: Any) -> dict[str, Any]:
        answer = await self.http.post(f"/_lab{path}", json=given)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def endpoint(self, hook: Hook, *types: str, **params: Any) -> dict[str, Any]:
        form = {f"enabled_events[{n}]": each for n, each in enumerate(types or ("*",))}
        return await self.post("/v1/webhook_endpoints", url=hook.url, **form, **params)


@contextlib.asynccontextmanager
async def serve(profile: Profile | str = "kind") -> AsyncIterator[Served]:
    """The double as a server would run it, asked without a socket; its webhooks go over real ones."""
    account = furnished(Account(7, OPENS))
    house = House(account, Mail(account, Schedule(7, profile)))
    await house.open()
    try:
        headers = {"Authorization": "Bearer sk_test_lab"}
        transport = httpx.ASGITransport(Serving(house))
        async with httpx.AsyncClient(base_url="http://double", headers=headers, transport=transport) as http:
            yield Served(house, http)
    finally:
        await house.close()


@contextlib.asynccontextmanager
async def hooked() -> AsyncIterator[Hook]:
    hook = Hook()
    app = web.Application()
    app.router.add_post("/{path:.*}", hook.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield hook
    finally:
        await runner.cleanup()
