"""The sealing policy: which fields of Stripe's objects are personal, and the walk that seals them.

A name is judged where it stands: by the type of the object it belongs to, by what is personal everywhere, and,
in a type that the policy does not know, by what is personal among strangers. Nothing depends on where an
object stands: expanded, in a list, in `previous_attributes`, it is sealed like everywhere. What no rule names
but is an e-mail address, a link that opens a page of Stripe's, or a client secret, is sealed for what it is.

    "anna@example.com"              "sealed:AQAAAAAAAAAq…"
    {"line1": …, "city": …}         {"$sealed": "sealed:AQAAAAAAAAAq…"}
    metadata {"name": …, "plan": …} {"$sealed": "sealed:AQAAAAAAAAAq…", "plan": …}     where `plan` is needed

Null, false, zero and what is empty stay as they are. `schemas/sealing.yaml` is the policy and explains its form.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import yaml

from millrace.documents import Node, load
from millrace.events.stripe import dig
from millrace.sealing.box import DataKey, Row, token

SETTING = "INGEST_SEALING"
TABLE = "event"  # what every sealed field is bound to, with its path and <account>/<event id>
SEALED = "$sealed"
METADATA = "metadata"
LISTS = frozenset({"list", "search_result"})  # they hold, and are nothing themselves
VERSION = re.compile(r"\d{4}-\d\d-\d\d(\.[a-z]+)?")
NAME = re.compile(r"[A-Za-z0-9_]+")
TELLTALE = re.compile(
    r"\S@\S+\.\S"  # an e-mail address
    r"|//(?:billing|checkout|connect|files|hooks|invoice|pay|payments|receipts|verify)\.stripe\.com/"
    r"|[a-z]_[A-Za-z0-9]{8,}_secret_[A-Za-z0-9]"
)

TELLING_MIN = 16  # letters that a link or a client secret has at least


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the policy: a path, sealed or clear, from one API version until before another."""

    path: tuple[str, ...]
    sealed: bool = True
    since: str = ""
    until: str = ""

    def holds_in(self, version: str | None) -> bool:
        """Whether a body of this version has it: versions are compared by their day, and None has all."""
        return version is None or (self.since <= version and (not self.until or version < self.until))


class Rules(dict[str, "bool | Rules"]):
    """What becomes of each name: sealed (True), clear (False), or rules for what stands below it.

    `below` are the rules for what stands below a name that is not here.
    """

    __slots__ = ("below",)

    def __init__(
        self, names: Iterable[str], entries: Sequence[Entry] = (), below: Rules | None = None
    ) -> None:
        super().__init__(dict.fromkeys(names, True))
        self.below = below or self
        self.update((entry.path[0], entry.sealed) for entry in entries if len(entry.path) == 1)
        for name in {entry.path[0] for entry in entries if len(entry.path) > 1}:
            inner = [replace(e, path=e.path[1:]) for e in entries if e.path[0] == name and len(e.path) > 1]
            self[name] = Rules(names, inner, self.below)


class Shape:
    """The rules for bodies of one range of API versions: by type of an object, and by type of an event's object."""

    def __init__(self, types: Mapping[str, Rules], everywhere: Rules, strangers: Rules) -> None:
        self.types, self.strangers = types, strangers
        self.thin = _root(everywhere, data=strangers, changes=strangers)
        self._roots = {name: _snapshot(everywhere, rules) for name, rules in types.items()}
        self._strange = _snapshot(everywhere, strangers)

    def root(self, body: Mapping[str, Any]) -> Rules:
        """The rules for a whole Event object."""
        if body.get("object") != "event":
            return self.thin
        type_ = dig(body, "data.object.object")
        return self._roots.get(type_, self._strange) if isinstance(type_, str) else self._strange

    def rules(self, found: dict[str, Any], otherwise: Rules) -> Rules:
        """The rules of an object's own type, or those of its place where it has none."""
        type_ = found.get("object")
        if type(type_) is not str or type_ in LISTS:
            return otherwise
        return self.types.get(type_, self.strangers)


class Policy:
    """Which fields are personal. Compiled once, for every range of API versions that differs."""

    def __init__(
        self,
        types: Mapping[str, Sequence[Entry]],
        *,
        everywhere: Iterable[str] = (),
        strangers: Iterable[str] = (),
        needed: Iterable[str] = (),
        index: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.needed, self.index = frozenset(needed), dict(index or {})
        days = {day for entries in types.values() for e in entries for day in (e.since, e.until) if day}
        self._days = sorted(days)
        compiled = _Compiled(frozenset(everywhere), frozenset(strangers))
        self._shapes = [compiled.shape(types, day) for day in ("", *self._days)]
        self._any = compiled.shape(types, None)

    @classmethod
    def read(cls, path: Path) -> Policy:
        """The policy in a file. Raises Misconfigured, naming file, line and fix."""
        optional = ("strangers", "needed", "index")
        top = load(path, SETTING).fields("everywhere", "types", optional=optional)
        return cls(
            {name: list(_entries(node)) for name, node in top["types"].entries().items()},
            everywhere=_grouped(top["everywhere"]),
            strangers=top.given("strangers", _grouped, []),
            needed=top.given("needed", _needed, []),
            index=_index(top["index"]) if "index" in top else {},
        )

    def seal(self, event_body: dict[str, Any], key: DataKey, row: str) -> bytes:
        """Seal the personal fields of an Event object, in place; returns it as JSON that may travel.

        `row` is <account>/<event id>; together with a field's path it is what the value is bound to.
        """
        shape = self._shape(event_body.get("api_version"))
        walk = _Walk(shape, key.row(TABLE, row), self.needed)
        walk.fields(event_body, shape.root(event_body), "")
        written = _written(event_body)
        if b"@" not in written:
            return written
        walk.telling(event_body, "")  # an address that no rule names, or just a sign
        return _written(event_body)

    def indexed(self, event_body: Mapping[str, Any]) -> list[tuple[str, str]]:
        """(field, value) of what is looked up by its value; asked before the body is sealed."""
        type_ = dig(event_body, "data.object.object")
        fields = self.index.get(type_, ()) if isinstance(type_, str) else ()
        found = [(f"{type_}.{field}", dig(event_body, f"data.object.{field}")) for field in fields]
        return [(name, value) for name, value in found if isinstance(value, str) and value.strip()]

    def _shape(self, version: Any) -> Shape:
        """The rules for a body of this version; all of them where it names none."""
        if not isinstance(version, str) or not VERSION.match(version):
            return self._any
        return self._shapes[bisect_right(self._days, version[:10])]


class _Walk:
    """One body being sealed. The path ends where a name is to follow: "data.object."."""

    __slots__ = ("needed", "row", "shape")

    def __init__(self, shape: Shape, row: Row, needed: frozenset[str]) -> None:
        self.shape, self.row, self.needed = shape, row, needed

    def fields(self, holder: dict[str, Any], rules: Rules, path: str) -> None:
        # Every member of every webhook passes here: what is most frequent is asked first, and in place.
        for name, value in holder.items():
            if not value:
                continue
            if name in rules:
                self.named(holder, name, value, rules, path)
                continue
            kind = type(value)
            if kind is str:
                if len(value) >= TELLING_MIN and (".stripe.com/" in value or "_secret_" in value):
                    self.judged(holder, name, value, path + name)
            elif kind is dict:
                here = self.shape.rules(value, rules.below) if "object" in value else rules.below
                self.fields(value, here, f"{path}{name}.")
            elif kind is list:
                self.items(value, rules.below, path + name)

    def judged(self, holder: Any, at: Any, value: str, path: str) -> None:
        """Seal a text that tells by itself: to be clear by its name is no licence."""
        if TELLTALE.search(value):
            holder[at] = self.seal(path, "", value)

    def named(self, holder: dict[str, Any], name: str, value: Any, rules: Rules, path: str) -> None:
        """A member that has a rule."""
        rule = rules[name]
        if rule is True:
            holder[name] = self.seal(path + name, name, value)
        elif isinstance(value, dict):
            self.fields(value, self.shape.rules(value, rule or rules.below), f"{path}{name}.")
        elif isinstance(value, list):
            self.items(value, rule or rules.below, path + name)

    def items(self, holder: list[Any], rules: Rules, path: str) -> None:
        """The elements of a list stand where the list does."""
        for place, value in enumerate(holder):
            if isinstance(value, dict):
                self.fields(value, self.shape.rules(value, rules), f"{path}[{place}].")
            elif isinstance(value, list):
                self.items(value, rules, f"{path}[{place}]")
            elif isinstance(value, str):
                self.judged(holder, place, value, f"{path}[{place}]")

    def telling(self, holder: dict[str, Any] | list[Any], path: str) -> None:
        """Judge every text there is."""
        listed = isinstance(holder, list)
        for at, value in enumerate(holder) if isinstance(holder, list) else holder.items():
            here = f"{path}[{at}]" if listed else f"{path}.{at}" if path else str(at)
            if isinstance(value, (dict, list)):
                self.telling(value, here)
            elif isinstance(value, str):
                self.judged(holder, at, value, here)

    def seal(self, path: str, name: str, value: Any) -> Any:
        if name == METADATA and self.needed and isinstance(value, dict):
            return self.metadata(path, value)
        sealed = token(self.row.seal(path, _written(value)))
        return {SEALED: sealed} if type(value) is dict else sealed

    def metadata(self, path: str, value: dict[str, Any]) -> dict[str, Any]:
        """What is needed stays clear, unless it tells by itself; the rest is sealed as a whole."""
        clear = {key: value[key] for key in value if key in self.needed and not _tells(value[key])}
        rest = {key: value[key] for key in value if key not in clear}
        return {**self.seal(path, "", rest), **clear} if rest else clear


class _Compiled:
    """Rules, made once for each set of entries: most types are the same in every version."""

    def __init__(self, everywhere: frozenset[str], strangers: frozenset[str]) -> None:
        self.names, self.everywhere = everywhere, Rules(everywhere)
        self.strangers = Rules(everywhere | strangers)
        self._made: dict[tuple[Entry, ...], Rules] = {}

    def shape(self, types: Mapping[str, Sequence[Entry]], version: str | None) -> Shape:
        rules = {name: self._rules(entries, version) for name, entries in types.items()}
        return Shape(rules, self.everywhere, self.strangers)

    def _rules(self, entries: Sequence[Entry], version: str | None) -> Rules:
        held = tuple(entry for entry in entries if entry.holds_in(version))
        if held not in self._made:
            self._made[held] = Rules(self.names, held, self.everywhere)
        return self._made[held]


def _written(value: Any) -> bytes:
    """As JSON; numbers and lone surrogates that orjson does not write come back too."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def _tells(value: Any) -> bool:
    """Whether a text is personal for what it is, whatever its name."""
    return isinstance(value, str) and TELLTALE.search(value) is not None


def _snapshot(everywhere: Rules, rules: Rules) -> Rules:
    """The rules for an event about such an object. The old values of its fields are read by its rules."""
    return _root(everywhere, data=_root(everywhere, object=rules, previous_attributes=rules))


def _root(everywhere: Rules, **inner: Rules) -> Rules:
    root = Rules(everywhere, below=everywhere)
    root.update(inner)
    return root


def _entries(node: Node) -> Iterator[Entry]:
    """What a type's block says of its fields."""
    block = node.fields(optional=["sealed", "clear"])
    seen: dict[str, str] = {}
    for said in ("sealed", "clear"):
        for item in block[said].items("[name, shipping.phone]") if said in block else ():
            entry = _entry(item, sealed=said == "sealed")
            path = ".".join(entry.path)
            if path in seen:
                item.wrong(f"{path} is there twice", "keep one of them")
            if other := next((one for one in seen if _overlap(one, path)), ""):
                item.wrong(f"{path} and {other} stand one below the other", "keep one of them")
            seen[path] = said
            yield entry


def _overlap(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _entry(node: Node, *, sealed: bool) -> Entry:
    if isinstance(node.raw, yaml.ScalarNode):
        return Entry(_path(node), sealed)
    fields = node.fields("field", optional=["since", "until"])
    since, until = fields.given("since", _version, ""), fields.given("until", _version, "")
    if until and until <= since:
        fields["until"].wrong("is not after since", "write the version in which the field was gone")
    return Entry(_path(fields["field"]), sealed, since, until)


def _path(node: Node) -> tuple[str, ...]:
    path = node.text("a field")
    if not all(map(NAME.fullmatch, path.split("."))):
        node.wrong(f"{path!r} is not a field", "write names with dots between them; a list needs no brackets")
    return tuple(path.split("."))


def _version(node: Node) -> str:
    version = node.text("an API version")
    if not VERSION.fullmatch(version):
        node.wrong(f"{version!r} is not an API version", "write 2025-03-31.basil or 2022-11-15")
    return version[:10]


def _grouped(node: Node) -> list[str]:
    """Names in groups; which group says why, and makes no difference."""
    seen: dict[str, str] = {}
    for group, names in node.entries().items():
        for item in names.items("[email, phone]"):
            if len(path := _path(item)) > 1:
                item.wrong(f"{'.'.join(path)} is a path", "write one name: it is personal wherever it stands")
            if seen.setdefault(path[0], group) != group:
                item.wrong(f"{path[0]} is in two groups", "keep one of them")
    return list(seen)


def _needed(node: Node) -> list[str]:
    names = [(item, item.text("a metadata key")) for item in node.items("[plan]")]
    for item, name in names:
        if name == SEALED:
            item.wrong(f"{name} marks what is sealed", "use another key")
    return [name for _, name in names]


def _index(node: Node) -> dict[str, list[str]]:
    return {
        type_: [".".join(_path(item)) for item in fields.items("[email]")]
        for type_, fields in node.entries().items()
    }
