"""Documents: the YAML files that people write, read so that every mistake names file, line and fix.

    top = load(path, "CRM_TEAMS").fields("teams", optional=["owner"])
    seats = {name: team.fields("seats")["seats"].whole() for name, team in top["teams"].entries().items()}

    crm.yaml:7: teams.red.seats: 'many' is not a whole number; write a whole number from 0

A service says what its document holds; what YAML leaves to guessing is refused here, once: a key that
comes twice, an alias or a merge (what is read stands where it is read), numbers in octal or base 60, an
instant without a zone. A message quotes what was written, but nothing that looks like a secret.
"""

from __future__ import annotations

import difflib
import logging
import re
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, NoReturn, TypeVar

import yaml
from prometheus_client import Gauge

from millrace.errors import Misconfigured

log = logging.getLogger("millrace.documents")

REFUSED = Gauge(
    "millrace_document_refused",
    "1 while the newest version of a file is not used and the one before it stays; the log names the line.",
    ["document"],
)
BYTES_MAX = 2**18  # some thousand plans; to read more would stop the service for seconds
QUOTED_MAX = 40  # letters of what was written; enough to find it
SECRET = re.compile(r"\b(whsec|sk|rk)_\w+")  # Stripe's, pasted where their place should be named
YAML = "tag:yaml.org,2002:"
WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")
FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

Stamp = tuple[int, int, int]
_beside: ContextVar[dict[Path, Stamp | None] | None] = ContextVar("_beside", default=None)

T = TypeVar("T")
Word = TypeVar("Word", bound=str)


def load(path: Path, setting: str) -> Node:
    """The document in a file. `setting` is the variable that names the file. Raises Misconfigured."""
    text = _text(path, setting)
    try:
        root = _Loader(path, text).get_single_node()
    except yaml.MarkedYAMLError as problem:  # its marks hold the text around, so it is not chained
        line, what = _line(problem.problem_mark), (problem.problem or "").removeprefix("but ")
        raise _wrong(path, line, f"is not YAML: {what}", "mend indentation, brackets or quotes") from None
    except yaml.reader.ReaderError as problem:
        line = text.count("\n", 0, problem.position) + 1
        raise _wrong(path, line, "is not YAML: a control character", "remove it") from None
    except RecursionError:
        raise _wrong(path, 1, "nests too deeply", "write it flat") from None
    if root is None:
        raise _wrong(path, 1, "is empty", f"write it, or set {setting} to the one you mean")
    return Node(path, "", _line(root.start_mark), root)


@dataclass(frozen=True, slots=True)
class Node:
    """One place in a document: what stands there, read by a verb, and how to complain about it.

    Raises: Misconfigured, by every verb, when something else stands there.
    """

    path: Path
    name: str  # plans.team.prices[0]; empty for the whole document
    line: int  # of its key where it has one
    raw: yaml.Node

    def wrong(self, what: str, fix: str) -> NoReturn:
        raise _wrong(self.path, self.line, f"{self.name}: {what}" if self.name else what, fix)

    def fields(self, *required: str, optional: Iterable[str] = ()) -> Fields:
        """A mapping with all the required fields, and none but these."""
        known, found = (*required, *optional), self.entries()
        for name, node in found.items():
            if name not in known:
                node.wrong("is not known here", _meant(name, known))
        if missing := [name for name in required if name not in found]:
            self.wrong(f"{missing[0]!r} is missing", f"add `{missing[0]}:`")
        return Fields(found)

    def entries(self) -> dict[str, Node]:
        """A mapping whose keys are names that its writer chose."""
        if not isinstance(self.raw, yaml.MappingNode):
            self.wrong("is not a mapping", "write `key: value` lines below it")
        found: dict[str, Node] = {}
        for key, value in self.raw.value:
            name = key.value if isinstance(key, yaml.ScalarNode) and key.tag != f"{YAML}merge" else ""
            inner = f"{self.name}.{_cut(repr(name)[1:-1])}".strip(".")
            node = Node(self.path, inner, _line(key.start_mark), value)
            if not name:
                node.wrong("holds a key that is not a name", "write one word before the colon")
            if name in found:
                node.wrong("is there twice", "keep one of them")
            found[name] = node
        return found

    def items(self, example: str = "[a, b]", least: int = 0) -> list[Node]:
        """A list; `example` shows how this one is written."""
        if not isinstance(self.raw, yaml.SequenceNode):
            self.wrong("is not a list", f"write {example}")
        if len(self.raw.value) < least:
            self.wrong(f"needs {least} or more", f"write {example}")
        return [
            Node(self.path, f"{self.name}[{place}]", _line(item.start_mark), item)
            for place, item in enumerate(self.raw.value)
        ]

    def text(self, what: str = "a text") -> str:
        """A text with something in it; a date is one, as it is written."""
        if not self._is("str", "timestamp") or not self.raw.value:
            self._not(what, 'write it in "quotes"')
        return str(self.raw.value)

    def whole(self, what: str = "a whole number", *, most: int | None = None, instead: str = "") -> int:
        """A whole number from 0, in plain digits; `instead` is what else may stand here, for the message."""
        number = int(self.raw.value) if self._is("int") and WHOLE.fullmatch(self.raw.value) else None
        if number is None or (most is not None and number > most):
            upto = "" if most is None else f" to {most}"
            self._not(what, f"write a whole number from 0{upto}{instead and f', or {instead}'}")
        return number

    def is_flag(self) -> bool:
        return self._is("bool") and self.raw.value.lower() in FLAGS

    def flag(self) -> bool:
        if not self.is_flag():
            self._not("a switch", "write true or false")
        return FLAGS[self.raw.value.lower()]

    def says(self, *words: str) -> bool:
        """Whether one of these words stands here."""
        return self._is("str", "bool") and self.raw.value in words

    def choice(self, *words: Word) -> Word:
        if not self.says(*words):
            self._not("known", _meant(self.raw.value, words))
        return next(word for word in words if word == self.raw.value)

    def instant(self) -> datetime:
        """An instant with its zone, in UTC."""
        try:
            at = datetime.fromisoformat(self.raw.value if self._is("str", "timestamp") else "")
            zoned = at.astimezone(UTC) if at.tzinfo else None
        except (ValueError, OverflowError):
            zoned = None
        return zoned or self._not("an instant", "write 2026-07-01T00:00:00Z")

    def _is(self, *kinds: str) -> bool:
        """Whether YAML takes the single value that stands here for one of these."""
        if not isinstance(self.raw, yaml.ScalarNode):
            self.wrong("is not a single value", "write one word or number")
        return self.raw.tag.removeprefix(YAML) in kinds

    def _not(self, what: str, fix: str) -> NoReturn:
        shown = repr(_cut(self.raw.value)) if self._is("str") else _cut(self.raw.value)
        quoted = getattr(self.raw, "style", None) in ("'", '"') and self.raw.value != ""
        said = f"{shown} is not {what}" if self.raw.value else "has no value"
        self.wrong(said, fix + ", without quotes" * quoted)


class Fields(dict[str, Node]):
    """The fields of a mapping that are there."""

    def given(self, name: str, read: Callable[[Node], T], otherwise: T) -> T:
        """What `read` makes of a field, where it is there."""
        return read(self[name]) if name in self else otherwise


class Watched(Generic[T]):
    """The value of a file, read again when the file has changed; a bad version leaves the one before.

    Files that `read` opened with `beside` are watched with it. A link that is swung to another file, as
    Kubernetes replaces what it mounts, is a change. Asked as often as one likes: it looks at most once in
    `seconds`, and a look costs one `stat` a file. `refused` says that the newest version is not the value.
    Raises: Misconfigured at construction only; later it is logged, and shown by `millrace_document_refused`.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], T],
        *,
        seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self.read, self.seconds, self.clock = path, read, seconds, clock
        self._looked = clock()
        self._value = self._fresh()
        self._tell(refused=False)

    def __call__(self) -> T:
        if (now := self.clock()) - self._looked >= self.seconds:
            self._looked = now
            if any(_stamp(path) != seen for path, seen in self._seen.items()):
                self._read_again()
        return self._value

    def _fresh(self) -> T:
        """What the files say now. Of a version that is refused, too, it is known which files it was read from."""
        # Each file is stamped before it is read: a change in between is seen at the next look.
        self._seen = {self.path: _stamp(self.path)}
        before = _beside.set(self._seen)
        try:
            return self.read(self.path)
        finally:
            _beside.reset(before)

    def _read_again(self) -> None:
        try:
            self._value = self._fresh()
        except Misconfigured as problem:
            log.error("new version refused, the one before stays", extra={"problem": str(problem)})
            self._tell(refused=True)
        else:
            log.info("new version read", extra={"document": str(self.path)})
            self._tell(refused=False)

    def _tell(self, *, refused: bool) -> None:
        self.refused = refused
        REFUSED.labels(str(self.path)).set(refused)


def beside(path: Path) -> str:
    """The text of a further file that a document names; who watches the document watches it too.

    Raises: OSError and UnicodeDecodeError, for the reader to say which line named the file.
    """
    if (seen := _beside.get()) is not None:
        seen[path] = _stamp(path)
    return path.read_text(encoding="utf-8")


class _Loader(yaml.SafeLoader):
    """YAML's own, but for aliases: they would hide where a value stands, and a few lines can unfold to billions."""

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(text)
        self.path = path

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs say nothing of it
            what = f"*{_cut(event.anchor)} stands for something elsewhere"
            raise _wrong(self.path, _line(event.start_mark), what, "write it out here")
        return super().compose_node(parent, index)


def _text(path: Path, setting: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES_MAX + 1)
        if len(raw) <= BYTES_MAX:
            return raw.decode()
    except OSError as problem:
        raise Misconfigured(f"{path}: cannot be read: {problem.strerror}; set {setting}") from problem
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        raise _wrong(path, line, "is not UTF-8 text", "save it as UTF-8") from None
    raise _wrong(path, 1, f"is larger than {BYTES_MAX} bytes", f"check that {setting} names the right file")


def _wrong(path: Path, line: int, what: str, fix: str) -> Misconfigured:
    return Misconfigured(f"{path}:{line}: " + SECRET.sub(r"\1_…", f"{what}; {fix}"))


def _line(mark: yaml.Mark | None) -> int:
    return mark.line + 1 if mark else 1


def _cut(text: str) -> str:
    return text if len(text) <= QUOTED_MAX else text[:QUOTED_MAX] + "…"


def _meant(word: str, known: Iterable[str]) -> str:
    """What somebody who wrote `word` may have meant."""
    words = list(dict.fromkeys(known))
    near = difflib.get_close_matches(_cut(word), words, 1)
    return f"did you mean {near[0]}?" if near else f"use {' or '.join(words)}"


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except OSError:  # gone, or on the way from one version to the next: what runs stays
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
