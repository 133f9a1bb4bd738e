"""Two databases held against each other: each table of a consumer, and what it published, in the order of its keys.

Everything is compared as PostgreSQL writes it; of bytes, length and hash: no payload ever comes near a screen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from millrace import topics
from millrace.consumer.compared import RUNTIME, Compared
from millrace.postgres import Connection

PAGE = 2000
UNTRACED = "some events were left in the event log alone, which keeps no traces"
SHOWN_MAX = 120  # characters of a value
WHOLE = Compared()


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same. Without a column, the whole row is on one side only."""

    table: str
    key: str
    column: str
    live: str | None
    rebuilt: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """What came of one table. `apart` says which columns were left out, and why."""

    name: str
    rows: int
    differing: int
    apart: Mapping[str, str]


@dataclass(slots=True)
class Comparison:
    """Everything that was compared. All differences are counted, the first ones kept."""

    keep: int
    tables: list[Table] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    @property
    def differing(self) -> int:
        return sum(table.differing for table in self.tables)

    async def add(self, name: str, apart: Mapping[str, str], pairs: AsyncIterator[list[Difference]]) -> None:
        """Take in a table: a list of differences for each row, empty where it is the same."""
        rows = differing = 0
        async for found in pairs:
            rows += 1
            differing += bool(found)
            self.differences += found[: max(0, self.keep - len(self.differences))]
        self.tables.append(Table(name, rows, differing, apart))


@dataclass(frozen=True, slots=True)
class Side:
    """A database while it is compared: a connection inside a transaction, which speaks UTC."""

    connection: Connection
    until: int = 0  # outbox rows up to here may have lost their counterpart with its day


TABLES = """
-- The tables of a schema with their columns, their types, and which of them make the primary key.
select c.relname as table, a.attname as column, a.atttypid = 'bytea'::regtype as is_bytes,
       coalesce(a.attnum = any(i.indkey), false) as is_key
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_index i on i.indrelid = c.oid and i.indisprimary
 where c.relnamespace = $1::text::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
 order by c.relname, a.attnum
"""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    is_bytes: bool
    is_key: bool


async def compare(
    live: Side,
    rebuilt: Side,
    schema: str,
    declared: Mapping[str, Compared],
    by_the_clock: Sequence[str] = (),
    *,
    keep: int,
    traced: bool = True,
) -> Comparison:
    """Every table of a consumer, and every event it published because of another. Without traces, if they are lost."""
    found = Comparison(keep)
    here, there = await _tables(live.connection, schema), await _tables(rebuilt.connection, schema)
    rules = {name: rule if traced else _untraced(rule) for name, rule in {**RUNTIME, **declared}.items()}
    for name in sorted(here | there):
        rule = rules.get(name, WHOLE)
        if here.get(name) != there.get(name):
            await found.add(f"{schema}.{name}", {}, _otherwise(name, here.get(name), there.get(name)))
        elif not rule.passed_over:
            await found.add(
                f"{schema}.{name}", rule.apart, _table(live, rebuilt, schema, name, here[name], rule)
            )
    lost = [] if traced else ["traceparent"]
    apart = PUBLISHED_APART | dict.fromkeys(lost, UNTRACED)
    await found.add("outbox.event", apart, _published(live, rebuilt, schema, by_the_clock, lost))
    return found


def _untraced(rule: Compared) -> Compared:
    return replace(rule, apart={**rule.apart, **dict.fromkeys(rule.traces, UNTRACED)})


async def _tables(connection: Connection, schema: str) -> dict[str, tuple[Column, ...]]:
    found: dict[str, tuple[Column, ...]] = {}
    for row in await connection.fetch(TABLES, schema):
        column = Column(row["column"], row["is_bytes"], row["is_key"])
        found[row["table"]] = (*found.get(row["table"], ()), column)
    return found


async def _otherwise(
    name: str, here: tuple[Column, ...] | None, there: tuple[Column, ...] | None
) -> AsyncIterator[list[Difference]]:
    """A table that is built otherwise on the two sides. Its rows are not looked at."""
    columns = [None if side is None else " ".join(column.name for column in side) for side in (here, there)]
    yield [Difference(name, "", "columns", *columns)]


async def _table(
    live: Side, rebuilt: Side, schema: str, name: str, columns: tuple[Column, ...], rule: Compared
) -> AsyncIterator[list[Difference]]:
    key, rest, sql = statement(schema, name, columns, rule)
    sides = (_rows(side.connection, sql, len(key)) for side in (live, rebuilt))
    async for one, other in _pairs(*sides):
        yield _differences(f"{schema}.{name}", key, rest, one, other)


def statement(
    schema: str, name: str, columns: Sequence[Column], rule: Compared
) -> tuple[list[str], list[str], str]:
    """Key columns, the other ones, and the SQL that reads them in the order of the keys."""
    shown = {c.name: _shown(c, rule).format(schema=schema) for c in columns if c.name not in rule.apart}
    own = [c.name for c in columns if c.is_key and c.name not in rule.apart]
    if rule.summed:
        key, rest = [c for c in shown if c not in rule.summed], list(rule.summed)
        values = [f"sum(t.{c})::text" for c in rest]
    elif rule.counted or not (rule.known_by or own):
        key, rest, values = list(shown), ["how many"], ["count(*)::text"]
    else:
        key = list(rule.known_by or own)
        rest = [c for c in shown if c not in key]
        values = [shown[c] for c in rest]
    keys = [shown[c] for c in key]
    grouped = f"group by {', '.join(keys)}" if values and values[0].startswith(("sum(", "count(")) else ""
    return key, rest, (
        f"-- {name}, in the order of its keys.\n"
        f"select {', '.join(f'{sql} as k{n}' for n, sql in enumerate(keys))}"
        f"{''.join(f', {sql}' for sql in values)}\n"
        f'  from {schema}."{name}" t where {rule.only.format(schema=schema)} {grouped}\n'
        f"""order by {', '.join(f'({sql}) collate "C" nulls first' for sql in keys)}"""
    )  # fmt: skip


def _shown(column: Column, rule: Compared) -> str:
    """A column as text: what it stands for, or what it is."""
    if column.name in rule.named:
        return f"{rule.named[column.name]}::text"
    return _hashed(f't."{column.name}"') if column.is_bytes else f't."{column.name}"::text'


def _hashed(column: str) -> str:
    return f"(octet_length({column}) || ' bytes, sha-256 ' || encode(sha256({column}), 'hex'))"


PUBLISHED_APART = {
    "id": "a number in the order of writing",
    "xid": "the database's own number of the writing",
    "created_at": "when it was written",
}

PUBLISHED = f"""
-- What a consumer published because of an event, in the order of ids. Notices only of what is parked still: those of
-- what was settled since told of a wait, not of an end. A row may have lost its counterpart with its day up to $4.
select o.headers->>'ce_id', o.topic, o.key, o.hash::text, (o.headers - $5::text[])::text,
       {_hashed("o.payload")}, o.unpacked::text, o.id <= $4::bigint
  from outbox.event o
 where o.headers->>'ce_source' = 'millrace/' || $1 and o.topic <> all($2::text[])
   and (o.topic <> $3 or exists (
        select from {{schema}}.parked_event p
         where o.headers->>'ce_id' = $1 || '.parked.' || p.topic || '/' || p.partition || '/' || p.kafka_offset))
 order by (o.headers->>'ce_id') collate "C", o.topic collate "C"
"""
PUBLISHED_COLUMNS = ["key", "hash", "headers", "payload", "unpacked"]


async def _published(
    live: Side, rebuilt: Side, name: str, by_the_clock: Sequence[str], lost: list[str]
) -> AsyncIterator[list[Difference]]:
    sql, excepted = PUBLISHED.format(schema=name), list(by_the_clock)
    sides = (
        _rows(side.connection, sql, 2, name, excepted, topics.dead_letter(name), side.until, lost)
        for side in (live, rebuilt)
    )
    async for one, other in _pairs(*sides):
        if one is None and other and other[1][-1]:
            continue  # its counterpart went with its day
        yield _differences("outbox.event", ["id", "topic"], PUBLISHED_COLUMNS, one, other)


Row = tuple[tuple[str | None, ...], tuple[Any, ...]]  # key, the rest


async def _rows(connection: Connection, sql: str, width: int, *args: Any) -> AsyncIterator[Row]:
    async for row in connection.cursor(sql, *args, prefetch=PAGE):
        values = tuple(row)
        yield values[:width], values[width:]


async def _pairs(
    left: AsyncIterator[Row], right: AsyncIterator[Row]
) -> AsyncIterator[tuple[Row | None, Row | None]]:
    """Rows of the same key together; a row without a counterpart alone. Both sides come in the order of keys."""
    one, other = await anext(left, None), await anext(right, None)
    while one or other:
        if other is None or (one and _order(one) < _order(other)):
            yield one, None
            one = await anext(left, None)
        elif one is None or _order(other) < _order(one):
            yield None, other
            other = await anext(right, None)
        else:
            yield one, other
            one, other = await anext(left, None), await anext(right, None)


def _order(row: Row) -> tuple[tuple[bool, str], ...]:
    """As PostgreSQL's collation "C" with nulls first: by code points."""
    return tuple((value is not None, value or "") for value in row[0])


def _differences(
    table: str, key: Sequence[str], columns: Sequence[str], one: Row | None, other: Row | None
) -> list[Difference]:
    """What differs in a pair; for a row on one side only, that it is."""
    row = one or other
    assert row is not None  # a pair has one side at least
    name = ", ".join(f"{column}={_short(value)}" for column, value in zip(key, row[0], strict=True))
    if one is None or other is None:
        told = "there" if columns != ["how many"] else str(row[1][0])
        return [Difference(table, name, "", told if one else None, told if other else None)]
    return [
        Difference(table, name, column, _short(a), _short(b))
        for column, a, b in zip(columns, one[1], other[1], strict=False)
        if a != b
    ]


def _short(value: str | None) -> str | None:
    return value if value is None or len(value) <= SHOWN_MAX else value[: SHOWN_MAX - 1] + "…"
