"""Apache Kafka without Docker: one JVM for each broker, KRaft, every broker also a controller.

The bootstrap address and the ports stay the same for the life of the folder, so a broker that was
killed comes back where its clients look for it.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM

from lab.stack import programs, records, wire
from lab.stack.errors import StackError
from lab.stack.jars import Jars, jars
from lab.stack.process import Process, launch, living, wait_until
from lab.stack.wire import LOOPBACK

CLUSTER_ID = "MillraceLab00000000000"  # 22 characters of base64 are 16 bytes
READY_SECONDS = 90  # three brokers on a busy machine; one on a quiet one takes 3
STOP_SECONDS = 30

# A small heap, a collector without threads of its own and the quick compiler: a lab broker starts
# often and never gets warm enough for the slow one.
JVM = (
    "-Xms256m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
)

# To standard output, and so into the same file as whatever the JVM itself has to say when it dies.
LOG4J = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %c{1} %m%n
rootLogger.level=INFO
rootLogger.appenderRef.out.ref=out
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where one broker serves clients, and where its controller speaks with the others."""

    clients: int
    controller: int
    advertised: int = 0  # where clients are told to go; 0: to `clients`. A test may stand a proxy there


def properties(node: int, every: list[Ports], data: Path) -> dict[str, object]:
    """The settings of broker number `node` (from 1) of the cluster that `every` describes."""
    ports, alone = every[node - 1], len(every) == 1
    copies, enough = (1, 1) if alone else (3, 2)
    return {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": ",".join(
            f"{i}@{LOOPBACK}:{each.controller}" for i, each in enumerate(every, start=1)
        ),
        "listeners": f"PLAINTEXT://{LOOPBACK}:{ports.clients},CONTROLLER://{LOOPBACK}:{ports.controller}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{ports.advertised or ports.clients}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        # A misspelt topic is an error, not a new topic.
        "auto.create.topics.enable": "false",
        "num.partitions": 1,
        "default.replication.factor": copies,
        "min.insync.replicas": enough,
        "offsets.topic.num.partitions": 3,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": 3,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": enough,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": enough,
        "group.initial.rebalance.delay.ms": 0,
        # A broker that was killed may return only when its old registration has lapsed: 9 s by default.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "replica.lag.time.max.ms": 3000,
        # Half of the heap by default: the collector then stops everybody for 100 ms every two seconds.
        "log.cleaner.dedupe.buffer.size": 8 << 20,
    }


@dataclass(slots=True)
class Broker:
    """One broker: a JVM, its folder and its log. Can be killed and started again at will."""

    node: int
    home: Path
    log: Path
    ports: Ports

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.ports.clients}"

    @property
    def pid(self) -> int:
        """Raises: StackError when the broker does not run."""
        process = self.process()
        if process is None:
            raise StackError(f"broker {self.node} does not run; see {self.log}")
        return process.pid

    def running(self) -> bool:
        return self.process() is not None

    def answers(self, brokers: int) -> bool:
        return self.running() and wire.kafka_answers(LOOPBACK, self.ports.clients, brokers)

    def start(self, *, wait: bool = True) -> None:
        """Starts the JVM on the data that is there; waits until this broker serves clients again.

        Without `wait` it returns at once: a cluster without a majority does not serve anybody.
        Raises: StackError when the broker ends instead, naming its log.
        """
        if not self.running():
            command = self._command("kafka.Kafka", self.home / "server.properties")
            launch(command, log=self.log, record=self.home / "process.json")
        if wait:
            self.wait(brokers=1)

    def wait(self, *, brokers: int) -> None:
        """Until it serves, and knows of so many brokers. Raises: StackError, naming its log."""
        came = wait_until(lambda: not self.running() or self.answers(brokers), READY_SECONDS)
        if not self.running():
            raise StackError(f"Kafka broker {self.node} ended instead of starting; see {self.log}")
        if not came:
            raise StackError(
                f"Kafka broker {self.node} was not ready within {READY_SECONDS} s; see {self.log}"
            )

    def stop(self) -> None:
        """A clean stop: leadership handed over, logs closed."""
        process = self.process()
        if process is None or process.end(SIGTERM, within_seconds=STOP_SECONDS):
            self._keep_class_archive()

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        if process := self.process():
            process.end(SIGKILL, within_seconds=10)
        self._fresh_archive.unlink(missing_ok=True)  # it may be half written

    def format(self, every: list[Ports]) -> None:
        """Writes the settings, and on a new data folder the identity that Kafka asks for."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "log4j2.properties").write_text(LOG4J)
        settings = properties(self.node, every, self.home / "data")
        (self.home / "server.properties").write_text(
            "".join(f"{key}={value}\n" for key, value in settings.items())
        )
        mark = self.home / "formatted"  # written last: a format may be interrupted
        if mark.exists():
            return
        shutil.rmtree(self.home / "data", ignore_errors=True)
        words = ("format", f"-t={CLUSTER_ID}", f"-c={self.home}/server.properties")
        done = subprocess.run(
            self._command("kafka.tools.StorageTool", *words), capture_output=True, text=True
        )
        if done.returncode:
            raise StackError(f"Kafka could not prepare {self.home}/data: {done.stderr.strip()[-300:]}")
        mark.touch()

    def process(self) -> Process | None:
        return living(self.home / "process.json")

    def _command(self, main: str, *words: object) -> list[str]:
        java, kafka = _runtime()
        logging = f"-Dlog4j2.configurationFile={self.home}/log4j2.properties"
        archive = self._class_archive(kafka) if main == "kafka.Kafka" else []
        path = ["-cp", f"{kafka.folder}/*"]
        return [str(java), *JVM, *archive, logging, *path, main, *map(str, words)]

    def _class_archive(self, kafka: Jars) -> list[str]:
        """The first clean stop of a first broker writes the archive; every later start is a third cheaper."""
        if kafka.classes.exists():
            return [f"-XX:SharedArchiveFile={kafka.classes}"]
        writes = self.node == 1 and os.access(kafka.folder, os.W_OK)  # the cache may be somebody else's
        return [f"-XX:ArchiveClassesAtExit={self._fresh_archive}"] if writes else []

    def _keep_class_archive(self) -> None:
        if self._fresh_archive.exists():
            shutil.move(self._fresh_archive, _runtime()[1].classes)

    @property
    def _fresh_archive(self) -> Path:
        return self.home / "kafka.jsa"


@dataclass(slots=True)
class Cluster:
    """The brokers of one stack's folder."""

    folder: Path
    brokers: list[Broker]
    version: str

    @classmethod
    def at(cls, folder: Path) -> Cluster:
        """The cluster of a stack, to stop, kill and start its brokers.

        Raises: StackError when the folder has none that runs natively.
        """
        record = records.load(folder / "kafka.json")
        if record is None or record["way"] != "native":
            raise StackError(
                f"no native Kafka belongs to {folder}: its brokers are not ours to stop and start"
            )
        return cls._with(folder, [Ports(**ports) for ports in record["ports"]], record["version"])

    @classmethod
    def new(cls, folder: Path, brokers: int, say: programs.Say) -> Cluster:
        """A cluster that was never started. Raises: MissingPiece, StackError."""
        programs.java(say)
        return cls._with(folder, _free_ports(brokers), jars(say).version)

    @classmethod
    def _with(cls, folder: Path, ports: list[Ports], version: str) -> Cluster:
        brokers = [
            Broker(node, folder / f"kafka-{node}", folder / "logs" / f"kafka-{node}.log", each)
            for node, each in enumerate(ports, start=1)
        ]
        return cls(folder, brokers, version)

    @property
    def address(self) -> str:
        return ",".join(broker.address for broker in self.brokers)

    @property
    def words(self) -> str:
        return f"native: Apache Kafka {self.version}"

    def logs(self) -> list[Path]:
        return [broker.log for broker in self.brokers]

    def running(self) -> bool:
        """Every broker lives and serves, and knows of all the others."""
        return all(broker.answers(len(self.brokers)) for broker in self.brokers)

    def start(self, say: programs.Say) -> None:
        """Starts what does not run, and returns when the whole cluster serves.

        Writes: kafka.json, before the first process. Raises: MissingPiece, StackError.
        """
        programs.java(say)
        self.version = jars(say).version
        self._move_from_taken_ports()
        ports = [broker.ports for broker in self.brokers]
        record = {"way": "native", "version": self.version, "ports": [asdict(each) for each in ports]}
        records.store(self.folder / "kafka.json", record)
        for broker in self.brokers:
            if not broker.running():
                broker.format(ports)
                broker.start(wait=False)
        for broker in self.brokers:
            broker.wait(brokers=len(self.brokers))

    def stop(self) -> None:
        """All at once: one after another, the last ones would wait for a controller that is gone."""
        for broker in self.brokers:
            if process := broker.process():
                process.send(SIGTERM)
        for broker in self.brokers:
            broker.stop()

    def wipe(self) -> None:
        for broker in self.brokers:
            shutil.rmtree(broker.home, ignore_errors=True)

    def _move_from_taken_ports(self) -> None:
        """Somebody else took a port while the whole cluster was down: choose again, keep the data."""
        if any(broker.running() for broker in self.brokers):
            return
        ours = [port for each in self.brokers for port in (each.ports.clients, each.ports.controller)]
        if all(wire.is_free(port) for port in ours):
            return
        for broker, ports in zip(self.brokers, _free_ports(len(self.brokers)), strict=True):
            broker.ports = ports


def _free_ports(brokers: int) -> list[Ports]:
    free = wire.free_ports(2 * brokers)
    return [Ports(*pair) for pair in zip(free[::2], free[1::2], strict=True)]


@functools.cache
def _runtime() -> tuple[Path, Jars]:
    """What `Cluster.start` made sure of aloud, looked up again without a word."""
    return programs.java(_silent), jars(_silent)


def _silent(line: str) -> None:
    del line
