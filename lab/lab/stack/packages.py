"""Pieces that come from the system's package manager: installed by root on Debian, else named.

A machine is changed only where nothing else can be meant: root, with apt-get, asking for a stack.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.stack.errors import StackError

# Debian's package creates and starts a cluster of its own on port 5432 when it is installed.
# This file, there only during the installation, tells it not to.
CLUSTER_SETTING = Path("/etc/postgresql-common/createcluster.d/millrace-lab.conf")
_TURNS = Path(tempfile.gettempdir()) / "millrace-lab-apt.lock"  # of several processes that install at once


@dataclass(frozen=True, slots=True)
class Package:
    """What a missing program is called, by people and by three package managers."""

    name: str
    apt: str
    dnf: str
    brew: str


JAVA = Package("Java 17 or newer", "default-jre-headless", "java-21-openjdk-headless", "openjdk")
JDK = Package("A Java compiler", "default-jdk-headless", "java-21-openjdk-devel", "openjdk")
MAVEN = Package("Maven", "maven", "maven", "maven")
COMPILER = Package("A C compiler", "gcc", "gcc", "gcc")
SPIN = Package("The model checker Spin", "spin", "spin", "spin")
POSTGRES = Package("PostgreSQL 15 or newer", "postgresql", "postgresql-server", "postgresql@17")


def sentence(package: Package) -> str:
    return (
        f"{package.name} is missing; install it with "
        f"`apt-get install {package.apt}`, `dnf install {package.dnf}` or `brew install {package.brew}`"
    )


def installable() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(package: Package, say: Callable[[str], None]) -> None:
    """Installs by apt-get when we are root and it is there; otherwise does nothing.

    Writes: the machine's packages. Raises: StackError when apt-get fails.
    """
    if not installable():
        return
    say(f"{package.name} is missing: installing the Debian package {package.apt} (may take a few minutes)")
    _update_once()
    with _no_cluster_of_its_own():
        _apt("install", "--yes", "--no-install-recommends", package.apt)


@functools.cache
def _update_once() -> None:
    _apt("update")


def _apt(*words: str) -> None:
    with _TURNS.open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # apt-get itself refuses instead of waiting
        done = subprocess.run(
            ["apt-get", "-q", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    if done.returncode:
        tail = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise StackError(f"`apt-get {' '.join(words)}` failed: {tail}")


@contextlib.contextmanager
def _no_cluster_of_its_own() -> Iterator[None]:
    CLUSTER_SETTING.parent.mkdir(parents=True, exist_ok=True)
    CLUSTER_SETTING.write_text("create_main_cluster = false\n")
    try:
        yield
    finally:
        CLUSTER_SETTING.unlink(missing_ok=True)
