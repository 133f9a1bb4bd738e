"""Rows that cannot go: how the one that the broker refuses is found, when a decided one may be tried again,
and the notice that says what was parked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import orjson

from millrace import topics
from millrace.events import headers
from millrace.events.keys import key_hash
from millrace.events.ours import OutboxParked
from outbox_relay.domain.cursor import Position
from outbox_relay.domain.page import OUTBOX, OUTBOX_ID, Page, Parked, Plan, Record

NOTICES = topics.dead_letter("outbox-relay")


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The search for a row that the broker refuses: fewer rows of its topic a page, until one is alone.

    Units: `limit` rows of the topic a page; `left` rows until the page that was first refused has passed.
    """

    topic: str
    limit: int
    left: int

    def cut(self, page: Page, position: Position) -> Page:
        """The part of a page, read at `position`, that is tried next."""
        suspects = [row.id for row in page.rows if row.topic == self.topic]
        return page.before(suspects[self.limit], position) if len(suspects) > self.limit else page

    def passed(self, rows: int) -> Narrowing | None:
        """So many were taken by the broker; None when all that were suspected have been."""
        return replace(self, left=self.left - rows) if self.left > rows else None


def narrowed(before: Narrowing | None, topic: str, suspects: int) -> Narrowing:
    """The next step after a page with so many suspects, two at least, was refused."""
    left = before.left if before and before.topic == topic else 0
    return Narrowing(topic, suspects // 2, max(left, suspects))


def sent(plan: Plan, topic: str) -> list[int]:
    """The rows whose records a plan sends to a topic, in order."""
    records = [r for (name, _), group in plan.batches.items() if name == topic for r in group]
    return sorted(int(found[OUTBOX_ID]) for r in records if OUTBOX_ID in (found := dict(r.headers)))


def stepped_over(position: Position, rows: Collection[tuple[int, int]]) -> bool:
    """Whether the pages with these rows (id, xid) are published: only then is everything before them, too.

    A row is parked before the transaction that steps over it. If that fails, earlier rows of its key still wait.
    """
    return all(_behind(position, row_id, xid) for row_id, xid in rows)


def _behind(position: Position, row_id: int, xid: int) -> bool:
    window = position.window
    return position.seen.sees(xid) or bool(window and window.sees(xid) and row_id <= position.last_id)


def notices(parked: Sequence[Parked], outbox: str, partitions: int, at: datetime) -> dict[int, list[Record]]:
    """A notice of each row, by partition. It stands in the transaction that steps over the row."""
    batches: dict[int, list[Record]] = {}
    for one in parked:
        event = _notice(one, outbox).event(
            id=f"{outbox}/{one.row.id}/{one.reason}", source="millrace/outbox-relay", at=at
        )
        carried = [(name, value.encode()) for name, value in headers(event).items()] + [
            (OUTBOX, outbox.encode())
        ]
        record = Record(event.key.encode(), orjson.dumps(event.data), carried)
        batches.setdefault(key_hash(event.key) % partitions, []).append(record)
    return batches


def _notice(parked: Parked, outbox: str) -> OutboxParked:
    row = parked.row
    account, _, customer = row.key.partition("/")
    return OutboxParked(
        account=account or "unknown",
        customer=customer,
        outbox=outbox,
        row_id=row.id,
        topic=row.topic,
        record_key=row.key,
        reason=parked.reason,
        detail=parked.detail,
        behind=parked.reason == "behind",
        bytes=row.size,
    )
