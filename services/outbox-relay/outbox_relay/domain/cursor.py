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

from outbox_relay.domain.lane import Lane, lanes

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
    redriven: int = 0  # the last decision about quarantined rows that is published
    retired: str = ""  # which lanes took over, when this one has none to publish any more

    def record(self) -> bytes:
        """As it stands in the cursor topic."""
        at, place = self.identity, self.position
        return orjson.dumps({
            "generation": self.generation,
            "system": str(at.system), "timeline": at.timeline, "database": at.database,
            "seen": str(place.seen), "window": str(place.window) if place.window else None,
            "last_id": place.last_id, "newest": place.newest, "pseq": self.pseq,
            "redriven": self.redriven, "retired": self.retired,
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
            redriven=it.get("redriven", 0),
            retired=it.get("retired", ""),
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


def promoted(cursor: Cursor, found: Identity, now: Snapshot) -> bool:
    """Whether it may be the same history on a later timeline. It is no proof: numbers that were lost with their
    rows are soon given out again, so whether the standby had every commit is a person's word."""
    same = replace(cursor.identity, timeline=found.timeline) == found
    return same and found.timeline != cursor.identity.timeline and now.xmax >= cursor.position.proven


@dataclass(frozen=True, slots=True)
class Obstacles:
    """What only a person may step over, as the database tells it."""

    foreign: int = 0  # rows of transactions that have not begun yet: restored from another cluster
    known: Sequence[str] = ()  # lanes whose cursors were in force when the database heard of them last


@dataclass(frozen=True, slots=True)
class Halt:
    """Going on is a person's decision; the words say what to type."""

    words: str


def begin(
    left: Cursor | None, found: Identity, now: Snapshot, lane: Lane, obstacles: Obstacles
) -> Cursor | Halt:
    """Where to begin, given the cursor that was left and the database that was found."""
    if left and left.retired:
        return Halt(RETIRED.format(lane=lane, heirs=left.retired))
    if obstacles.foreign:
        return Halt(RESTORED.format(lane=lane, rows=obstacles.foreign))
    if left is None:
        return _first(found, lane, obstacles.known)
    if not (why := moved(left, found, now)):
        return left
    return Halt(MOVED.format(lane=lane, why=why) + (PROMOTED if promoted(left, found, now) else ""))


def _first(found: Identity, lane: Lane, known: Sequence[str]) -> Cursor | Halt:
    """The first start begins at the first row; but it must be the first."""
    if str(lane) in known:
        return Halt(FORGOTTEN.format(lane=lane))
    siblings = {str(sibling) for sibling in lanes(lane.database, lane.shards)}
    if others := [name for name in known if name not in siblings]:
        named = ", ".join(others)
        return Halt(DIVIDED.format(lane=lane, known=named, database=lane.database, shards=lane.shards))
    return Cursor(found, Position(), {})


MOVED = (
    "the cursor of lane {lane} belongs to another history: this is {why}. `millrace relay rebase --lane {lane} "
    "--republish` shows how many rows would be published again, and with `--yes` has them published; consumers "
    "drop what they know"
)
PROMOTED = (
    ". If no committed row was lost (the standby was synchronous), use `--continue` instead of `--republish`: "
    "nothing is published twice"
)
RETIRED = (
    "lane {lane} has given its rows to {heirs}, which publish them now: start the relay with that RELAY_SHARDS, or go "
    "back with `millrace relay reshard`"
)
RESTORED = (
    "{rows} rows of the outbox are of transactions that this PostgreSQL cluster has not begun: they were restored "
    "from another one, and no snapshot would see them for a long time. `millrace relay rebase --lane {lane} "
    "--republish --yes` gives them transactions of this one and has every row published"
)
FORGOTTEN = (
    "lane {lane} has published before, but its cursor topic is empty: another Kafka, another RELAY_CURSOR_TOPIC, or "
    "a topic that was made anew. If that is meant, `millrace relay rebase --lane {lane} --republish` has everything "
    "published again"
)
DIVIDED = (
    "lane {lane} has no cursor, and this outbox is published by {known}: beginning here would publish everything "
    "twice. Change the number of shards with `millrace relay reshard --lane-database {database} --from … --to "
    "{shards}`, or set RELAY_SHARDS back"
)
