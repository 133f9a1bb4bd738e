"""Kafka's own jars, copied once by Maven from lab/kafka/pom.xml into the checkout's cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.stack import programs, records
from lab.stack.errors import StackError

CHECKOUT = Path(__file__).resolve().parents[3]
CACHE = CHECKOUT / ".millrace" / "cache"
POM = CHECKOUT / "lab" / "kafka" / "pom.xml"


@dataclass(frozen=True, slots=True)
class Jars:
    """One version of Kafka, ready to be run by java."""

    folder: Path
    version: str

    @property
    def classes(self) -> Path:
        """The class-data archive: java maps it instead of loading and checking 8,000 classes anew."""
        return self.folder / "kafka.jsa"


def jars(say: Callable[[str], None], *, cache: Path = CACHE, pom: Path = POM) -> Jars:
    """The jars of the version that LAB_KAFKA_VERSION or else the pom names, fetched when they are not in the cache.

    Writes: the cache folder and Maven's own. Raises: MissingPiece, StackError.
    """
    version = os.environ.get("LAB_KAFKA_VERSION") or _version(pom)
    found = Jars(cache / f"kafka-{version}", version)
    if not _complete(found, pom):
        with records.locked(cache / "lock"):  # two stacks of one checkout fetch once
            if not _complete(found, pom):
                _fetch(found, pom, say)
    return found


def _version(pom: Path) -> str:
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", pom.read_text())
    if not found:
        raise StackError(f"{pom} names no kafka.version")
    return found[1]


def _complete(jars: Jars, pom: Path) -> bool:
    """The mark is written last, so a fetch that was interrupted is not taken for a complete one."""
    mark = jars.folder / "pom.sha256"
    return mark.exists() and mark.read_text() == _digest(pom)


def _digest(pom: Path) -> str:
    return hashlib.sha256(pom.read_bytes()).hexdigest()


def _fetch(jars: Jars, pom: Path, say: Callable[[str], None]) -> None:
    maven = programs.maven(say)
    say(f"Kafka {jars.version}: fetching its jars with Maven (55 MB, once; a minute or a few)")
    shutil.rmtree(jars.folder, ignore_errors=True)
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={jars.folder}"]
    done = subprocess.run(
        [maven, "--quiet", "--batch-mode", f"--file={pom}", f"-Dkafka.version={jars.version}", *goal],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise StackError(f"Maven could not fetch Kafka {jars.version}: {_reason(done.stdout + done.stderr)}")
    (jars.folder / "pom.sha256").write_text(_digest(pom))


def _reason(output: str) -> str:
    """Maven's first error line says what failed; the others are advice on how to run it again."""
    errors = [
        line.removeprefix("[ERROR]").strip() for line in output.splitlines() if line.startswith("[ERROR]")
    ]
    return errors[0] if errors else output.strip()[-500:]
