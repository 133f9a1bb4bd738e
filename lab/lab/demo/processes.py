"""The services as processes: started, watched, killed on purpose, started again; none outlives the demo.

A watchdog in a session of its own waits for the demo's lock, which the kernel lets go of when the demo ends,
whatever ended it; then it ends what is left.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM

from lab.demo.site import SERVICES, Site
from lab.stack import StackError, manage
from lab.stack.jars import CHECKOUT
from lab.stack.process import Process, launch, living

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
RESTARTS_MAX = 3
KEPT = "kept"  # a file that says: the servers stay, the demo ended well


class Processes:
    """The running services of a site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.running: dict[str, Process] = {}
        self.restarts = dict.fromkeys(SERVICES, 0)
        self.killed: list[str] = []

    def start(self, service: str) -> None:
        self.running[service] = launch(
            [sys.executable, "-m", service],
            log=self.log(service),
            record=self.site.folder / "processes" / f"{service}.json",
            environment=self.site.environment(service),
        )

    def log(self, service: str) -> Path:
        return self.site.folder / "logs" / f"{service}.log"

    def kill(self, service: str) -> None:
        """SIGKILL, as a machine would: no time to finish anything. It is started again at once."""
        self.running[service].end(SIGKILL, within_seconds=5)
        self.killed.append(service)
        self.start(service)

    async def ready(self) -> None:
        """Wait until every service says that it makes progress. Raises StackError with the log to read."""
        for service in SERVICES:
            began = time.monotonic()
            while why := await asyncio.to_thread(_unready, self.site.ports[f"{service}.health"]):
                self.revive()
                if time.monotonic() - began > READY_SECONDS:
                    raise StackError(f"{service} is not ready ({why}); see {self.log(service)}")
                await asyncio.sleep(0.05)

    def revive(self) -> None:
        """Start again what ended by itself, a few times. Raises StackError when it keeps ending."""
        for service, process in self.running.items():
            if process.alive():
                continue
            self.restarts[service] += 1
            if self.restarts[service] > RESTARTS_MAX:
                raise StackError(f"{service} keeps ending; see {self.log(service)}")
            self.start(service)

    async def stop(self) -> None:
        """Ask every service to drain and end, all at once."""
        for process in self.running.values():
            process.send(SIGTERM)
        for process in self.running.values():
            await asyncio.to_thread(process.end, SIGTERM, within_seconds=STOP_SECONDS)


@asynccontextmanager
async def processes(site: Site) -> AsyncIterator[Processes]:
    """The services of a site, ready; drained at the end."""
    services = Processes(site)
    try:
        for service in SERVICES:
            services.start(service)
        await services.ready()
        yield services
    finally:
        await services.stop()


class Owner:
    """Holds a demo's lock for as long as this process lives, with a watchdog behind it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / KEPT).unlink(missing_ok=True)
        self.folder = folder
        self.lock = (folder / "owner").open("a")
        fcntl.flock(self.lock, fcntl.LOCK_SH)
        launch(
            [sys.executable, "-m", "lab.demo.watchdog", folder],
            log=folder / "logs" / "watchdog.log",
            environment={"PYTHONPATH": str(CHECKOUT / "lab")},
        )

    def __enter__(self) -> Owner:
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.close()

    def keep(self) -> None:
        """The demo ended well: its servers stay up to be looked at."""
        (self.folder / KEPT).touch()


def clean_up(folder: Path) -> None:
    """What the watchdog does once the demo has ended: end its services, and its servers unless they are kept."""
    with (folder / "owner").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for record in sorted((folder / "processes").glob("*.json")):
            if left := living(record):
                left.end(SIGTERM, within_seconds=STOP_SECONDS)
        if not (folder / KEPT).exists():
            manage.down(folder)


def _unready(port: int) -> str:
    """Why a service is not ready; '' when it is."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return ""
    except urllib.error.HTTPError as answer:
        return answer.read().decode().strip()
    except OSError:
        return "it does not answer"
