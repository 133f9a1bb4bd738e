"""Events from files, taken in as from the door: the same checks and sealing, event and outbox row in one commit.

Only the signature is missing: whoever may run the import vouches for the file. What is stored already is passed
over before anything costly is done, so that a run that broke off is simply begun again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg
import orjson

from ingest import archive_store, store
from ingest.archive import make_partitions
from ingest.custody import Custody
from ingest.domain import Arrival, Endpoint, Refused, cards, document, envelope
from millrace import telemetry
from millrace.clock import Clock
from millrace.postgres import Connection
from millrace.sealing import Keys, Policy

BODY_BYTES_MAX = 2**20  # as at the door
BATCH_BYTES_MAX = 8 * 2**20  # of bodies held at once, whatever their number
TOO_LARGE = Refused("body_too_large", f"body is larger than {BODY_BYTES_MAX:,} bytes")
NOT_STORED = "the database refuses this event"
OF_THE_ROW = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)


class Given(NamedTuple):
    """An event as it stands in a file."""

    place: str  # file:line, for whoever has to look
    raw: bytes
    listed: bool  # from an array or a list, of which Stripe's are newest first


class Turned(NamedTuple):
    """An event that is not taken, and why. The reason quotes nothing; the bytes are as they were given."""

    place: str
    reason: str
    raw: bytes


@dataclass(slots=True)
class Imported:
    """What became of the events of an import."""

    seen: int = 0
    stored: int = 0
    passed_over: int = 0  # stored before, or twice in the files
    refused: int = 0
    cards: int = 0  # card numbers that were cut out


def endpoint(account: str, *, livemode: bool, connect: bool) -> Endpoint:
    """The door that an import stands for: no address, no secret."""
    return Endpoint("import", account, livemode, "", (), connect=connect, sources=frozenset({"import"}))


def batches(given: Iterable[Given], events_max: int) -> Iterator[list[Given]]:
    """What shares a commit: so many events, fewer when they are large."""
    batch: list[Given] = []
    size = 0
    for one in given:
        batch.append(one)
        size += len(one.raw)
        if len(batch) >= events_max or size >= BATCH_BYTES_MAX:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class Import:
    """Takes in batches, one transaction each, and counts.

    Writes: event_id, event, outbox.event, and data keys of new customers.
    Replay: passes over what is stored; writes nothing.
    """

    def __init__(
        self, connection: Connection, endpoint: Endpoint, keys: Keys, policy: Policy, clock: Clock
    ) -> None:
        self.connection, self.endpoint, self.clock = connection, endpoint, clock
        self.custody = Custody(keys, lambda: policy)
        self.told = Imported()

    async def begin(self) -> None:
        """Make sure that commits wait for the disk and that the month has its partition, as the door does.

        Raises: Retryable when the database would acknowledge before the disk has it.
        """
        await store.insist_on_durability(self.connection)
        await make_partitions(self.connection, self.clock.now())

    async def take(self, batch: Sequence[Given]) -> list[Turned]:
        """Store what is new in a batch; returns what was refused. Committed when this returns."""
        fresh = await self._fresh(batch)
        read = [(one, self._read(one)) for one in fresh]
        turned = [Turned(one.place, told.reason, one.raw) for one, told in read if isinstance(told, Refused)]
        arrived = _oldest_first([(one, told) for one, told in read if isinstance(told, Arrival)])
        rows = await asyncio.gather(*(self.custody.row(arrival) for _, arrival in arrived))
        given = zip((one for one, _ in arrived), rows, strict=True)
        turned += await self._stored({(row.account, row.id): (one, row) for one, row in given})
        self.told.refused += len(turned)
        self.told.passed_over = self.told.seen - self.told.stored - self.told.refused
        return turned

    async def _fresh(self, batch: Sequence[Given]) -> list[Given]:
        """Those that are not stored yet. What cannot be named this quickly stays, and is looked at closely."""
        named = [(self._quick_name(one.raw), one) for one in batch]
        known = await archive_store.known(self.connection, {name for name, _ in named if name})
        self.told.seen += len(batch)
        return [one for name, one in named if name is None or name not in known]

    def _quick_name(self, raw: bytes) -> tuple[str, str] | None:
        """(account, id) of an event: most of a second run is this."""
        try:
            body = orjson.loads(raw)
            name = body.get("account") if self.endpoint.connect else self.endpoint.account, body["id"]
        except (ValueError, AttributeError, KeyError, TypeError):
            return None
        return name if all(isinstance(part, str) and part.isprintable() for part in name) else None

    def _read(self, one: Given) -> Arrival | Refused:
        """The event in an element of a file, by the rules of the door."""
        if len(one.raw) > BODY_BYTES_MAX:
            return TOO_LARGE
        raw, removed = cards.cut(one.raw)
        body = document.read(raw)
        if isinstance(body, Refused):
            return body
        return envelope.arrival(
            self.endpoint, body, raw, source="import", cards=removed, now=self.clock.now(), trace=telemetry.new_trace()
        )  # fmt: skip

    async def _stored(self, rows: Mapping[tuple[str, str], tuple[Given, store.Row]]) -> list[Turned]:
        """Commit together; what the database refuses goes one by one, so that only the bad one stays out."""
        if not rows:
            return []
        try:
            new = await store.store(self.connection, [row for _, row in rows.values()])
        except OF_THE_ROW:
            if len(rows) > 1:
                return [t for name, pair in rows.items() for t in await self._stored({name: pair})]
            return [Turned(one.place, NOT_STORED, one.raw) for one, _ in rows.values()]
        self.told.stored += len(new)
        self.told.cards += sum(rows[name][1].cards for name in new)
        return []


def _oldest_first(arrived: list[tuple[Given, Arrival]]) -> list[tuple[Given, Arrival]]:
    """Lines keep their order. What a list holds is turned round: Stripe's begin with the newest."""
    if all(one.listed for one, _ in arrived):
        arrived.reverse()
        arrived.sort(key=lambda pair: pair[1].event.time)
    return arrived
