"""Where the relay stands in the outbox, and in which database.

    seen C ────────────── window S ──────────────▶ now
    published             visible in S, not in C; by id, page after page; then C := S

A row is addressed by the transaction that wrote it, not by its number: numbers are drawn before the commit,
so a late commit would slip below any number already passed.

C never claims more than the newest transaction whose row was published: Postgres may give the number of a
transaction that was rolled back just before a crash to another one afterwards, and its row would count as seen.
What is committed outlives the crash, and so no number below it is given again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

FIRST_XID = 3  # Postgres never gives a transaction a lower one


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions had ended at one moment: Postgres' own pg_snapshot."""

    xmin: int
    xmax: int
    xip: tuple[int, ...] = ()  # those in progress between xmin and xmax

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        xmin, xmax, xip = text.split(":")
        return cls(int(xmin), int(xmax), tuple(int(x) for x in xip.split(",") if x))

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.xip))}"

    def until(self, xmax: int) -> Snapshot:
        """The same, with everything from `xmax` on still to come."""
        xmax = min(self.xmax, xmax)
        xip = tuple(x for x in self.xip if x < xmax)
        return Snapshot(min(self.xmin, xmax), xmax, xip)

    def sees(self, xid: int) -> bool:
        """What pg_visible_in_snapshot answers."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.xip)


NOTHING = Snapshot(FIRST_XID, FIRST_XID)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which history of which database a cursor speaks of; transaction numbers mean nothing elsewhere."""

    system: int  # pg_control_system(): one for each initdb
    timeline: int  # grows with every promotion of a standby
    database: int  # its oid; a database that was made again has another

    def __str__(self) -> str:
        return f"{self.system}/{self.timeline}/{self.database}"


@dataclass(frozen=True, slots=True)
class Position:
    """All rows visible in `seen` are published; of the open window, those up to `last_id`."""

    seen: Snapshot = NOTHING
    window: Snapshot | None = None
    last_id: int = 0
    newest: int = 0  # the newest transaction with a row published from the open window

    @property
    def proven(self) -> int:
        """Every transaction before this one can never begin again, whatever happens to the server."""
        return max(self.seen.xmax, self.newest + 1)

    def within(self, window: Snapshot, last_id: int, newest: int) -> Position:
        """The window stays open: more of it follows."""
        return Position(self.seen, window, last_id, max(self.newest, newest))

    def past(self, window: Snapshot, newest: int) -> Position:
        """The window has been published whole."""
        return Position(seen=window.until(max(self.proven, newest + 1)))

    def owes(self, row_id: int, xid: int, now: Snapshot) -> bool:
        """Whether a row visible now is still unpublished here. The page to check the SQL against."""
        if self.seen.sees(xid) or not now.sees(xid):
            return False
        return not (self.window and self.window.sees(xid) and row_id <= self.last_id)


Sequences = Mapping[str, Sequence[int]]  # topic → the last number given in each partition


@dataclass(frozen=True, slots=True)
class Cursor:
    """What is published together with the rows that it covers."""

    identity: Identity
    position: Position
    pseq: Sequences
    generation: int = 0  # grows when a person lets the relay begin anew in another database

    def record(self) -> bytes:
        """As it stands in the cursor topic."""
        at, place = self.identity, self.position
        return orjson.dumps({
            "generation": self.generation,
            "system": str(at.system), "timeline": at.timeline, "database": at.database,
            "seen": str(place.seen), "window": str(place.window) if place.window else None,
            "last_id": place.last_id, "newest": place.newest, "pseq": self.pseq,
        })  # fmt: skip

    @classmethod
    def parse(cls, record: bytes) -> Cursor:
        it = orjson.loads(record)
        window = Snapshot.parse(it["window"]) if it["window"] else None
        return cls(
            identity=Identity(int(it["system"]), it["timeline"], it["database"]),
            position=Position(Snapshot.parse(it["seen"]), window, it["last_id"], it["newest"]),
            pseq={topic: tuple(numbers) for topic, numbers in it["pseq"].items()},
            generation=it["generation"],
        )


def moved(cursor: Cursor, found: Identity, now: Snapshot) -> str:
    """Why the cursor does not belong to the database that was found; '' when it does."""
    was = cursor.identity
    if was.system != found.system:
        return f"another PostgreSQL cluster (system identifier {found.system}, not {was.system})"
    if was.database != found.database:
        return f"another database of the cluster (oid {found.database}, not {was.database})"
    if was.timeline != found.timeline:
        return f"another timeline ({found.timeline}, not {was.timeline}): a promoted standby or a backup"
    if now.xmax < (proven := cursor.position.proven):
        return f"an earlier state of the database (next transaction {now.xmax}, {proven} was seen before)"
    return ""


@dataclass(frozen=True, slots=True)
class Halt:
    """Going on is a person's decision; the words say what to type."""

    words: str


def begin(left: Cursor | None, found: Identity, now: Snapshot, adopt: str) -> Cursor | Halt:
    """Where to begin, given the cursor that was left and the database that was found.

    `adopt` is what a person typed for one start: 'continue:' or 'republish:' and the identity that was found.
    """
    if left is None:
        return Cursor(found, Position(), {})
    if not (why := moved(left, found, now)):
        return left
    promoted = replace(left.identity, timeline=found.timeline) == found and now.xmax >= left.position.proven
    if promoted and adopt == f"continue:{found}":
        return replace(left, identity=found, generation=left.generation + 1)
    if adopt == f"republish:{found}":
        return Cursor(found, Position(), left.pseq, left.generation + 1)
    return Halt(MOVED.format(why=why, found=found) + (PROMOTED.format(found=found) if promoted else ""))


MOVED = (
    "the cursor belongs to another history: this is {why}. Start once with RELAY_ADOPT=republish:{found} and "
    "every row of this database is published again; consumers drop what they know"
)
PROMOTED = (
    ". If no committed row was lost (the standby was synchronous), start once with RELAY_ADOPT=continue:{found} "
    "instead"
)
