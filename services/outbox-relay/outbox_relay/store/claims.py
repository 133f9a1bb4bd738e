"""Payloads that stay in PostgreSQL because they are too large for Kafka. They never pass through the relay."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.events.dataref import Claim
from millrace.postgres import Connection

CLAIM = """
-- Copied inside the server, as they rest; of a row whose day has been dropped, from the quarantine.
insert into outbox.claim (outbox_id, topic, payload, unpacked, sha256)
select id, topic, payload, unpacked, sha256(payload) from outbox.event where id = any($1)
 union all
select id, topic, payload, unpacked, sha256(payload) from outbox.quarantine q
 where id = any($1) and not exists (select from outbox.event e where e.id = q.id and e.created_at = q.written_at)
    on conflict (outbox_id) do nothing
"""

CLAIMED = """
-- What their records have to say.
select outbox_id, ref::text as ref, coalesce(unpacked, octet_length(payload)) as bytes, encode(sha256, 'hex') as sha256
  from outbox.claim
 where outbox_id = any($1)
"""


async def claim(connection: Connection, database: str, ids: Sequence[int]) -> dict[int, Claim]:
    """Lay up the payloads of these rows. Writes: a claim each, unless it is there. Replay: the same claims.

    Raises: LookupError when one is missing: a row without its claim must not be passed over.
    """
    await connection.execute(CLAIM, ids)
    found = await connection.fetch(CLAIMED, ids)
    claims = {row["outbox_id"]: Claim(database, row["ref"], row["bytes"], row["sha256"]) for row in found}
    if missing := set(ids) - claims.keys():
        raise LookupError(f"outbox rows {sorted(missing)} are gone: their payloads cannot be laid up")
    return claims
