"""The double behind a real socket, for clients that speak HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from millrace_lab.edge.app import App
from tests.support.double import Double

DEADLINE_SECONDS = 20.0


@contextmanager
def served(stripe: Double) -> Iterator[str]:
    """The address of the API, until the context ends."""
    config = uvicorn.Config(App(stripe.api), host="127.0.0.1", port=0, log_level="critical")
    server, started = uvicorn.Server(config), threading.Event()
    startup = server.startup

    async def announced(sockets: list[object] | None = None) -> None:
        await startup(sockets)  # type: ignore[arg-type]
        started.set()

    server.startup = announced  # type: ignore[assignment]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert started.wait(DEADLINE_SECONDS), "the double does not listen"
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE_SECONDS)
