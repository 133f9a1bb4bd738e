"""Bring the two servers up, in the order: an address that was given, Docker, native; and down again.

A folder keeps the way it began with, and its ports and data, until it is wiped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.stack import docker, kafka, postgres, records, wire
from lab.stack.errors import StackError

Say = Callable[[str], None]

GIVEN = {"postgres": "MILLRACE_LAB_POSTGRES", "kafka": "MILLRACE_LAB_KAFKA"}
PIECES = tuple(GIVEN)


@dataclass(frozen=True, slots=True)
class Stack:
    """Where the servers are."""

    postgres: str  # the superuser's DSN, database "postgres"
    kafka: str  # bootstrap servers, separated by commas
    taken: Mapping[str, str]  # how each was come by, in words for a person
    brokers: int


class Piece(Protocol):
    """One of the two servers, however it runs.

    start() returns when the server serves, at once when it already does. Raises StackError.
    stop()  keeps the data; does nothing when nothing runs.
    wipe()  removes the data of a stopped server.
    """

    @property
    def address(self) -> str: ...
    @property
    def words(self) -> str: ...
    def running(self) -> bool: ...
    def start(self, say: Say) -> None: ...
    def stop(self) -> None: ...
    def wipe(self) -> None: ...
    def logs(self) -> list[Path]: ...


@dataclass(frozen=True, slots=True)
class Given:
    """A server that somebody else looks after: only looked at."""

    name: str
    address: str

    @property
    def words(self) -> str:
        return f"given: {GIVEN[self.name]}"

    def running(self) -> bool:
        return wire.listens(*wire.place(self.address))

    def start(self, say: Say) -> None:
        if not self.running():
            raise StackError(f"nothing answers at {self.address}, the address in {GIVEN[self.name]}")

    def stop(self) -> None:
        """Not ours."""

    def wipe(self) -> None:
        """Not ours."""

    def logs(self) -> list[Path]:
        raise StackError(f"the logs of {self.name} are where that server runs: {GIVEN[self.name]} names it")


def up(folder: Path, *, brokers: int = 1, say: Say = print, native: bool = False) -> Stack:
    """Starts what does not run and returns when both serve; a running stack is returned at once.

    `native` passes by the environment and Docker: for tests that kill and restart servers.
    Writes: the folder. Raises: MissingPiece, StackError.
    """
    if brokers not in (1, 3):
        raise StackError(f"a cluster has one broker or three, not {brokers}")
    folder = folder.absolute()
    with records.locked(folder / "lock"):
        found = {
            name: _find(folder, name, native) or _choose(folder, name, brokers, native, say)
            for name in PIECES
        }
        _refuse_to_grow(folder, found["kafka"], brokers)
        for name, piece in found.items():
            if not piece.running():
                say(f"{name}: {piece.words}, starting")
                piece.start(say)
    return _stack(found)


def down(folder: Path, *, wipe: bool = False) -> None:
    """Stops what `up` started in this folder; with `wipe`, removes data and logs as well."""
    folder = folder.absolute()
    if not folder.exists():
        return
    with records.locked(folder / "lock"):
        ours = [piece for name in reversed(PIECES) if (piece := _recorded(folder, name))]
        for piece in ours:
            piece.stop()
            if wipe:
                piece.wipe()
        if wipe:
            _empty(folder)


def status(folder: Path, *, native: bool = False) -> Stack | None:
    """The stack, when both of its servers answer."""
    found = pieces(folder, native=native)
    if len(found) == len(PIECES) and all(piece.running() for piece in found.values()):
        return _stack(found)
    return None


def pieces(folder: Path, *, native: bool = False) -> dict[str, Piece]:
    """The servers that are given or that this folder remembers, running or not."""
    found = {name: _find(folder.absolute(), name, native) for name in PIECES}
    return {name: piece for name, piece in found.items() if piece}


def _find(folder: Path, name: str, native: bool) -> Piece | None:
    address = "" if native else os.environ.get(GIVEN[name], "")
    return Given(name, address) if address else _recorded(folder, name)


def _recorded(folder: Path, name: str) -> Piece | None:
    record = records.load(folder / f"{name}.json")
    if record is None:
        return None
    if record["way"] == "docker":
        return docker.Service(folder, name, record["port"])
    return postgres.Server.at(folder) if name == "postgres" else kafka.Cluster.at(folder)


def _choose(folder: Path, name: str, brokers: int, native: bool, say: Say) -> Piece:
    """compose.yaml has one broker: three of them run natively, where a test can kill one."""
    if not native and not (name == "kafka" and brokers > 1) and docker.engine_answers():
        return docker.Service.new(folder, name)
    if name == "postgres":
        return postgres.Server.new(folder, say)
    return kafka.Cluster.new(folder, brokers, say)


def _refuse_to_grow(folder: Path, piece: Piece, brokers: int) -> None:
    if not isinstance(piece, Given) and _brokers(piece) < brokers:
        raise StackError(
            f"the stack in {folder} was made with {_brokers(piece)} broker; wipe it to have {brokers}"
        )


def _brokers(piece: Piece) -> int:
    return len(piece.address.split(","))


def _stack(found: Mapping[str, Piece]) -> Stack:
    words = {name: piece.words for name, piece in found.items()}
    return Stack(found["postgres"].address, found["kafka"].address, words, _brokers(found["kafka"]))


def _empty(folder: Path) -> None:
    """All but the locks: another process may be waiting for one, and a new file would be a second lock."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.suffix == ".json":
            entry.unlink()
