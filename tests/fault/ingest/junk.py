"""A flood of requests that nobody signed, from a process of its own: prebuilt bytes over many connections.

    python -m tests.fault.ingest.junk capacity PORT SECONDS        one request at a time on each connection
    python -m tests.fault.ingest.junk flood PORT SECONDS RATE      at this rate, whatever becomes of them

Prints what it offered, what the door's kernel took and what was answered, by status, as one JSON object.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import orjson

from tests.fault.ingest.hostile import Post, allow_many_files

CONNECTIONS = 512
NEW_PER_SECOND = 600  # connections that ask once
TICK_SECONDS = 0.005
STATUSES = (200, 400, 404, 408, 413, 431, 503)


@dataclass
class Crowd:
    """Connections that ask, and the count of what they hear. Nothing here ever waits for the door."""

    port: int
    raw: bytes
    offered: int = 0
    taken: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    rest: dict[socket.socket, bytes] = field(default_factory=dict)  # of a request that was taken by half
    once: set[socket.socket] = field(default_factory=set)
    heard: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)

    def connect(self, once: bool = False) -> socket.socket:
        link = socket.socket()
        link.setblocking(False)
        link.connect_ex(("127.0.0.1", self.port))
        self.heard.register(link, selectors.EVENT_READ)
        self.rest[link] = b""
        if once:
            self.once.add(link)
        return link

    def ask(self, link: socket.socket, requests: int = 1) -> None:
        """Offer so many. What a full connection does not take is lost to the flood, as it would be for real."""
        self.offered += requests
        more = self.rest[link] + self.raw * (0 if self.rest[link] else requests)
        try:
            sent = link.send(more)
        except OSError:
            sent = 0
        whole, over = divmod(sent - len(self.rest[link]), len(self.raw))
        self.taken += max(0, whole + (over > 0))
        self.rest[link] = more[sent : sent + (-over % len(self.raw) if over else 0)]

    def hear(self, seconds: float) -> list[socket.socket]:
        """Count what has come; returns who heard something."""
        found = [key.fileobj for key, _ in self.heard.select(seconds)]
        links = [link for link in found if isinstance(link, socket.socket)]
        for link in links:
            self._read(link)
        return links

    def _read(self, link: socket.socket) -> None:
        try:
            came = link.recv(2**16)
        except OSError:
            came = b""
        for status in STATUSES:
            self.statuses[status] += came.count(b"HTTP/1.1 %d" % status)
        if not came or link in self.once:
            self._leave(link)

    def _leave(self, link: socket.socket) -> None:
        self.heard.unregister(link)
        del self.rest[link]
        self.once.discard(link)
        link.close()

    def report(self, seconds: float) -> str:
        told = {str(status): number for status, number in self.statuses.items() if number}
        return orjson.dumps(
            {"offered": self.offered, "taken": self.taken, "answered": told, "seconds": seconds}
        ).decode()


def capacity(port: int, seconds: float) -> str:
    """As many as the door answers when each connection waits for its answer."""
    crowd = crowd_at(port)
    started = time.perf_counter()
    for link in list(crowd.rest):
        crowd.ask(link)
    while (elapsed := time.perf_counter() - started) < seconds:
        for link in crowd.hear(0.1):
            crowd.ask(link)
    return crowd.report(elapsed)


def flood(port: int, seconds: float, rate: float) -> str:
    """The schedule decides when they are sent, not the answers."""
    crowd = crowd_at(port)
    lasting = list(crowd.rest)
    started, new = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        while new < elapsed * NEW_PER_SECOND:
            new += 1
            crowd.ask(crowd.connect(once=True))
        due = int(elapsed * rate) - crowd.offered
        for link in lasting if due > 0 else ():
            if link in crowd.rest:
                crowd.ask(link, -(-due // len(lasting)))
        crowd.hear(0)
        time.sleep(TICK_SECONDS)
    return crowd.report(elapsed)


def crowd_at(port: int) -> Crowd:
    allow_many_files()
    crowd = Crowd(port, Post(secret=b"whsec_of_a_stranger").raw())
    for _ in range(CONNECTIONS):
        crowd.connect()
    time.sleep(0.1)  # connected by then, or not asked at first
    return crowd


if __name__ == "__main__":
    what, port, seconds, *rate = sys.argv[1:]
    if what == "capacity":
        print(capacity(int(port), float(seconds)))  # noqa: T201
    else:
        print(flood(int(port), float(seconds), float(rate[0])))  # noqa: T201
