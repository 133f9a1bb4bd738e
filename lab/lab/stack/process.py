"""Servers as processes: started in a session of their own, recognised for certain, ended by pid.

A pid alone is a promise the kernel does not keep: after the process has ended, and surely after the
machine has restarted, the number belongs to somebody else. So a process is remembered together with
the moment it was born, and nothing is signalled unless both agree.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

from lab.stack import records


class Child(subprocess.Popen[bytes]):
    """A server that may outlive us: no complaint about that when we end."""

    def __del__(self) -> None:
        """Popen's own would warn."""


_CHILDREN: dict[int, Child] = {}  # by pid, for nobody else reaps them


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this machine, past or present."""

    pid: int
    born: str  # opaque; equal only for the same process

    @classmethod
    def of(cls, pid: int) -> Process | None:
        born = _born(pid)
        return cls(pid, born) if born else None

    def alive(self) -> bool:
        if child := _CHILDREN.get(self.pid):
            child.poll()  # reaps it, so that a child that ended does not look alive
        return _born(self.pid) == self.born

    def send(self, number: signal.Signals) -> None:
        if self.alive():
            with contextlib.suppress(ProcessLookupError):  # it ended between the look and the signal
                os.kill(self.pid, number)

    def end(self, number: signal.Signals, *, within_seconds: float) -> bool:
        """Signals the process, waits for its end, and kills it when it takes too long: False then."""
        self.send(number)
        if wait_until(lambda: not self.alive(), within_seconds):
            return True
        self.send(signal.SIGKILL)
        wait_until(lambda: not self.alive(), 10)
        return False

    def children(self) -> list[Process]:
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
        pairs = [line.split() for line in listing.stdout.splitlines()]
        found = (Process.of(int(pid)) for pid, parent in pairs if int(parent) == self.pid)
        return [child for child in found if child]


def launch(
    command: Sequence[object],
    *,
    log: Path,
    record: Path | None = None,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Starts a server that outlives its caller: own session, no descriptor of ours, output to its log.

    The session keeps Ctrl-C at the caller's terminal away from it; the closed descriptors keep a
    caller's pipe or lock from staying open for as long as the server lives.
    Writes: `record`, by which `living` knows the process again.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = Child(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
            close_fds=True,
            env=None if environment is None else {**os.environ, **environment},
            **as_user(user),
        )
    _CHILDREN[child.pid] = child
    process = Process(child.pid, _born(child.pid) or "ended at once")
    if record:
        records.store(record, asdict(process))
    return process


def remembered(record: Path) -> Process | None:
    """The process that was launched last with this record; it may have ended long ago."""
    found = records.load(record)
    return Process(**found) if found else None


def living(record: Path) -> Process | None:
    """The process that was launched last with this record, if it still runs."""
    process = remembered(record)
    return process if process and process.alive() else None


class Dropped(TypedDict, total=False):
    """subprocess's words for becoming somebody else."""

    user: str
    group: int
    extra_groups: list[int]


def as_user(user: str | None) -> Dropped:
    """The arguments that make subprocess drop to a user, and to that user's group alone."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def wait_until(done: Callable[[], bool], seconds: float, *, every_seconds: float = 0.02) -> bool:
    """Looks until it is so; False when the deadline passes first."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every_seconds)
    return True


def _born(pid: int) -> str | None:
    """When this pid was born, in words that no other process shares; None when it has ended."""
    return _born_by_proc(pid) if sys.platform == "linux" else _born_by_ps(pid)


def _born_by_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before ")" may hold blanks
    state, ticks_since_boot = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}+{ticks_since_boot}"  # a zombie has ended


def _born_by_ps(pid: int) -> str | None:
    asked = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True)
    state, _, started = asked.stdout.strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None
