"""Logs that carry ids only, and the trace that follows an event from the webhook to its effects.

A log line is one JSON object. Nothing that came in a body is ever logged: ids, types, counts and reasons are.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def new_trace() -> str:
    """A fresh W3C traceparent, made where something enters the system."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def entered(incoming: str) -> str:
    """The traceparent of something that enters the system: a step of the trace that it brings, or a fresh trace."""
    if not (match := TRACEPARENT.fullmatch(incoming)):
        return new_trace()
    return f"00-{match[1]}-{secrets.token_hex(8)}-{match[3]}"


def child_trace(traceparent: str, name: str) -> str:
    """The traceparent of a step that `traceparent` caused. The same step always gets the same span id."""
    if not (match := TRACEPARENT.fullmatch(traceparent)):
        return ""
    trace, span, flags = match.groups()
    step = hashlib.sha256(f"{span}{name}".encode()).hexdigest()[:16]
    return f"00-{trace}-{step}-{flags}"


def trace_id(traceparent: str) -> str:
    """The trace an event belongs to; '' when it carries none."""
    match = TRACEPARENT.fullmatch(traceparent)
    return match[1] if match else ""


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, what happened, and the ids given in `extra`."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "message": _message(record),
            **{name: value for name, value in vars(record).items() if name not in STANDARD},
        }
        if record.exc_info and record.exc_info[1]:
            line["error"] = describe(record.exc_info[1])
        return orjson.dumps(line, default=_plain).decode()


def _message(record: logging.LogRecord) -> str:
    """The message, with exceptions among its arguments described instead of quoted."""
    if not isinstance(record.args, tuple):
        return record.getMessage()
    safe = tuple(describe(a) if isinstance(a, BaseException) else a for a in record.args)
    return str(record.msg) % safe if safe else str(record.msg)


def _plain(value: object) -> str:
    """What JSON has no form for: exceptions by type and place, bytes by their number, the rest as text."""
    if isinstance(value, BaseException):
        return describe(value)
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)


def describe(problem: BaseException) -> str:
    """An exception by its type and places in the code; never its text, which may quote a body."""
    frames = traceback.extract_tb(problem.__traceback__)[-4:]
    places = " < ".join(f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno} {f.name}" for f in reversed(frames))
    return f"{type(problem).__name__} at {places}" if places else type(problem).__name__


def _place(record: logging.LogRecord) -> str:
    return f"{record.name}:{record.lineno}"


CHATTY = ("aiokafka", "confluent")  # Kafka's clients: in an outage, hundreds of lines a second


class Sparing(logging.Filter):
    """Lets so many lines of a kind through in a period; the next one says how many were kept back.

    A kind is a place in the code, or what `kind` makes of a record.
    """

    def __init__(
        self, seconds: float = 5.0, lines: int = 1, kind: Callable[[logging.LogRecord], str] = _place
    ) -> None:
        super().__init__()
        self.seconds, self.lines, self.kind = seconds, lines, kind
        self.seen: dict[str, tuple[float, int]] = {}  # since when, and how many since then

    def filter(self, record: logging.LogRecord) -> bool:
        what = self.kind(record)
        since, count = self.seen.get(what, (0.0, 0))
        if record.created - since < self.seconds:
            self.seen[what] = (since, count + 1)
            return count < self.lines
        self.seen[what] = (record.created, 1)
        record.held_back = max(0, count - self.lines)
        return True


def logs(service: str, level: str = "INFO") -> None:
    """Send every log of this process to standard error as JSON lines. Called once, in `__main__`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service))
    sparing = Sparing()
    handler.addFilter(lambda record: not record.name.startswith(CHATTY) or sparing.filter(record))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
