"""Opening what was sealed, for one consumer and one purpose, and counting each value that is opened.

opener = Opener(Keys(pool, provider(settings.keys)), consumer="mailer", purpose="receipt")
email = await opener.field(event, "data.object.customer_email")
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from millrace.events import Event
from millrace.postgres import Pool
from millrace.sealing import metrics, store
from millrace.sealing.box import DataKey, Erased, IndexKey, Place, Unopenable, key_id, untoken
from millrace.sealing.keys import Keys, wrapped
from millrace.sealing.policy import SEALED, TABLE
from millrace.sealing.providers import Provider
from millrace.sealing.store import Wanted

STEP = re.compile(r"\[(\d+)\]|\.?([^.\[\]]+)")


class Sealed(NamedTuple):
    """A sealed value where it was found."""

    path: str
    token: str
    value: bytes


class Opener:
    """Opens sealed fields of events.

    field()  the value at a path, whether it was sealed itself or with what it stands in; None where there is none.
             Raises Erased when its customer is erased, Unopenable when it was changed or moved.
    event()  the event with every field opened that can be; what cannot stays sealed.
    Raises:  Retryable when the keys are out of reach.
    """

    def __init__(self, keys: Keys, *, consumer: str, purpose: str) -> None:
        self.keys, self.consumer = keys, consumer
        self._opened = metrics.OPENED.labels(consumer, purpose)
        self._unopenable = metrics.UNOPENABLE.labels(consumer)

    async def field(self, event: Event, path: str) -> Any:
        value: Any = event.data
        here = ""
        for place, named in STEP.findall(path):
            name = int(place) if place else named
            value = _member(await self._whole(event, here, value), name)
            here = _below(here, name)
        return await self._whole(event, here, value)

    async def event(self, event: Event) -> Event:
        found = list(_sealed(event.data, ""))
        keys = await self.keys.by_id({key_id(sealed.value) for sealed in found})
        plain: dict[tuple[str, str], Any] = {}
        for sealed in found:
            if key := keys.get(key_id(sealed.value)):
                try:
                    plain[sealed.path, sealed.token] = self._open(event, key, sealed)
                except Unopenable:
                    self._unopenable.inc()
        return replace(event, data=_opened(event.data, "", plain))

    async def _whole(self, event: Event, path: str, value: Any) -> Any:
        """The value as it was before it was sealed."""
        sealed = _token(path, value)
        if sealed is None:
            return value
        if not (key := (await self.keys.by_id([key_id(sealed.value)])).get(key_id(sealed.value))):
            raise Erased(f"{path}: its customer's keys are destroyed")
        try:
            return _merged(self._open(event, key, sealed), value)
        except Unopenable as problem:
            self._unopenable.inc()
            raise Unopenable(f"{path}: {problem}") from None

    def _open(self, event: Event, key: DataKey, sealed: Sealed) -> Any:
        plain = key.open(Place(TABLE, sealed.path, f"{event.account}/{event.id}"), sealed.value)
        self._opened.inc()
        return json.loads(plain)  # exact where orjson is not: whole numbers of any size, lone surrogates


async def lookup(pool: Pool, provider: Provider, account: str, field: str, text: str) -> list[str]:
    """The customers who have, or had, this value in an indexed field: `customer.email`.

    Raises: Retryable or Unopenable when the key of the index cannot be had.
    """
    rows = await store.newest(pool, [Wanted(account, "", "index")], renew_days=0)
    if not rows:
        return []  # nothing was ever indexed
    (key,) = await provider.unwrap([wrapped(rows[0])])
    if not isinstance(key, bytes):
        raise key
    return await store.find(pool, account, field, IndexKey(rows[0].id, key).digest(field, text))


def _token(path: str, value: Any) -> Sealed | None:
    """What is sealed right here: a text, or an object that was sealed as a whole."""
    text = value.get(SEALED) if isinstance(value, Mapping) else value
    if not isinstance(text, str) or (found := untoken(text)) is None:
        return None
    return Sealed(path, text, found)


def _sealed(value: Any, path: str) -> Iterator[Sealed]:
    """Every sealed value from here down."""
    if found := _token(path, value):
        yield found
    for name, inner in _members(value):
        yield from _sealed(inner, _below(path, name))


def _opened(value: Any, path: str, plain: Mapping[tuple[str, str], Any]) -> Any:
    """A copy, with what was opened in its place."""
    found = _token(path, value)
    whole = plain.get((path, found.token)) if found else None
    if isinstance(value, list):
        return [_opened(inner, _below(path, place), plain) for place, inner in _members(value)]
    if isinstance(value, Mapping):
        inner = {name: _opened(one, _below(path, name), plain) for name, one in _members(value)}
        return _merged(whole, inner) if whole else inner | {n: value[n] for n in (SEALED,) if n in value}
    return whole if whole is not None else value


def _merged(whole: Any, beside: Any) -> Any:
    """An object that was sealed as a whole, with what stayed clear beside it."""
    if isinstance(whole, dict) and isinstance(beside, Mapping):
        return whole | dict(_members(beside))
    return whole


def _members(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from ((name, inner) for name, inner in value.items() if name != SEALED)
    elif isinstance(value, list):
        yield from enumerate(value)


def _below(path: str, name: str | int) -> str:
    if isinstance(name, int):
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else name


def _member(value: Any, name: str | int) -> Any:
    """What stands below, or None when the way ends here."""
    if isinstance(name, int):
        return value[name] if isinstance(value, list) and name < len(value) else None
    return value.get(name) if isinstance(value, Mapping) else None
