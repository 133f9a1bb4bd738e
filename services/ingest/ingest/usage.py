"""Which secret has vouched for how much: what a rotation is judged by."""

from __future__ import annotations

from datetime import datetime

from ingest.domain.rotation import Used
from millrace.postgres import Connection

USED = """
-- What each secret of each endpoint has vouched for since an instant.
select endpoint, secret, count(*) as events, max(received_at) as last
  from ingest.event
 where received_at >= $1
   and secret <> ''
 group by endpoint, secret
"""


async def used(connection: Connection, since: datetime) -> dict[tuple[str, str], Used]:
    """(endpoint, name of the secret) → the events stored under its signature since then, and when the last came."""
    rows = await connection.fetch(USED, since)
    return {(row["endpoint"], row["secret"]): Used(row["events"], row["last"]) for row in rows}
