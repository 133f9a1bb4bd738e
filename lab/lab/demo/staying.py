"""The demo lives on: its company's Stripe is served, and whoever turns its clock turns the services' with it.

Webhooks go to the demo's own ingest, kindly: what a person does by hand arrives at once and one time.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

import uvicorn

from lab.demo.processes import Processes
from lab.demo.site import ACCOUNT, Endpoint, Site
from lab.northwind.quarter import Quarter
from millrace_lab.account import Account
from millrace_lab.delivery.mail import Mail
from millrace_lab.delivery.schedule import Schedule
from millrace_lab.edge.house import House
from millrace_lab.edge.serving import Serving
from millrace_lab.platform import endpoints
from operations.flow import Quiet

ENDS = (signal.SIGINT, signal.SIGTERM)


class Clocks:
    """Turns the services' clock with the account's: never back, and over midnight only in good order."""

    def __init__(self, services: Processes, quiet: Quiet) -> None:
        self.services, self.quiet = services, quiet
        self.clock = services.site.clock

    async def turn(self, now: int) -> None:
        """The account's clock stands at a second: what comes next is told then, and not before.

        A day ends when everything of it has been applied, and the next begins when the timers up to there have
        fired. Raises TimeoutError when the services do not get that far.
        """
        stands, at = self.clock.now(), datetime.fromtimestamp(now, UTC)
        if at.date() > stands.date():
            self.services.revive()
            await self.quiet.wait(stands)
            self.clock.turn(at)
            await self.quiet.wait(at)
        elif at > stands:
            self.clock.turn(at)

    def seconds(self) -> float:
        return self.clock.now().timestamp()


@asynccontextmanager
async def served(company: Quarter, services: Processes, quiet: Quiet) -> AsyncIterator[House]:
    """The company's account behind `house.site`, API and page; its webhooks go to the services."""
    _connect(company.account, services.site)
    clocks, up = Clocks(services, quiet), asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        house = House(
            company.account,
            Mail(company.account, Schedule(company.seed, "kind")),
            site=f"http://127.0.0.1:{listening.getsockname()[1]}",
            moments=(clocks.turn,),
            wall=clocks.seconds,
        )
        server = _Server(
            uvicorn.Config(
                Serving(house, up.set), log_level="warning", access_log=False, timeout_graceful_shutdown=5
            )
        )
        serving = asyncio.create_task(server.serve([listening]))
        try:
            await up.wait()
            yield house
        finally:
            house.life.stop()  # an advance that is under way ends where it is
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    """Leaves the signals to the demo, which has other parts to stop as well."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def until_stopped() -> Iterator[asyncio.Event]:
    """An event that is set when a person, or the system, asks this process to end; asked again, it ends at once."""
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in ENDS:
        loop.add_signal_handler(number, asked.set)
    try:
        yield asked
    finally:
        for number in ENDS:
            loop.remove_signal_handler(number)


def _connect(account: Account, site: Site) -> None:
    """A webhook endpoint for everything, at our ingest, with the secret that it knows."""
    url = site.url(Endpoint(ACCOUNT, account.livemode))
    step = account.step()
    made = endpoints.create(step, endpoints.CreateEndpoint(url=url, enabled_events=["*"]))
    step.change(made["id"], _secrets=[{"secret": site.secret, "expires": None}])
    step.commit()
