"""Every statement of sealing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from millrace import audit
from millrace.postgres import Connection, Pool, Schema, Series, Transaction, transaction

SCHEMA = Schema("sealing", (audit.TABLE, Series("sealing", "millrace.migrations.sealing")))
SEALS = Series("seals", "millrace.migrations.seals")  # in every schema whose role seals
OPENS = Series("opens", "millrace.migrations.opens")  # in every schema whose role opens


class Wanted(NamedTuple):
    """Whose key, and for what."""

    account: str
    customer: str
    purpose: str  # data | index


class KeyRow(NamedTuple):
    """A key as it is stored. `wrapped` is None once it was destroyed."""

    id: int
    account: str
    customer: str
    purpose: str
    version: int
    kek: str
    wrapped: bytes | None
    is_old: bool = False  # time for the next version

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.account, self.customer, self.purpose)


class Count(NamedTuple):
    """How many keys there are of a purpose under a key-encryption key; kek '' stands for the destroyed."""

    purpose: str
    kek: str
    keys: int


NEWEST = """
-- The newest key of each of these, destroyed or not.
select key.id, key.account, key.customer, key.purpose, key.version, key.kek, key.wrapped,
       key.created_at < now() - make_interval(days => $4) as is_old
  from unnest($1::text[], $2::text[], $3::text[]) as wanted (account, customer, purpose)
 cross join lateral (
    select *
      from sealing.subject_key
     where (account, customer, purpose) = (wanted.account, wanted.customer, wanted.purpose)
     order by version desc
     limit 1
 ) as key
"""


async def newest(pool: Pool, wanted: Iterable[Wanted], renew_days: int) -> list[KeyRow]:
    """The keys to seal under; who has none yet is not in the answer."""
    rows = await pool.fetch(NEWEST, *_columns(wanted, 3), renew_days)
    return [KeyRow(*row) for row in rows]


DURABLY = """
-- Whatever the role or the server defaults to: what a lost key sealed would be lost with it, and who is told to be
-- erased must not come back with a crash.
select set_config('synchronous_commit', 'on', true)
 where current_setting('synchronous_commit') not in ('on', 'remote_apply')
"""

ADD = """
-- New keys. Of two processes that make the same one, the first does; a fixed order keeps them from a deadlock.
insert into sealing.subject_key (account, customer, purpose, version, kek, wrapped)
select *
  from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[], $6::bytea[])
       as made (account, customer, purpose, version, kek, wrapped)
 order by account, customer, purpose
    on conflict do nothing
"""

Made = tuple[str, str, str, int, str, bytes]  # account, customer, purpose, version, kek, wrapped


async def add(pool: Pool, made: Sequence[Made]) -> None:
    """Writes: subject_key, committed to disk when this returns. Replay: nothing; the first stays."""
    async with transaction(pool) as tx:
        await tx.execute(DURABLY)
        await tx.execute(ADD, *_columns(made, 6))


BY_ID = """
-- The keys that these values name, those that are destroyed left out.
select id, account, customer, purpose, version, kek, wrapped
  from sealing.subject_key
 where id = any($1::bigint[]) and wrapped is not null
"""


async def by_id(pool: Pool, ids: Sequence[int]) -> list[KeyRow]:
    return [KeyRow(*row) for row in await pool.fetch(BY_ID, ids)]


INDEX = """
-- Who has which value. Those who are erased are passed over by the table's own guard.
insert into sealing.blind_index (account, field, digest, customer)
select * from unnest($1::text[], $2::text[], $3::bytea[], $4::text[])
    on conflict do nothing
"""

Indexed = tuple[str, str, bytes, str]  # account, field, digest, customer


async def index(connection: Connection, rows: Iterable[Indexed]) -> None:
    """Writes: blind_index. Replay: nothing."""
    await connection.execute(INDEX, *_columns(sorted(set(rows)), 4))


FIND = """
-- Everyone who has, or had, this value.
select customer from sealing.blind_index
 where (account, field, digest) = ($1, $2, $3)
 order by customer collate "C"
"""


async def find(pool: Pool, account: str, field: str, digest: bytes) -> list[str]:
    return [row["customer"] for row in await pool.fetch(FIND, account, field, digest)]


BURY = """
-- A subject that has no key yet gets a destroyed one, so that none is ever made for it.
insert into sealing.subject_key (account, customer, purpose, version, kek, destroyed_at)
values ($1, $2, 'data', 1, '', now())
    on conflict do nothing
"""

HOLD = """
-- Everything of this subject. Whoever makes a further key for it has committed, or waits and will see.
select id from sealing.subject_key where (account, customer) = ($1, $2) order by id for update
"""

DESTROY = """
-- All its keys, of every version. A statement after HOLD, so that it sees what was committed before.
update sealing.subject_key
   set wrapped = null, destroyed_at = now()
 where (account, customer) = ($1, $2) and wrapped is not null
"""

FORGET = """
-- And what could still be asked about it.
delete from sealing.blind_index where (account, customer) = ($1, $2)
"""


async def destroy(tx: Transaction, account: str, customer: str) -> int:
    """Erase a customer: destroy every key, for ever; returns how many. The caller writes why, in `tx`.

    Processes that hold a key in memory let go of it within the `seconds_max` of their `Keys`.
    Writes: subject_key, blind_index. Replay: 0, and the same end.
    """
    if not customer:
        raise ValueError("name a customer: an account's own key is everybody's")
    await tx.execute(DURABLY)
    await tx.execute(BURY, account, customer)
    await tx.execute(HOLD, account, customer)
    destroyed = await tx.execute(DESTROY, account, customer)
    await tx.execute(FORGET, account, customer)
    return int(destroyed.split()[-1])


WRAPPED_OTHERWISE = """
-- The next keys that another key-encryption key wraps, by id, so that one that does not open holds up none.
select id, account, customer, purpose, version, kek, wrapped
  from sealing.subject_key
 where wrapped is not null and kek <> $1 and id > $2
 order by id
 limit $3
"""


async def wrapped_otherwise(pool: Pool, kek: str, after: int, most: int) -> list[KeyRow]:
    return [KeyRow(*row) for row in await pool.fetch(WRAPPED_OTHERWISE, kek, after, most)]


LEFT = """
-- How many there are still.
select count(*) from sealing.subject_key where wrapped is not null and kek <> $1 and id > $2
"""


async def left(pool: Pool, kek: str, after: int) -> int:
    return int(await pool.fetchval(LEFT, kek, after))


REWRAP = """
-- The same keys, wrapped anew; none that was destroyed or wrapped by somebody else meanwhile.
update sealing.subject_key as key
   set kek = fresh.kek, wrapped = fresh.wrapped
  from unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[]) as fresh (id, was, kek, wrapped)
 where key.id = fresh.id and key.kek = fresh.was and key.wrapped is not null
"""


async def rewrap(pool: Pool, fresh: Sequence[tuple[int, str, str, bytes]]) -> int:
    """(id, kek before, kek, wrapped) of each; returns how many were changed. Writes: kek and wrapped only."""
    async with transaction(pool) as tx:
        await tx.execute(DURABLY)
        return int((await tx.execute(REWRAP, *_columns(fresh, 4))).split()[-1])


COUNTS = """
-- What wraps how many keys.
select purpose, case when wrapped is null then '' else kek end as kek, count(*) as keys
  from sealing.subject_key
 group by 1, 2
 order by 1, 2
"""


async def counts(pool: Pool) -> list[Count]:
    return [Count(*row) for row in await pool.fetch(COUNTS)]


def _columns(rows: Iterable[Sequence[object]], width: int) -> list[list[object]]:
    """Rows as the arrays that `unnest` takes."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
