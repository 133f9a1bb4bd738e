"""The parameters of an operation, as data: what is not declared is refused by name.

The values of the first API arrive as form strings, so reading is lenient ("5" is 5, "true" is true); an
empty string unsets what may be unset. `given` tells a parameter that was sent from one that was not.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Empty = Literal[""]


class Params(BaseModel):
    """The base of every operation's parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @property
    def given(self) -> set[str]:
        """The names that the request carried, an empty value included."""
        return self.model_fields_set

    def changes(self, *names: str) -> dict[str, Any]:
        """The given ones of `names` (of all, without names), plain; an empty string has become None."""
        chosen = names or tuple(type(self).model_fields)
        return {name: _plain(getattr(self, name)) for name in chosen if name in self.given}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if value == "" else value


class NoParams(Params):
    """An operation that takes none."""


def _emptied(value: Any) -> Any:
    return None if value == "" else value


Unset = BeforeValidator(_emptied)
"""Marks a parameter that an empty string unsets: `Annotated[str | None, Unset] = None`."""

Text = Annotated[str | None, Unset, Field(max_length=5000)]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[int, Field(ge=-99_999_999, le=99_999_999)]
Metadata = Annotated[dict[str, str] | None, Unset, Field(max_length=50)]
Currency = Annotated[str, Field(min_length=3, max_length=3), BeforeValidator(lambda v: str(v).lower())]


class Range(Params):
    """A filter on a time: `created[gte]=…`."""

    gt: int | None = None
    gte: int | None = None
    lt: int | None = None
    lte: int | None = None

    def holds(self, at: int) -> bool:
        return (
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
