"""Is it there, and does it answer? A few bytes of each server's own protocol over a plain socket.

Clients would answer the same question after 100 ms of imports; `up` on a running stack must be instant.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, urlsplit

LOOPBACK = "127.0.0.1"

# Below every system's range for outgoing connections: a client that keeps dialling a stopped server
# on a port of that range can end up connected to itself, and the server never gets its port back.
PORTS = range(20000, 30000)

METADATA, FIND_COORDINATOR = 3, 10
GROUP, TRANSACTION = b"\x00", b"\x01"


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, drawn at random so that two stacks starting together differ."""
    return _take(count, random.sample(PORTS, len(PORTS)))


def _take(count: int, candidates: Iterable[int]) -> list[int]:
    free: Iterator[int] = (port for port in candidates if is_free(port))
    return [next(free) for _ in range(count)]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def listens(host: str, port: int, timeout_seconds: float = 2) -> bool:
    try:
        socket.create_connection((host, port), timeout_seconds).close()
    except OSError:
        return False
    return True


def postgres_answers(host: str, port: int, timeout_seconds: float = 2) -> bool:
    """PostgreSQL asks for authentication ("R"); while it starts or recovers it answers with an error."""
    words = b"user\0postgres\0database\0postgres\0\0"
    message = struct.pack(">ii", 8 + len(words), 196608) + words
    try:
        with socket.create_connection((host, port), timeout_seconds) as line:
            line.sendall(message)
            answer = line.recv(4096)
            line.sendall(b"X\0\0\0\4")  # a farewell, or the server's log would fill with lost connections
            return answer.startswith(b"R")
    except OSError:
        return False


def kafka_answers(host: str, port: int, brokers: int = 1, timeout_seconds: float = 2) -> bool:
    """The metadata lists every broker, and both coordinators are found: producers and groups may come."""
    try:
        if brokers_listed(host, port, timeout_seconds) < brokers:
            return False
        return all(_coordinator(host, port, kind, timeout_seconds) == 0 for kind in (TRANSACTION, GROUP))
    except (OSError, struct.error):
        return False


def brokers_listed(host: str, port: int, timeout_seconds: float = 2) -> int:
    """Raises: OSError, struct.error when the broker does not answer."""
    return _int(">i", _ask(host, port, METADATA, struct.pack(">i", 0), timeout_seconds))


def _coordinator(host: str, port: int, kind: bytes, timeout_seconds: float) -> int:
    """The error code of FindCoordinator; asking also makes the broker create its internal topics."""
    return _int(
        ">h", _ask(host, port, FIND_COORDINATOR, struct.pack(">h", 5) + b"ready" + kind, timeout_seconds), 4
    )


def _int(shape: str, answer: bytes, offset: int = 0) -> int:
    return int(struct.unpack_from(shape, answer, offset)[0])


def _ask(host: str, port: int, api: int, body: bytes, timeout_seconds: float) -> bytes:
    """One request of version 1, from before Kafka's flexible encoding: plain fields, nothing tagged."""
    request = struct.pack(">hhih", api, 1, 1, 3) + b"lab" + body
    with socket.create_connection((host, port), timeout_seconds) as line, line.makefile("rb") as answers:
        line.sendall(struct.pack(">i", len(request)) + request)
        size = _int(">i", answers.read(4))
        return answers.read(size)[4:]  # without the correlation id


def place(address: str) -> tuple[str, int]:
    """Host and port of the first server of a bootstrap list or of a DSN. Raises: ValueError."""
    dsn = "://" in address
    parts = urlsplit(address if dsn else f"//{address.split(',')[0]}")
    return unquote(parts.hostname or LOOPBACK), parts.port or (5432 if dsn else 9092)
