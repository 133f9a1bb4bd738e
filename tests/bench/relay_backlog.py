"""A backlog such as an outage leaves: rows of 2.4 KB with the headers of a Stripe event, or small ones of 300 bytes."""

from __future__ import annotations

import asyncpg

from tests.integration.outbox_relay.arena import Arena

BACKLOG = """
with key as materialized (
    select n, 'acct_1MillraceBench/cus_' || lpad(n::text, 14, '0') as key from generate_series(0, $3 - 1) as n
), hashed as materialized (
    select n, key, outbox.murmur2(key) as hash from key
)
insert into outbox.event (topic, key, hash, headers, payload)
select $1, key, hash,
       jsonb_build_object(
           'ce_specversion', '1.0', 'ce_id', 'evt_1' || md5(row.n::text), 'ce_type', 'stripe.invoice.paid',
           'ce_source', 'stripe/acct_1MillraceBench', 'ce_subject', 'in_1' || md5('in' || row.n),
           'ce_time', '2026-11-21T12:00:00Z', 'ce_dataschema', '2026-10-28.endive',
           'content-type', 'application/json',
           'traceparent', '00-' || md5('t' || row.n) || '-' || left(md5('s' || row.n), 16) || '-01'),
       convert_to(rpad('{"id":"evt_1' || md5(row.n::text) || '","object":"event","data":{"object":{"customer":"' ||
           md5('c' || row.n) || '","lines":[' ||
           (select string_agg('{"id":"il_' || md5(row.n || '-' || l) || '","amount":' || row.n * l % 9973 ||
                   ',"currency":"usd","description":"Seats of the growth plan","period":{"start":1767225600,' ||
                   '"end":1769904000},"proration":false,"quantity":' || l || '}', ',')
              from generate_series(1, 12) as l) || ']}}}', 2400), 'UTF8')
  from generate_series($4::bigint, $4 + $2 - 1) as row (n)
  join hashed on hashed.n = row.n * 7919 % $3
"""

SMALL = """
with key as materialized (
    select n, 'acct_1MillraceBench/cus_' || lpad(n::text, 14, '0') as key from generate_series(0, $3 - 1) as n
), hashed as materialized (
    select n, key, outbox.murmur2(key) as hash from key
)
insert into outbox.event (topic, key, hash, headers, payload)
select $1, key, hash, '{"ce_specversion": "1.0", "ce_type": "millrace.usage", "content-type": "application/json"}',
       convert_to(rpad('{"id":"' || md5(row.n::text) || '","quantity":' || row.n % 97 || '}', 160), 'UTF8')
  from generate_series($4::bigint, $4 + $2 - 1) as row (n)
  join hashed on hashed.n = row.n * 7919 % $3
"""  # 300 bytes as it rests: 160 of payload, the others of key, headers and the row itself

# What the loop marks: the same rows, with the column that it needs and its partial index.
PENDING = """
create table pending as select id, topic, key, headers, payload, null::timestamptz as published_at from outbox.event;
alter table pending add primary key (id);
create index on pending (id) where published_at is null;
"""
PART = 50_000  # rows a statement; each is a transaction, as an outage leaves many


async def backlog(it: Arena, rows: int, keys: int = 2000, statement: str = BACKLOG) -> None:
    async with it.connection() as connection:
        for first in range(1, rows + 1, PART):
            await connection.execute(
                statement, it.topic, min(PART, rows + 1 - first), keys, first, timeout=600
            )
        await tidy(connection)


async def pending(it: Arena) -> None:
    async with it.connection() as connection:
        await connection.execute(PENDING)
        await tidy(connection)


async def tidy(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Nothing left for autovacuum or the checkpointer to do during a run."""
    await connection.execute("vacuum analyze", timeout=600)
    await connection.execute("checkpoint", timeout=600)
