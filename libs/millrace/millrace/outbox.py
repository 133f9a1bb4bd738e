"""The way out: an event is published by writing its row in the transaction that makes it true.

There is no other way to publish. The relay carries committed rows to Kafka, exactly once and in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from millrace.events import Event, headers
from millrace.postgres import Schema, Series, Transaction

SCHEMA = Schema("outbox", (Series("outbox", "millrace.migrations.outbox"),))  # one in each database
WRITES = Series("writes_outbox", "millrace.migrations.writes_outbox")  # in every schema whose role publishes

INSERT = """
-- One row an event, in the order given: ids grow with it.
insert into outbox.event (topic, key, headers, payload)
select topic, key, headers, payload
  from unnest($1::text[], $2::text[], $3::jsonb[], $4::bytea[])
       with ordinality as row (topic, key, headers, payload, place)
 order by place
"""


@dataclass(frozen=True, slots=True)
class Message:
    """An event and the topic it goes to."""

    topic: str
    event: Event


async def publish(tx: Transaction, messages: Sequence[Message]) -> None:
    """Publish events when, and only if, this transaction commits.

    Writes: one outbox.event row each.
    Replay: publishes again; call it only after the cause's own dedupe row is in.
    """
    if not messages:
        return
    events = [m.event for m in messages]
    await tx.execute(
        INSERT,
        [m.topic for m in messages],
        [e.key for e in events],
        [headers(e) for e in events],
        [orjson.dumps(e.data) for e in events],
    )
