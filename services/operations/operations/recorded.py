"""Events that somebody kept in a file: one JSON a line, an array, Stripe's list export; as .gz as well.

    lines       a line is an event, or a list of some; a bad line is handed on like the others, and the next follows
    documents   arrays, lists and events over several lines, one behind the other; a mistake ends the file

The file is never held whole, and an event's bytes are handed on exactly as they stand.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from millrace.errors import Misconfigured

PIECE_BYTES = 2**18  # read at once; a few dozen events
EVENT_LETTERS_MAX = 2**24  # beyond it somebody forgot a bracket; an event is a thousandth of that
SCALAR = r'(?:"(?:[^"\\]|\\.)*"|true|false|null|-?[0-9][0-9.eE+-]*)'
LIST = re.compile(rf'\{{\s*(?:"\w+"\s*:\s*{SCALAR}\s*,\s*)*"data"\s*:\s*\[')  # up to its first element
REST = re.compile(rf'(?:\s*,\s*"\w+"\s*:\s*{SCALAR})*\s*\}}')  # from its last element
REST_LETTERS = 4096  # has_more and url, with a cursor
BLANK = re.compile(r"[ \t\r\n]*")
DECODER = json.JSONDecoder()

Read = Callable[[int], bytes]


class Readable(Protocol):
    """What an open file can do, packed or not."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self, size: int, /) -> bytes: ...
    def peek(self, size: int, /) -> bytes: ...


class Found(NamedTuple):
    """An event as it stands in a file, unread."""

    place: str  # file:line, or file: event n
    raw: bytes
    listed: bool  # in an array or a list, of which Stripe's are newest first


def events(path: Path, moved: Callable[[int], object] = lambda _: None) -> Iterator[Found]:
    """The events in a file; `moved` hears how many of its bytes have been read. Raises Misconfigured."""
    try:
        with path.open("rb", PIECE_BYTES) as file:
            plain: Readable = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file  # type: ignore[assignment]
            for found in events_in(plain, str(path)):
                yield found
                moved(file.tell())
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise Misconfigured(f"{path}: cannot be unpacked; is it whole?") from None
    except OSError as problem:
        raise Misconfigured(f"{path}: {problem.strerror}") from None


def events_in(file: Readable, name: str) -> Iterator[Found]:
    """The events in an open file. Raises Misconfigured, with the line, where a document cannot be read on."""
    head = file.peek(PIECE_BYTES).lstrip()
    return _lines(file, name) if _is_lines(head) else _documents(file.read, name)


def _is_lines(head: bytes) -> bool:
    """Whether each line stands for itself: the first one is more than the beginning of something longer."""
    if head[:1] == b"[" or LIST.match(head.decode(errors="replace")):
        return False
    line, newline, _ = head.partition(b"\n")
    try:
        json.loads(line)
    except json.JSONDecodeError as problem:
        return not newline or problem.pos < len(problem.doc.rstrip())
    except (ValueError, RecursionError):
        return True
    return True


def _lines(file: Readable, name: str) -> Iterator[Found]:
    lines = iter(partial(file.readline, EVENT_LETTERS_MAX), b"")
    for number, line in enumerate(lines, 1):
        place, raw = f"{name}:{number}", line.strip()
        if raw[:1] == b"[" or LIST.match(raw[:REST_LETTERS].decode(errors="replace")):
            yield from _of_line(raw, place)
        elif raw:
            yield Found(place, raw, listed=False)


def _of_line(raw: bytes, place: str) -> Iterator[Found]:
    """The events of a list that stands on one line; where it breaks off, the whole line as the bad one."""
    try:
        yield from (found._replace(place=place) for found in _documents(io.BytesIO(raw).read, place))
    except Misconfigured:
        yield Found(place, raw, listed=False)


def _documents(read: Read, name: str) -> Iterator[Found]:
    text = _Text(read)
    number = 0
    try:
        while text.next():
            for value, listed in text.values():
                number += 1
                yield Found(f"{name}: event {number}", value.encode("utf-8", "surrogateescape"), listed)
    except (ValueError, RecursionError):
        raise Misconfigured(
            f"{name}:{text.line}: is not JSON behind event {number}; expected one event a line, an array or a list"
        ) from None


class _Text:
    """The text of a file from where the reader stands, as far as it has been read."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self.text, self.at, self.line = "", 0, 1

    def values(self) -> Iterator[tuple[str, bool]]:
        """The events of the next document, and whether it is an array or a list."""
        self._have(REST_LETTERS)
        head = LIST.match(self.text, self.at)
        if head is None and self.next() != "[":
            yield self._value(), False
            return
        self._go(head.end() if head else self.at + 1)
        while self.next() != "]":
            yield self._value(), True
            if self.next() == ",":
                self._go(self.at + 1)
        self._go(self.at + 1)
        if head:
            self._end_of_list()

    def next(self) -> str:
        """The next letter that is not blank, where the reader then stands; '' at the end."""
        while True:
            self._go(BLANK.match(self.text, self.at).end())  # type: ignore[union-attr]  # it matches always
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def _value(self) -> str:
        """One JSON value, as it stands. Raises ValueError."""
        while True:
            try:
                _, end = DECODER.raw_decode(self.text, self.at)
            except ValueError:
                if len(self.text) - self.at > EVENT_LETTERS_MAX or not self._more():
                    raise
            else:
                value = self.text[self.at : end]
                self._go(end)
                return value

    def _end_of_list(self) -> None:
        self._have(REST_LETTERS)
        rest = REST.match(self.text, self.at)
        if rest is None:
            raise ValueError("a list that does not end")
        self._go(rest.end())

    def _go(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def _have(self, letters: int) -> None:
        while len(self.text) - self.at < letters and self._more():
            pass

    def _more(self) -> bool:
        """Read on, and forget what lies behind. False at the end of the file."""
        piece = self.read(PIECE_BYTES)
        self.text, self.at = self.text[self.at :] + self.decode(piece, final=not piece), 0
        return bool(piece)
