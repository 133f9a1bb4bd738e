"""A mail provider on this machine: one mail an idempotency key, and a word of its own for each address."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Provider:
    """`answers` gives the codes for the next calls; without one, a mail is taken with 200."""

    url: str = ""
    calls: list[str] = field(default_factory=list)  # the keys, of every call
    mails: dict[str, dict[str, str]] = field(default_factory=dict)  # key → what went out
    answers: list[int] = field(default_factory=list)
    taken: Callable[[], None] = lambda: None  # runs after a mail went out, before the answer

    def call(self, key: str, mail: dict[str, str]) -> int:
        self.calls.append(key)
        if self.answers and (code := self.answers.pop(0)) != 200:
            return code
        if key not in self.mails:
            self.mails[key] = mail
            self.taken()
        return 200


@contextmanager
def serving() -> Iterator[Provider]:
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            code = provider.call(self.headers["idempotency-key"], json.loads(body))
            self.send_response(code)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Its caller was killed: that is the test."""

    server = Server(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_port}/v1/mails"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
