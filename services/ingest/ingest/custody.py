"""How an arrival comes to rest: sealed under the key of its customer, and under the account's where it has none.

The bytes are sealed whole, for the event log; the body is sealed field by field, for everybody who reads the
topics. What the policy wants to be found again is put into the blind index.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ingest import store
from ingest.domain import Arrival
from ingest.store import Row
from millrace.sealing import DataKey, IndexKey, Policy, Subject


class Keys(Protocol):
    """Of `millrace.sealing.Keys`, what it takes to seal."""

    def known(self, subject: Subject) -> DataKey | None: ...
    def of(self, subject: Subject) -> Awaitable[DataKey]: ...
    def index(self, account: str) -> Awaitable[IndexKey]: ...


class Custody:
    """Seals arrivals. `policy` is asked each time, so that a new version of its file is followed at once.

    at_once()  when its key is in memory; else None, and nothing has been done
    row()      fetches or makes the key first. Raises Retryable, Unopenable.
    Writes:    nothing; the arrival's body is sealed in place, and is no good for anything else afterwards.
    """

    def __init__(self, keys: Keys, policy: Callable[[], Policy]) -> None:
        self.keys, self.policy = keys, policy

    def at_once(self, arrival: Arrival) -> Row | None:
        policy = self.policy()
        if policy.indexed(arrival.body):
            return None
        key = self.keys.known(_subject(arrival))
        return store.row(arrival, key, policy) if key else None

    async def row(self, arrival: Arrival) -> Row:
        policy = self.policy()
        key = await self.keys.of(_subject(arrival))
        entries = await self._entries(arrival, policy)
        return store.row(arrival, key, policy, entries)

    async def _entries(self, arrival: Arrival, policy: Policy) -> tuple[store.Entry, ...]:
        """What goes into the blind index: digests under a key of the account's own."""
        account, customer = _subject(arrival)
        values = policy.indexed(arrival.body) if customer else []
        if not values:
            return ()
        key = await self.keys.index(account)
        return tuple((account, field, key.digest(field, value), customer) for field, value in values)


def _subject(arrival: Arrival) -> Subject:
    return Subject(arrival.event.account, arrival.customer or "")
