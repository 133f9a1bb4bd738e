"""Servers that live no longer than the process that wanted them, whatever ends it.

Owners hold a shared lock on one file of the folder. For each owner a watchdog, a process in a session
of its own, waits to hold that lock alone: it gets it when the last owner has ended, by any signal or a
crash, because the kernel lets go of a dead process's locks. Then it stops the servers.

So no pid is compared, several owners share one stack, and the last one out stops it.
"""

from __future__ import annotations

import contextlib
import fcntl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGTERM
from typing import IO

from lab.stack import manage
from lab.stack.jars import CHECKOUT
from lab.stack.manage import Stack
from lab.stack.process import Process, launch

LOCK = "owners"


@contextlib.contextmanager
def owned(
    folder: Path,
    *,
    brokers: int = 1,
    say: Callable[[str], None] = print,
    native: bool = False,
    fresh: bool = False,
) -> Iterator[Stack]:
    """The stack of this folder, stopped when the last process that holds it ends.

    One that `up` started before is used and left running. `fresh` wipes what an earlier run left,
    unless somebody uses it now.
    Writes: the folder. Raises: MissingPiece, StackError.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if not fresh and manage.status(folder, native=native) and not _has_owner(folder):
        yield manage.up(folder, brokers=brokers, say=say, native=native)
        return
    with (folder / LOCK).open("a") as lock:
        if fresh and _alone(lock):
            manage.down(folder, wipe=True)
        fcntl.flock(lock, fcntl.LOCK_SH)
        watchdog = _watchdog(folder)
        try:
            yield manage.up(folder, brokers=brokers, say=say, native=native)
        finally:
            _leave(folder, lock, watchdog)


def wait_for_owners(folder: Path) -> None:
    """What a watchdog does: waits until it is alone, and stops the servers."""
    with (folder / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        manage.down(folder)


def _watchdog(folder: Path) -> Process:
    """Started before the first server, so that no moment is left in which a crash orphans one."""
    return launch(
        [sys.executable, "-m", "lab.stack.watchdog", folder],
        log=folder / "logs" / "watchdog.log",
        environment={"PYTHONPATH": str(CHECKOUT / "lab")},
    )


def _leave(folder: Path, lock: IO[str], watchdog: Process) -> None:
    """The last owner stops the servers itself, to be done when it returns.

    Otherwise our watchdog stays until it is alone: two owners that leave in the same moment see each
    other, and neither would stop anything. When a watchdog was quicker, this waits for it.
    """
    if _alone(lock):
        manage.down(folder)
        watchdog.end(SIGTERM, within_seconds=5)
    else:
        fcntl.flock(lock, fcntl.LOCK_SH)


def _has_owner(folder: Path) -> bool:
    with (folder / LOCK).open("a") as lock:
        return not _alone(lock)


def _alone(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
