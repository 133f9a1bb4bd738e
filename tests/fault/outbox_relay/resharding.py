"""A change of the number of lanes, with a SIGKILL to itself at a step that the test names. All else is the product.

python -m tests.fault.outbox_relay.resharding, with DIE_AT=<step>, and DATABASE, KAFKA, CURSOR of the arena
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from millrace.postgres import Connection
from outbox_relay.commands import resharding
from outbox_relay.commands.office import Site
from outbox_relay.commands.resharding import _Handover
from outbox_relay.publisher import TxnPublisher

OLD, NEW = 2, 3
STEPS = {
    "begun": (_Handover, "_begun"),  # leases taken, the old lanes fenced
    "prepared": (_Handover, "_prepared"),  # topics made, the new lanes fenced
    "one_drained": (_Handover, "_lane_drained"),  # the others not
    "drained": (_Handover, "_drained"),
    "sent": (TxnPublisher, "send"),  # the transaction is open, with every cursor in it
    "committed": (TxnPublisher, "commit"),  # the copies in PostgreSQL are old
    "copied": (_Handover, "_copied"),
}
HANDED_OVER = ("committed", "copied")


def dies_after(step: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def dying(*args: Any, **named: Any) -> Any:
        await step(*args, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return dying


async def hands_over(self: _Handover, cursors: Any) -> None:
    """Pages are sent and committed before: die at the transaction that carries the cursors."""
    owner, name = STEPS[os.environ["DIE_AT"]]
    setattr(owner, name, dies_after(getattr(owner, name)))
    await kept(self, cursors)


async def nobody(_: Connection) -> None:
    return None


kept = _Handover._handed_over

if __name__ == "__main__":
    owner, name = STEPS[os.environ["DIE_AT"]]
    if owner is TxnPublisher:
        _Handover._handed_over = hands_over  # type: ignore[method-assign]
    else:
        setattr(owner, name, dies_after(getattr(owner, name)))
    resharding.CARRIED = ()
    where = Site(os.environ["DATABASE"], os.environ["KAFKA"], os.environ["CURSOR"])
    asyncio.run(resharding.reshard(where, "main", OLD, NEW, nobody))
