"""The way out: an event is published by writing its row in the transaction that makes it true.

There is no other way to publish. The relay carries committed rows to Kafka, exactly once and in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import orjson

from millrace.events import Event, headers
from millrace.events.keys import key_hash
from millrace.events.ours import Payload
from millrace.postgres import Connection, Schema, Series, Transaction
from millrace.telemetry import child_trace

SCHEMA = Schema("outbox", (Series("outbox", "millrace.migrations.outbox"),))  # one in each database
WRITES = Series("writes_outbox", "millrace.migrations.writes_outbox")  # in every schema whose role publishes
DAYS_AHEAD = 7  # so long writers go on when nobody makes days any more

INSERT = """
-- One row an event, in the order given: ids grow with it.
insert into outbox.event (topic, key, hash, headers, payload)
select topic, key, hash, headers, payload
  from unnest($1::text[], $2::text[], $3::int[], $4::jsonb[], $5::bytea[])
       with ordinality as row (topic, key, hash, headers, payload, place)
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
        [key_hash(e.key) for e in events],
        [headers(e) for e in events],
        [orjson.dumps(e.data, default=dict) for e in events],
    )


def caused(cause: Event, by: str, *payloads: Payload) -> list[Message]:
    """What an event made happen in the consumer `by`, ready to publish: the same cause gives the same ids."""
    return [
        Message(payload.TOPIC, _effect(payload, cause, by, place)) for place, payload in enumerate(payloads)
    ]


def _effect(payload: Payload, cause: Event, by: str, place: int) -> Event:
    id = f"{by}.{cause.id}.{place}"
    trace = child_trace(cause.trace, id)
    return payload.event(id=id, source=f"millrace/{by}", at=cause.time, trace=trace, recorded=cause.recorded)


MAKE_DAYS = """
-- The tables of yesterday, today and the next days, as far as they are missing.
select outbox.make_days($1)
"""


async def make_days(connection: Connection, ahead: int = DAYS_AHEAD) -> list[date]:
    """Make the days that rows will be written in; returns those that were missing. Waits for no writer.

    Writes: tables, owned by the schema's owner. Every role that writes or reads the outbox may.
    Replay: makes none.
    """
    return [row[0] for row in await connection.fetch(MAKE_DAYS, ahead)]
