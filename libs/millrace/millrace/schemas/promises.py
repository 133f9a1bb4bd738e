"""What a published schema allows to change: optional fields, words on an open list, and what only people read.

A record lives longer than the code that wrote it. So whoever reads by the published schema must be able to read
what is written now, and whoever reads by the new one what was written then: neither less nor more may be allowed
than before. Each difference comes as the sentence that says what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any]

WORDS = frozenset(
    {"title", "description", "examples", "$comment", "$schema", "deprecated"}
)  # nothing checks them
STRUCTURE = frozenset(
    {"type", "enum", "format", "default", "properties", "required", "items", "additionalProperties"}
) | {"$defs", "$ref"}
LOWER = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
UPPER = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
MEANT = {  # of the whole schema: where its events are found, and in which order they come
    "x-topic": ("topic", "readers of the old one would hear nothing more", "Leave them there"),
    "x-key": ("key", "it decides partition and order, and compaction", "Keep the key"),
    "x-subject": ("subject", "readers look objects up by it", "Keep it"),
    "x-ce-type": ("ce_type", "readers choose events by it", "Keep it"),
    "$id": ("$id", "it is what events carry as ce_dataschema", "Keep it"),
}
KNOWN = WORDS | STRUCTURE | MEANT.keys()
ABSENT = object()
DEFS = "#/$defs/"


@dataclass(frozen=True, slots=True)
class Broken:
    """One promise that is not kept, and what to do about it. `where` is a field's path; '' is the event itself."""

    schema: str
    where: str
    what: str
    why: str
    instead: str
    beside: str = ""  # the version that could be published instead

    def __str__(self) -> str:
        about = f"`{self.where}`" if self.where else "the event"
        return f"{self.schema}: {about} {self.what}; {self.why}. {self.instead}{self.beside}."


def broken(published: Mapping[str, Schema], now: Mapping[str, Schema]) -> list[Broken]:
    """What a reader of the published schemas could no longer rely on; nothing when all is well."""
    found = []
    for name, before in sorted(published.items()):
        if name not in now:
            found.append(Broken(name, "", *GONE))
        else:
            found += _Comparison(name, before, now[name]).run()
    return found


GONE = (
    "was published and is gone",
    "its records are read for as long as they are kept",
    "Put it back, and write a new version beside it",
)


@dataclass(slots=True)
class _Comparison:
    """One schema before and after. Recursive types are compared once a pair."""

    name: str
    before: Schema
    after: Schema
    seen: set[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=set)

    def run(self) -> Iterator[Broken]:
        for keyword, (word, why, instead) in MEANT.items():
            was, now = self.before.get(keyword), self.after.get(keyword)
            if was != now and was is not None:  # what was not promised is not broken
                yield self._broken("", f"had the {word} {was!r} and now has {now!r}", why, instead)
        yield from self._node(self.before, self.after, "")
        for name in self.before.get("$defs", {}):  # what only a condition refers to
            here = {"$ref": f"{DEFS}{name}"}
            if name in self.after.get("$defs", {}) and not any(here["$ref"] in old for old, _ in self.seen):
                yield from self._node(here, here, name)

    def _broken(self, where: str, what: str, why: str, instead: str) -> Broken:
        return Broken(self.name, where, what, why, instead, _beside(self.before))

    def _node(self, before: Schema, after: Schema, at: str) -> Iterator[Broken]:
        old, new = resolved(before, self.before), resolved(after, self.after)
        was, now = _Shape.of(old, self.before), _Shape.of(new, self.after)
        yield from self._kinds(was, now, at)
        yield from self._words(was, now, at)
        if was.kinds != now.kinds:
            return  # that says it all
        yield from self._limits(was.rest, now.rest, at)
        yield from self._default(old, new, at)
        pair = _references(before), _references(after)
        if not all(pair) or pair not in self.seen:
            self.seen.add(pair)
            yield from self._required(was.rest, now.rest, at)
            yield from self._fields(was.rest, now.rest, at)
            yield from self._below(was.rest, now.rest, at)

    def _kinds(self, was: _Shape, now: _Shape, at: str) -> Iterator[Broken]:
        if now.null and not was.null:
            yield self._broken(at, "may now be null", "readers of it do not expect that", NO_NULL)
        if was.null and not now.null:
            yield self._broken(
                at, "may no longer be null", "events with null have been published", STILL_NULL
            )
        if was.kinds != now.kinds:
            what = f"was {_kinds(was.kinds)} and is now {_kinds(now.kinds)}"
            yield self._broken(at, what, "readers take it for what it was", BESIDE_FIELD)

    def _words(self, was: _Shape, now: _Shape, at: str) -> Iterator[Broken]:
        if was.words is None and (now.words is None or now.open):
            return  # an open list only names what might have come before
        if was.words is None or now.words is None:
            what = "is now a list of words" if was.words is None else "is no longer a list of words"
            yield self._broken(at, what, "readers take it for what it was", BESIDE_FIELD)
        elif was.open and not now.open:
            yield self._broken(at, "is now a closed list of words", "events with others may have been published",
                               "Leave it open")  # fmt: skip
        elif now.open and not was.open:
            yield self._broken(at, "is now an open list of words", "readers rely on there being no others",
                               "Leave it closed")  # fmt: skip
        for word in was.words or ():
            if now.words is not None and word not in now.words:
                yield self._broken(at, f"no longer knows {word!r}", "readers wait for it, and it has been published",
                                   "Keep the word, even if nobody writes it any more")  # fmt: skip
        for word in now.words or ():
            if was.words is not None and word not in was.words and not was.open:
                yield self._broken(at, f"may now be {word!r}", "readers rely on there being no such word",
                                   "Keep to the words that were published")  # fmt: skip

    def _limits(self, old: Schema, new: Schema, at: str) -> Iterator[Broken]:
        for keyword in sorted((old.keys() | new.keys()) - KNOWN):
            was, now = _bare(old.get(keyword, ABSENT)), _bare(new.get(keyword, ABSENT))
            if was != now:
                yield self._broken(at, *_limit(keyword, was, now))
        if old.get("format") != new.get("format"):
            what = f"had the format {_said(old.get('format'))} and now has {_said(new.get('format'))}"
            yield self._broken(at, what, "readers parse it as what it was", BESIDE_FIELD)

    def _default(self, old: Schema, new: Schema, at: str) -> Iterator[Broken]:
        if "default" in old and old["default"] != new.get("default", ABSENT):
            now = repr(new["default"]) if "default" in new else "none"
            what = f"had the default {old['default']!r} and now has {now}"
            yield self._broken(at, what, "events without it would mean something else", "Keep the default")

    def _required(self, old: Schema, new: Schema, at: str) -> Iterator[Broken]:
        demanded, demands = set(old.get("required", [])), set(new.get("required", []))
        for lost in sorted(demanded - demands):
            if lost in new.get("properties", {}):
                yield self._broken(_path(at, lost), "was always there and may now be missing",
                                   "readers rely on it", "Keep writing it, without a default")  # fmt: skip
        for added in sorted(demands - demanded):
            yield self._broken(_path(at, added), "is required", "events without it have been published",
                               "Give it a default")  # fmt: skip

    def _fields(self, old: Schema, new: Schema, at: str) -> Iterator[Broken]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, was in before.items():
            path = _path(at, name)
            if name in after:
                yield from self._node(was, after[name], path)
            elif alike := _alike(was, before, after):
                yield self._broken(path, f"was renamed to `{alike}`", f"readers look for `{name}`",
                                   f"Keep `{name}`, and write `{alike}` beside it")  # fmt: skip
            else:
                yield self._broken(path, "was removed", "readers may need it", "Keep it")

    def _below(self, old: Schema, new: Schema, at: str) -> Iterator[Broken]:
        """Elements of lists, values of maps, and whether further fields are welcome."""
        for keyword, step in (("items", "[]"), ("additionalProperties", ".*")):
            was, now = old.get(keyword, True), new.get(keyword, True)
            if isinstance(was, Mapping) and isinstance(now, Mapping):
                yield from self._node(was, now, _step(at, step))
            elif was is not now and now is False:
                yield self._broken(at, "forbids further fields", "readers must expect them, and so must it",
                                   "Leave it open")  # fmt: skip
            elif was is not now:
                what = "says more than it did" if was is True else "says less than it did"
                yield self._broken(_step(at, step), f"{what} of what may stand there", NEITHER, BESIDE_FIELD)


NO_NULL = "Leave it out of the field, or add another field that may be null"
STILL_NULL = "Let null stay allowed, even if nobody writes it any more"
BESIDE_FIELD = "Add another field beside it"
NEITHER = "a record must fit the schema of its day and of every later one"


@dataclass(frozen=True, slots=True)
class _Shape:
    """A node, taken apart. `kinds` are JSON's types without null; `rest` has the keywords that remain to compare."""

    kinds: frozenset[str]
    null: bool
    words: tuple[Any, ...] | None
    open: bool
    rest: Schema

    @classmethod
    def of(cls, node: Schema, root: Schema) -> _Shape:
        found = [resolved(leaf, root) for leaf in leaves(node)]
        null = any("null" in _types(leaf) for leaf in found)
        solid = [leaf for leaf in found if _types(leaf) != {"null"}]
        listed = [leaf for leaf in solid if "enum" in leaf]
        others = [leaf for leaf in solid if "enum" not in leaf]
        words = tuple(word for leaf in listed for word in leaf["enum"]) if listed else None
        kinds = frozenset(kind for leaf in solid for kind in _types(leaf)) - {"null"}
        return cls(kinds, null, words, bool(listed and others), _merged(others or listed))


def leaves(node: Schema) -> Iterator[Schema]:
    """The alternatives of a node, however they are nested."""
    alternatives = node.get("anyOf") or node.get("oneOf")
    if not alternatives or node.get("type"):
        yield node
        return
    for alternative in alternatives:
        yield from leaves(alternative)


def _merged(found: list[Schema]) -> Schema:
    """The keywords of the one alternative; several are compared as they stand."""
    if len(found) == 1:
        return found[0]
    return {"anyOf": sorted((_bare(leaf) for leaf in found), key=repr)} if found else {}


def _references(node: Schema) -> tuple[str, ...]:
    return tuple(leaf["$ref"] for leaf in leaves(node) if "$ref" in leaf)


def _types(node: Schema) -> set[str]:
    said = node.get("type", ())
    return {said} if isinstance(said, str) else set(said)


def resolved(node: Schema, root: Schema) -> Schema:
    """The node that a reference names; what stands beside the reference goes with it."""
    reference = node.get("$ref")
    if not reference:
        return node
    named = root.get("$defs", {})[reference.removeprefix(DEFS)]
    return {**named, **{key: value for key, value in node.items() if key != "$ref"}}


def _limit(keyword: str, was: Any, now: Any) -> tuple[str, str, str]:
    """A narrower or a wider value, and why either matters."""
    if was is ABSENT or _narrower(keyword, was, now):
        what = f"takes less than it did: {keyword} is {now!r}" + (
            "" if was is ABSENT else f" and was {was!r}"
        )
        return what, "events that do not fit have been published", f"Put {keyword} back"
    if now is ABSENT:
        return f"takes more than it did: {keyword} was {was!r}", "readers rely on it", f"Put {keyword} back"
    return f"has another {keyword}: {now!r}, and it was {was!r}", NEITHER, f"Put {keyword} back"


def _narrower(keyword: str, was: Any, now: Any) -> bool:
    if now is ABSENT or now == was:
        return False
    return bool(now > was) if keyword in LOWER else keyword in UPPER and bool(now < was)


def _alike(was: Schema, before: Schema, after: Schema) -> str:
    """A new field of just the shape of one that is gone: the same under another name."""
    new = (name for name in after if name not in before and _bare(after[name]) == _bare(was))
    return next(new, "")


def _step(at: str, step: str) -> str:
    return f"{at}{step}".lstrip(".")


def _path(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _kinds(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds)) or "anything"


def _said(value: Any) -> str:
    return "none" if value is None else repr(value)


def _beside(schema: Schema) -> str:
    """What else could be done: the next version, by its name."""
    number = re.fullmatch(r"(.+)/(\d+)", str(schema.get("$id", "")))
    if not number:
        return ""
    after = int(number[2]) + 1
    return f", or publish {number[1]}/{after} beside it until the readers of version {number[2]} have moved"


def _bare(value: Any, *, names: bool = False) -> Any:
    """A schema's value without the words that only people read. `names` says that its keys are fields."""
    if isinstance(value, Mapping):
        return {
            key: _bare(part, names=key in ("properties", "$defs"))
            for key, part in value.items()
            if names or key not in WORDS
        }
    return [_bare(part) for part in value] if isinstance(value, list) else value
