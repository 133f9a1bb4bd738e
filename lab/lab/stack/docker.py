"""The two servers in Docker: `compose.yaml` at the root, run as a project of its own for each folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.stack import records, wire
from lab.stack.errors import StackError
from lab.stack.jars import CHECKOUT
from lab.stack.process import wait_until

COMPOSE = CHECKOUT / "compose.yaml"
ENGINE_SECONDS = 2
READY_SECONDS = 120

# The images of compose.yaml, as they are told to a person.
IMAGES = {"postgres": "postgres:17", "kafka": "apache/kafka:4.3.1"}


def engine_answers() -> bool:
    """A client without an engine is common; one that hangs is treated like none, as is one without Compose."""
    return shutil.which("docker") is not None and _succeeds("info") and _succeeds("compose", "version")


def _succeeds(*words: str) -> bool:
    try:
        asked = subprocess.run(["docker", *words], capture_output=True, timeout=ENGINE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


@dataclass(slots=True)
class Service:
    """One service of compose.yaml, on a port of the loopback chosen by us."""

    folder: Path
    name: str  # "postgres" | "kafka"
    port: int

    @classmethod
    def new(cls, folder: Path, name: str) -> Service:
        [port] = wire.free_ports(1)
        return cls(folder, name, port)

    @property
    def address(self) -> str:
        place = f"{wire.LOOPBACK}:{self.port}"
        return f"postgresql://postgres@{place}/postgres" if self.name == "postgres" else place

    @property
    def words(self) -> str:
        return f"Docker: {IMAGES[self.name]}"

    def running(self) -> bool:
        answers: Callable[[str, int], bool] = (
            wire.postgres_answers if self.name == "postgres" else wire.kafka_answers
        )
        return answers(wire.LOOPBACK, self.port)

    def start(self, say: Callable[[str], None]) -> None:
        """Raises: StackError with Compose's last words."""
        records.store(self.folder / f"{self.name}.json", {"way": "docker", "port": self.port})
        say(f"{self.name}: starting {IMAGES[self.name]} in Docker (its image is fetched the first time)")
        self._compose("up", "--detach", "--wait", self.name)
        if not wait_until(self.running, READY_SECONDS):
            raise StackError(f"{self.name} in Docker did not answer within {READY_SECONDS} s")

    def stop(self) -> None:
        self._compose("stop", self.name)

    def wipe(self) -> None:
        self._compose("rm", "--stop", "--force", self.name)
        # Compose would remove volumes without a name only.
        self._docker("volume", "rm", "--force", f"{self._project}_{self.name}")

    def logs(self) -> list[Path]:
        """Docker keeps them; written to a file here so that there is one way to read logs."""
        path = self.folder / "logs" / f"{self.name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._compose("logs", "--no-color", "--no-log-prefix", self.name))
        return [path]

    @property
    def _project(self) -> str:
        return f"millrace-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]}"

    def _compose(self, *words: str) -> str:
        return self._docker("compose", f"--project-name={self._project}", f"--file={COMPOSE}", *words)

    def _docker(self, *words: str) -> str:
        done = subprocess.run(
            ["docker", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, f"MILLRACE_{self.name.upper()}_PORT": str(self.port)},
        )
        if done.returncode:
            raise StackError(f"`docker {' '.join(words)}` failed: {done.stderr.strip()[-300:]}")
        return done.stdout
