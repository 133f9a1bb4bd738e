"""A process of ours: its parts run together, stop together, and say how they are.

    run(part, part, …)   until SIGTERM or SIGINT, or until one part fails; then every part drains

/livez   my loop turns; never asks Kafka or Postgres, or one outage becomes a storm of restarts
/readyz  every part has made progress lately
/metrics Prometheus
They are served by threads of their own, so they answer even when the loop is stuck: that is what they are
for.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any, Protocol, TypeVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import REGISTRY, make_wsgi_app

from millrace import telemetry, tracing
from millrace.errors import Failure, Misconfigured
from millrace.settings import ServiceSettings

log = logging.getLogger("millrace.service")

LOOP_STUCK_SECONDS = 60.0  # longer than any batch may take
DRAIN_SECONDS = 25.0  # below the pod's termination grace


class Part(Protocol):
    """Something that runs as long as the process does.

    run()    works until `stop` is set, finishes what it has begun and returns. May raise: the process ends.
    ready()  '' when it makes progress, otherwise what it is waiting for.
    """

    name: str

    async def run(self, stop: asyncio.Event) -> None: ...

    def ready(self) -> str: ...


async def run(*parts: Part, health_host: str = "127.0.0.1", health_port: int = 0) -> None:
    """Run the parts until a signal; the first failure stops the others and is raised.

    Units: drains for at most DRAIN_SECONDS, then cancels.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.set_exception_handler(_unhandled)
    health = Health(parts)
    with health.serving(health_host, health_port):
        tasks = [asyncio.create_task(part.run(stop), name=part.name) for part in parts]
        try:
            await _until_stopped(stop, tasks, health)
        finally:  # also when this task is cancelled: nothing that was begun is left behind
            ended = [task for task in tasks if task.done()]
            stop.set()
            await _drain(tasks)
    _raise_first([*ended, *(task for task in tasks if task not in ended)])


async def _until_stopped(stop: asyncio.Event, tasks: list[asyncio.Task[None]], health: Health) -> None:
    stopping = asyncio.create_task(stop.wait())
    done: set[asyncio.Task[Any]] = set()
    try:
        while not done:
            health.beat()
            done, _ = await asyncio.wait([stopping, *tasks], timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()


def _raise_first(ended: list[asyncio.Task[None]]) -> None:
    """Raise the failure that came first, the cause; log those that followed from it."""
    failed = [(task, problem) for task in ended if not task.cancelled() and (problem := task.exception())]
    for task, problem in failed[1:]:
        log.error("part failed while stopping", exc_info=problem, extra={"part": task.get_name()})
    if failed:
        raise failed[0][1]


def _unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio could tell nobody else; its own handler would quote the exception's text."""
    log.error(context["message"], exc_info=context.get("exception"))


async def _drain(tasks: list[asyncio.Task[None]]) -> None:
    _, late = await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
    for task in late:
        log.error("part did not drain in time", extra={"part": task.get_name()})
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


class Health:
    """Answers the probes from what the parts say."""

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self.parts = parts
        self.metrics = make_wsgi_app(REGISTRY)
        self.beat()

    def beat(self) -> None:
        """The loop has turned."""
        self.turned = time.monotonic()

    def live(self) -> str:
        stuck = time.monotonic() - self.turned
        return f"loop has not turned for {stuck:.0f} s" if stuck > LOOP_STUCK_SECONDS else ""

    def ready(self) -> str:
        return self.live() or "; ".join(f"{p.name}: {why}" for p in self.parts if (why := p.ready()))

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Any:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return self.metrics(environ, start)
        checks: dict[str, Callable[[], str]] = {"/livez": self.live, "/readyz": self.ready}
        if path not in checks:
            start("404 Not Found", [("content-type", "text/plain")])
            return [b"/livez /readyz /metrics\n"]
        wrong = checks[path]()
        start(
            "503 Service Unavailable" if wrong else "200 OK", [("content-type", "text/plain; charset=utf-8")]
        )
        return [(wrong or "ok").encode() + b"\n"]

    def serving(self, host: str, port: int) -> _Serving:
        """Serve while the block lasts; port 0 serves nothing."""
        return _Serving(self, host, port)


class _Threaded(ThreadingMixIn, WSGIServer):
    """A thread a request: somebody who connects and says nothing keeps no probe waiting."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One line like every other, instead of a traceback on standard error."""
        log.warning("health request broke off", exc_info=True)


class _Quiet(WSGIRequestHandler):
    timeout = 5  # seconds a connection may stay silent

    def log_message(self, format: str, *args: Any) -> None:
        """Probes are not worth a line."""


class _Serving:
    def __init__(self, health: Health, host: str, port: int) -> None:
        self.server: WSGIServer | None = None
        if port:
            self.server = make_server(host, port, health, _Threaded, _Quiet)

    def __enter__(self) -> None:
        if self.server:
            Thread(target=self.server.serve_forever, name="health", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()


S = TypeVar("S", bound=ServiceSettings)


def main(name: str, settings: type[S], app: Callable[[S], Coroutine[Any, Any, None]]) -> None:
    """What every `__main__` does: read settings, log as JSON, run the app, and end with a code that tells.

    Exit codes: 0 stopped as asked · 1 a part failed · 78 the configuration is wrong.
    """
    try:
        read = settings.read()
        telemetry.logs(name, read.log_level)
        tracing.export(name)
        asyncio.run(app(read))
    except Misconfigured as problem:
        print(f"{name}: {problem}", file=sys.stderr)  # noqa: T201 the log is not set up yet
        sys.exit(78)
    except Failure as problem:  # in our own words, which say what to do next
        log.exception("stopped by a failure", extra={"why": str(problem)})
        sys.exit(1)
    except Exception:
        log.exception("stopped by a failure")
        sys.exit(1)
