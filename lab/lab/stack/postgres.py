"""PostgreSQL without Docker: a data folder, a port on the loopback, and never as root.

The server refuses to run as root, so root gives it to a user of its own; that user must be able to
reach the data, which it cannot when the checkout lies below a closed folder such as root's home.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.stack import programs, records, users, wire
from lab.stack.errors import StackError
from lab.stack.process import Process, as_user, launch, living, remembered, wait_until
from lab.stack.wire import LOOPBACK

READY_SECONDS = 60  # after a crash it replays its log first
STOP_SECONDS = 30

# fsync stays on: a lab that loses commits would prove nothing about I1.
SETTINGS: Mapping[str, object] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a path of a deep checkout is too long for a socket
    "max_connections": 200,
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "cluster_name": "millrace-lab",
    "log_line_prefix": "%m [%p] %u@%d ",
}


@dataclass(slots=True)
class Server:
    """The PostgreSQL of one stack's folder. Can be killed and started again at will."""

    folder: Path
    home: Path  # holds data/, and the wheel's programs where their user cannot reach the wheel
    port: int
    user: str | None  # whom root gives the server to; None when we are not root
    version: str
    origin: str

    @classmethod
    def at(cls, folder: Path) -> Server:
        """The server of a stack, to stop, kill and start.

        Raises: StackError when the folder has none that runs natively.
        """
        record = records.load(folder / "postgres.json")
        if record is None or record.pop("way") != "native":
            raise StackError(
                f"no native PostgreSQL belongs to {folder}: the server is not ours to stop and start"
            )
        return cls(folder, Path(record.pop("home")), **record)

    @classmethod
    def new(cls, folder: Path, say: programs.Say) -> Server:
        """A server that was never started: its port, user and home. Raises: MissingPiece, StackError."""
        chosen = programs.postgres(say)
        user = users.server_user(say) if os.geteuid() == 0 else None
        home = folder / "postgres"
        folder.mkdir(parents=True, exist_ok=True)
        if user and not users.reaches(user, folder):
            home = outside(folder)
            say(f"PostgreSQL: its data goes to {home}, because the user {user} cannot reach {folder}")
        [port] = wire.free_ports(1)
        return cls(folder, home, port, user, chosen.version, chosen.origin)

    @property
    def address(self) -> str:
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/postgres"

    @property
    def words(self) -> str:
        return f"native: PostgreSQL {self.version} {self.origin}"

    @property
    def log(self) -> Path:
        return self.folder / "logs" / "postgres.log"

    def logs(self) -> list[Path]:
        return [self.log]

    @property
    def _process_record(self) -> Path:
        """Not in the home: that folder is the server's user's."""
        return self.folder / "postgres-process.json"

    @property
    def pid(self) -> int:
        """Raises: StackError when the server does not run."""
        process = self.process()
        if process is None:
            raise StackError(f"PostgreSQL does not run; see {self.log}")
        return process.pid

    def running(self) -> bool:
        return self.process() is not None and wire.postgres_answers(LOOPBACK, self.port)

    def start(self, say: programs.Say = print) -> None:
        """Starts it on the data that is there, and returns when it takes connections.

        Writes: postgres.json before the process. Raises: MissingPiece, StackError naming the log.
        """
        if self.process() is None:
            chosen = self._programs(say)
            self._remember(chosen)
            self._prepare(chosen)
            self._move_from_taken_port(chosen)
            self._launch(chosen)
        self._wait()

    def stop(self) -> None:
        """A fast, clean stop: sessions end, everything is on disk."""
        if process := self.process():
            process.end(signal.SIGINT, within_seconds=STOP_SECONDS)

    def kill(self) -> None:
        """SIGKILL to the server and to every session's process; returns when all are gone.

        The postmaster first, or it would see a session crash and begin its own recovery.
        """
        if process := self.process():
            sessions = process.children()
            process.end(signal.SIGKILL, within_seconds=10)
            for session in sessions:
                session.end(signal.SIGKILL, within_seconds=10)

    def wipe(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

    def process(self) -> Process | None:
        return living(self._process_record)

    def _programs(self, say: programs.Say) -> programs.Postgres:
        """The newest, unless data was written already: then that major version, and no other."""
        written = self.home / "data" / "PG_VERSION"
        if not written.exists():
            return programs.postgres(say)
        major = int(written.read_text())
        fitting = [each for each in programs.every_postgres() if each.major == major]
        if not fitting:
            raise StackError(
                f"{self.home} was written by PostgreSQL {major}, which is gone; wipe the stack to start anew"
            )
        return fitting[0]

    def _remember(self, chosen: programs.Postgres) -> None:
        self.version, self.origin = chosen.version, chosen.origin
        record = {"way": "native", "home": str(self.home), "port": self.port, "user": self.user}
        records.store(
            self.folder / "postgres.json", {**record, "version": self.version, "origin": self.origin}
        )

    def _prepare(self, chosen: programs.Postgres) -> None:
        users.own_folder(self.home, self.user)
        if (self.home / "data").exists():
            return
        begun = self.home / "data.begun"  # renamed when it is whole: an initdb may be interrupted
        shutil.rmtree(begun, ignore_errors=True)
        words = [
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            f"--pgdata={begun}",
        ]
        done = subprocess.run(
            [self._reachable(chosen.folder) / "initdb", *words],
            capture_output=True,
            text=True,
            cwd="/",
            **as_user(self.user),
        )
        if done.returncode:
            raise StackError(f"PostgreSQL could not prepare {self.home}/data: {done.stderr.strip()[-300:]}")
        begun.rename(self.home / "data")

    def _reachable(self, folder: Path) -> Path:
        """The programs, copied beside the data when the server's user cannot run them where they are."""
        if self.user is None or users.reaches(self.user, folder):
            return folder
        copy = self.home / "programs" / self.version
        if not copy.exists():
            _copy_wheel(folder, copy)
        return copy / folder.parent.name / "bin"

    def _move_from_taken_port(self, chosen: programs.Postgres) -> None:
        if not wire.is_free(self.port):
            [self.port] = wire.free_ports(1)
            self._remember(chosen)

    def _launch(self, chosen: programs.Postgres) -> None:
        self._drop_stale_lock()
        settings = [f"--{key}={value}" for key, value in {**SETTINGS, "port": self.port}.items()]
        server = self._reachable(chosen.folder) / "postgres"
        command = [server, f"-D{self.home}/data", *settings]
        launch(command, log=self.log, record=self._process_record, user=self.user)

    def _drop_stale_lock(self) -> None:
        """After a restart of the machine the pid in postmaster.pid may be another program's.

        PostgreSQL would then refuse to start. Only in this case, proven by the moment of birth, is
        the file removed: otherwise it guards against sessions that survived a kill.
        """
        lock, last = self.home / "data" / "postmaster.pid", remembered(self._process_record)
        if last and lock.exists() and lock.read_text().split("\n")[0] == str(last.pid):
            stranger = Process.of(last.pid)
            if stranger and stranger != last:
                lock.unlink()

    def _wait(self) -> None:
        came = wait_until(lambda: self.process() is None or self.running(), READY_SECONDS)
        if self.process() is None:
            raise StackError(f"PostgreSQL ended instead of starting; see {self.log}")
        if not came:
            raise StackError(f"PostgreSQL took no connection within {READY_SECONDS} s; see {self.log}")


def outside(folder: Path) -> Path:
    """A home that every user can reach, one for each stack's folder."""
    return Path("/var/tmp") / f"millrace-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"  # noqa: S108


def _copy_wheel(folder: Path, copy: Path) -> None:
    """First the libraries, which the programs look for beside the wheel's package, then the programs whole."""
    package, begun = folder.parent.parent, copy.with_suffix(".begun")
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy.parent / libraries.name, symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(begun, ignore_errors=True)
    shutil.copytree(folder.parent, begun / folder.parent.name, symlinks=True)
    begun.rename(copy)
