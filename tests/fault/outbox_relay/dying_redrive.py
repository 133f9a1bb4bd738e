"""The relay, with a signal to itself at a step of parking or redriving rows. Everything else is the product.

python -m tests.fault.outbox_relay.dying_redrive, with DIE_AT=<point>, DIE_AT_PASSAGE=<n>
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from millrace import service
from outbox_relay import app
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane
from outbox_relay.publisher import Publisher
from outbox_relay.settings import Settings
from outbox_relay.store.quarantine import Shelf

AFTER_STATEMENT = ("park", "decided", "park_again", "carried_out", "release")  # methods of the Shelf
POINTS = (*AFTER_STATEMENT, "before_redrive", "after_redrive")
passages = int(os.environ.get("DIE_AT_PASSAGE", "1"))


def here(point: str) -> None:
    """Go, if this is the passage at which to go."""
    global passages
    if os.environ.get("DIE_AT") == point:
        passages -= 1
        if passages == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def mortal(statement: str) -> None:
    doing = getattr(Shelf, statement)

    async def done(self: Shelf, *args: object) -> Any:
        result = await doing(self, *args)
        here(statement)
        return result

    setattr(Shelf, statement, done)


made = app.publisher


def publisher(settings: Settings, lane: Lane) -> Publisher:
    """Its transactions that carry a decision out are points, too."""
    one = made(settings, lane)
    publishing, known = one.publish, 0

    async def publish(batches: Any, cursor: Cursor, *halfway: Callable[[], None]) -> None:
        nonlocal known
        if cursor.redriven > known:
            here("before_redrive")
        await publishing(batches, cursor, *halfway)
        if cursor.redriven > known:
            here("after_redrive")
        known = cursor.redriven

    one.publish = publish  # type: ignore[method-assign,assignment]
    return one


if __name__ == "__main__":
    for name in AFTER_STATEMENT:
        mortal(name)
    app.publisher = publisher
    service.main("outbox-relay", Settings, app.main)
