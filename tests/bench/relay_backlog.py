"""A backlog such as an outage leaves: rows of 2.4 KB with the headers of a Stripe event."""

from __future__ import annotations

import asyncpg

from tests.integration.outbox_relay.arena import Arena

BACKLOG = """
insert into outbox.event (topic, key, headers, payload)
select $1, 'acct_1MillraceBench/cus_' || lpad((n * 7919 % $3)::text, 14, '0'),
       jsonb_build_object(
           'ce_specversion', '1.0', 'ce_id', 'evt_1' || md5(n::text), 'ce_type', 'stripe.invoice.paid',
           'ce_source', 'stripe/acct_1MillraceBench', 'ce_subject', 'in_1' || md5('in' || n),
           'ce_time', '2026-11-21T12:00:00Z', 'ce_dataschema', '2026-10-28.endive',
           'content-type', 'application/json',
           'traceparent', '00-' || md5('t' || n) || '-' || left(md5('s' || n), 16) || '-01'),
       convert_to(rpad('{"id":"evt_1' || md5(n::text) || '","object":"event","data":{"object":{"customer":"' ||
           md5('c' || n) || '","lines":[' ||
           (select string_agg('{"id":"il_' || md5(n || '-' || l) || '","amount":' || n * l % 9973 ||
                   ',"currency":"usd","description":"Seats of the growth plan","period":{"start":1767225600,' ||
                   '"end":1769904000},"proration":false,"quantity":' || l || '}', ',')
              from generate_series(1, 12) as l) || ']}}}', 2400), 'UTF8')
  from generate_series(1, $2) as n
"""
# What the loop marks: the same rows, with the column that it needs and its partial index.
PENDING = """
create table pending as select id, topic, key, headers, payload, null::timestamptz as published_at from outbox.event;
alter table pending add primary key (id);
create index on pending (id) where published_at is null;
"""


async def backlog(it: Arena, rows: int, keys: int = 2000) -> None:
    async with it.connection() as connection:
        await connection.execute(BACKLOG, it.topic, rows, keys)
        await tidy(connection)


async def pending(it: Arena) -> None:
    async with it.connection() as connection:
        await connection.execute(PENDING)
        await tidy(connection)


async def tidy(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Nothing left for autovacuum or the checkpointer to do during a run."""
    await connection.execute("vacuum analyze")
    await connection.execute("checkpoint")
