"""The parameters of an operation, as data: what is not declared is refused by name.

The values of the first API arrive as form strings, so "5" is 5 and "true" is true, and nothing else is; an
empty string unsets what may be unset. `given` tells a parameter that was sent from one that was not.
"""

from __future__ import annotations

import functools
import re
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

WHOLE = re.compile(r"-?\d{1,15}")  # what every JSON reader keeps exactly
WORDS = ("true", "false", "")


class Params(BaseModel):
    """The base of every operation's parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, values: Any) -> Any:
        """Numbers and booleans are spelled as Stripe spells them: no "5.0", no "1_000", no "yes"."""
        for name, kind in _plain_kinds(cls):
            if isinstance(values, dict) and not _well_written(values.get(name), kind):
                raise PydanticCustomError(f"invalid_{WRONG[kind]}", "is not one", {"at": name})
        return values

    @property
    def given(self) -> set[str]:
        """The names that the request carried, an empty value included."""
        return self.model_fields_set

    def changes(self, *names: str) -> dict[str, Any]:
        """The given ones of `names` (of all, without names), plain; an empty string has become None."""
        chosen = names or tuple(type(self).model_fields)
        return {name: _plain(getattr(self, name)) for name in chosen if name in self.given}

    def changes_to(self, kept: dict[str, Any], *names: str) -> dict[str, Any]:
        """`changes` for an object as it is kept: given metadata is merged into what it has."""
        changes = self.changes(*names)
        if "metadata" in self.given:
            changes["metadata"] = merged(kept["metadata"], self.changes("metadata")["metadata"])
        return changes


WRONG: dict[type, str] = {int: "integer", bool: "boolean"}


@functools.cache
def _plain_kinds(cls: type[Params]) -> tuple[tuple[str, type], ...]:
    """The parameters that are a whole number or a boolean and nothing else."""
    found = [(name, _kinds(info.annotation) - {NoneType}) for name, info in cls.model_fields.items()]
    return tuple((name, kind) for name, kinds in found for kind in WRONG if kinds == {kind})


def _kinds(annotation: Any) -> set[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return set().union(*(_kinds(each) for each in get_args(annotation)))
    return {annotation}


def _well_written(value: Any, kind: type) -> bool:
    if value is None or value == "":
        return True
    if kind is bool:
        return isinstance(value, bool) or value in WORDS
    return not isinstance(value, bool) and WHOLE.fullmatch(str(value)) is not None


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, list):
        return [
            each.model_dump(exclude_unset=True) if isinstance(each, BaseModel) else each for each in value
        ]
    return None if value == "" else value


class NoParams(Params):
    """An operation that takes none."""


def _emptied(value: Any) -> Any:
    return None if value == "" else value


Unset = BeforeValidator(_emptied)
"""Marks a parameter that an empty string unsets: `Annotated[str | None, Unset] = None`."""


def _not_here(_: Any) -> Any:
    raise PydanticCustomError("not_here", "is not in the double")


NotHere = Annotated[Any, BeforeValidator(_not_here)]
"""Marks a part of a parameter that Stripe has and the double does not: sending it answers 501."""

Text = Annotated[str | None, Field(max_length=5000), Unset]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[int, Field(ge=-99_999_999, le=99_999_999)]


def _fitting(metadata: dict[str, str] | None) -> dict[str, str] | None:
    """Source: docs.stripe.com/api/metadata."""
    for key, value in (metadata or {}).items():
        if len(key) > 40 or "[" in key or "]" in key:
            raise PydanticCustomError(
                "metadata", "Metadata keys have up to 40 characters, without square brackets"
            )
        if len(value) > 500:
            raise PydanticCustomError("metadata", "Metadata values have up to 500 characters")
    return metadata


LATEST = 32_503_680_000  # the year 3000: what lies beyond it is no time, but milliseconds or a slip


def _a_time(value: int) -> int:
    if not 0 <= value <= LATEST:
        raise PydanticCustomError("timestamp", "must be an integer Unix timestamp in seconds")
    return value


Second = Annotated[int, AfterValidator(_a_time)]
"""A time of the first API: whole seconds since 1970."""

Metadata = Annotated[dict[str, str] | None, Field(max_length=50), AfterValidator(_fitting), Unset]
Currency = Annotated[str, Field(min_length=3, max_length=3), BeforeValidator(lambda v: str(v).lower())]


class Range(Params):
    """A filter on a time: `created[gte]=…`."""

    gt: int | None = None
    gte: int | None = None
    lt: int | None = None
    lte: int | None = None

    def holds(self, at: int | None) -> bool:
        """Whether a time lies in the range; one that has not come to be does not."""
        return at is not None and (
            (self.gt is None or at > self.gt)
            and (self.gte is None or at >= self.gte)
            and (self.lt is None or at < self.lt)
            and (self.lte is None or at <= self.lte)
        )


def _range(value: Any) -> Any:
    return {"gte": value, "lte": value} if isinstance(value, (str, int)) else value


Times = Annotated[Range, BeforeValidator(_range)]


class ListParams(Params):
    """What every list takes."""

    limit: Annotated[int, Field(ge=1, le=100)] = 10
    starting_after: str | None = None
    ending_before: str | None = None


def merged(old: dict[str, str], new: dict[str, str] | None) -> dict[str, str]:
    """Metadata after an update: an empty value takes its key away, an empty whole takes all."""
    if new is None:
        return {}
    return {key: value for key, value in {**old, **new}.items() if value != ""}
