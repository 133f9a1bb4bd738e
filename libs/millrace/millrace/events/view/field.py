"""Canonical fields: what each means, where each API version keeps it, and how it is read.

    since(BASIL, "parent.quote_details.quote")     a place that a version brought
    until(BASIL, "quote")                          a place that a version gave up, though it may still send it
    "status"                                       a place in every version
    rule("the last of its items", function)        what follows from other fields

A field reads its places in the order in which they are written, newest first, and the first that tells something
is the answer. `None` is what no place tells, or tells sealed. What is told and of another kind is Poison with the
path of the field: a view never guesses and never raises anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Generic, NoReturn, Self, TypeVar, overload

from millrace.errors import Poison
from millrace.events import Event
from millrace.events.stripe import Object, object_of
from millrace.money import Money

LATEST_CHARGE = "2022-11-15"
BASIL = "2025-03-31.basil"
CLOVER = "2025-09-30.clover"
DAHLIA = "2026-03-25.dahlia"
DAHLIA_JULY = "2026-07-29.dahlia"
ENDIVE = "2026-09-30.endive"

T = TypeVar("T")


class View:
    """One object of Stripe's, read field by field when a field is first asked for, and frozen.

    Two views are equal when all their fields are. Raises Poison where a field is read, never before.
    """

    body: Object
    _within: View | None
    _where: str
    _fields: ClassVar[dict[str, Field[Any]]] = {}

    def __init_subclass__(cls) -> None:
        cls._fields = {**cls._fields, **{n: f for n, f in vars(cls).items() if isinstance(f, Field)}}

    def __init__(self, body: Object, within: View | None = None, where: str = "") -> None:
        called = where or str(body.get("object") or type(self).__name__.lower())[:40]
        self.__dict__.update(body=body, _within=within, _where=called)

    @classmethod
    def of(cls, event: Event) -> Self:
        """The view of the object an event is about. The caller knows by the event's type that it is one."""
        return cls(object_of(event))

    @property
    def holder(self) -> View | None:
        """The object that this one is a part of."""
        return self._within

    @classmethod
    def fields(cls) -> dict[str, Field[Any]]:
        """The fields by name, in the order in which they are written."""
        return cls._fields

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a view is frozen: {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and asdict(self) == asdict(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.body.get('id', self._where)!s:.60}>"


def asdict(view: View) -> dict[str, Any]:
    """All fields by name, views inside as dicts too. Raises Poison."""
    return {name: _plain(getattr(view, name)) for name in type(view).fields()}


def _plain(value: Any) -> Any:
    if isinstance(value, View):
        return asdict(value)
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field lives: a dotted path into the body, or a rule over the view."""

    text: str
    since: str = ""
    until: str = ""
    rule: Callable[[Any], Any] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.text.split("."))


def since(version: str, path: str) -> Place:
    return Place(path, since=version)


def until(version: str, path: str) -> Place:
    return Place(path, until=version)


def rule(text: str, tell: Callable[[Any], Any], since: str = "", until: str = "") -> Place:
    """What a function of the view makes of its other fields."""
    return Place(text, since, until, tell)


Kind = Callable[[View, Any, str], T]  # the view, what was found, its path; None is "not told after all"


class Field(Generic[T]):
    """One canonical field. Asked of a class it is this; asked of a view, its value."""

    def __init__(self, caption: str, kind: Kind[Any], places: tuple[str | Place, ...], empty: Any = None):
        self.caption, self.kind, self.empty, self.name = caption, kind, empty, ""
        self.places = tuple(Place(place) if isinstance(place, str) else place for place in places)
        self._steps = [(place.names[0], place.names[1:], place.text, place.rule) for place in self.places]

    def __set_name__(self, owner: type[View], name: str) -> None:
        self.name = name
        self._steps = self._steps or [(name, (), name, None)]
        self.places = self.places or (Place(name),)

    @overload
    def __get__(self, view: None, owner: type[View]) -> Field[T]: ...
    @overload
    def __get__(self, view: View, owner: type[View]) -> T: ...
    def __get__(self, view: View | None, owner: type[View]) -> Field[T] | T:
        if view is None:
            return self
        found = view.__dict__[self.name] = self.read(view)
        return found

    def read(self, view: View) -> T:
        """The value of the first place that tells one. Raises Poison."""
        for first, rest, path, follows in self._steps:
            if follows:
                found = follows(view)
            elif (found := view.body.get(first)) is not None:
                found = _at(found, rest) if rest else found
                found = None if found is None or sealed(found) else self.kind(view, found, path)
            if found is not None:
                return found  # type: ignore[no-any-return]
        return self.empty  # type: ignore[no-any-return]


def _at(found: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def sealed(found: object) -> bool:
    """Whether nothing of a value can be read without its key."""
    if isinstance(found, str):
        return found.startswith("sealed:")
    return isinstance(found, dict) and len(found) == 1 and "$sealed" in found


def wrong(view: View, path: str, expected: str) -> Poison:
    return Poison(f"{view._where}.{path} is not {expected}")


# Kinds: how a value is read that stands at a place


def as_identity(view: View, found: Any, path: str) -> str | None:
    named = found.get("id") if isinstance(found, dict) else found
    if not isinstance(named, str):
        raise wrong(view, path, "an id, or an object with one")
    return named or None


def as_text(view: View, found: Any, path: str) -> str | None:
    if not isinstance(found, str):
        raise wrong(view, path, "a text")
    return found or None


def as_whole(view: View, found: Any, path: str) -> int:
    if type(found) is not int:
        raise wrong(view, path, "a whole number")
    return found


def as_flag(view: View, found: Any, path: str) -> bool:
    if not isinstance(found, bool):
        raise wrong(view, path, "true or false")
    return found


def as_decimal(view: View, found: Any, path: str) -> Decimal:
    if isinstance(found, str) or type(found) in (int, float):
        try:
            number = Decimal(str(found))
        except InvalidOperation:
            number = Decimal("nan")
        if number.is_finite():
            return number
    raise wrong(view, path, "a decimal number")


def as_instant(view: View, found: Any, path: str) -> datetime:
    """Seconds since 1970, and in objects of /v2 a text in ISO 8601."""
    try:
        if type(found) is int:
            return datetime.fromtimestamp(found, UTC)
        if isinstance(found, str) and (told := datetime.fromisoformat(found)).tzinfo:
            return told.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass  # a text or a number, and no time: said below
    raise wrong(view, path, "a time")


def as_money(view: View, found: Any, path: str) -> Money:
    amount, currency = as_whole(view, found, path), _currency(view)
    try:
        return Money(amount, currency or "")
    except ValueError:
        raise Poison(f"{view._where}.currency is missing or no currency, and {path} is an amount") from None


def _currency(view: View) -> str | None:
    return getattr(view, "currency", None)


def _elements(view: View, found: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The elements of a plain array or of Stripe's list object, which must be whole."""
    if isinstance(found, dict):
        if found.get("has_more"):
            raise Poison(f"{view._where}.{path} is cut short: has_more is true")
        found = found.get("data")
    if not isinstance(found, list):
        raise wrong(view, path, "a list")
    return ((f"{path}[{index}]", element) for index, element in enumerate(found) if not sealed(element))


def as_references(view: View, found: Any, path: str) -> tuple[str, ...]:
    told = (as_identity(view, element, where) for where, element in _elements(view, found, path))
    return tuple(name for name in told if name)


def inner(cls: type[V], view: View, found: Any, path: str) -> V:
    """The view of an object inside, or of its bare id. Raises Poison."""
    if isinstance(found, str):
        found = {"id": found}
    if not isinstance(found, dict):
        raise wrong(view, path, "an object or its id")
    return cls(found, view, f"{view._where}.{path}")


# What a view is written with; without a place, the field's own name is one


def required(caption: str, *places: str | Place) -> Field[str]:
    """An id that every object of its kind has. Raises Poison where it has none."""
    missing = rule("", lambda view: _missing(view, caption))
    return Field(caption, as_identity, (*(places or ("id",)), missing))


def _missing(view: View, caption: str) -> NoReturn:
    raise Poison(f"{view._where} has no id: {caption}")


def identity(caption: str, *places: str | Place) -> Field[str | None]:
    """An id, told as it is or as the expanded object."""
    return Field(caption, as_identity, places)


def text(caption: str, *places: str | Place) -> Field[str | None]:
    """A word or code of Stripe's. Words that are new pass: enums are open."""
    return Field(caption, as_text, places)


def whole(caption: str, *places: str | Place) -> Field[int | None]:
    return Field(caption, as_whole, places)


def flag(caption: str, *places: str | Place) -> Field[bool | None]:
    return Field(caption, as_flag, places)


def number(caption: str, *places: str | Place) -> Field[Decimal | None]:
    """A decimal number, exact. Never an amount of money that was booked."""
    return Field(caption, as_decimal, places)


def instant(caption: str, *places: str | Place) -> Field[datetime | None]:
    return Field(caption, as_instant, places)


def money(caption: str, *places: str | Place) -> Field[Money | None]:
    """An amount in minor units of the view's `currency`."""
    return Field(caption, as_money, places)


def references(caption: str, *places: str | Place) -> Field[tuple[str, ...]]:
    """Ids; empty where none are told."""
    return Field(caption, as_references, places, ())


V = TypeVar("V", bound=View)


def one(caption: str, cls: type[V], *places: str | Place) -> Field[V | None]:
    """An object inside."""
    return Field(caption, lambda view, found, path: inner(cls, view, found, path), places)


def many(caption: str, cls: type[V], *places: str | Place) -> Field[tuple[V, ...]]:
    """Objects inside; empty where none are told. Raises Poison for a list that is cut short."""
    return Field(caption, every(cls), places, ())


def told(caption: str, cls: type[V], *places: str | Place) -> Field[tuple[V, ...] | None]:
    """Objects inside, of a list that Stripe often leaves out: None is not the same as empty."""
    return Field(caption, every(cls), places)


def every(cls: type[V]) -> Kind[tuple[V, ...]]:
    def read(view: View, found: Any, path: str) -> tuple[V, ...]:
        return tuple(inner(cls, view, element, where) for where, element in _elements(view, found, path))

    return read


def _of_holder(view: View) -> str | None:
    return _currency(view._within) if view._within else None


def inherited() -> Field[str | None]:
    """The currency of the object that this one is a part of."""
    return text("the currency of its amounts", "currency", rule("the currency of what holds it", _of_holder))
