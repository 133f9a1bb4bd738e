"""The double in three lists: what may be asked, what time does, and who reacts to what.

A room never calls a room above it: it announces what happened, and the reactions here say who listens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace_lab.account import Reaction, Step
from millrace_lab.catalog import operations as catalog
from millrace_lab.customers import operations as customers
from millrace_lab.errors import Body
from millrace_lab.hosted import operations as hosted
from millrace_lab.invoices import operations as invoices
from millrace_lab.operations import DueAction, Operation
from millrace_lab.payments import operations as payments
from millrace_lab.platform import accounts, clocks, destinations, endpoints, events, thin
from millrace_lab.subscriptions import operations as subscriptions
from millrace_lab.usage import operations as usage

OPERATIONS: tuple[Operation, ...] = (
    *catalog.OPERATIONS,
    *payments.OPERATIONS,
    *customers.OPERATIONS,
    *invoices.OPERATIONS,
    *subscriptions.OPERATIONS,
    *accounts.OPERATIONS,
    *clocks.OPERATIONS,
    *destinations.OPERATIONS,
    *endpoints.OPERATIONS,
    *events.OPERATIONS,
    *thin.OPERATIONS,
    *usage.OPERATIONS,
    *hosted.OPERATIONS,
)

DUE: dict[str, DueAction] = {
    # what an agenda entry is called → what is done to its object when its second has come
    **catalog.DUE,
    **payments.DUE,
    **customers.DUE,
    **invoices.DUE,
    **subscriptions.DUE,
    **usage.DUE,
    **hosted.DUE,
}


def together(*rooms: dict[str, tuple[Reaction, ...]]) -> dict[str, tuple[Reaction, ...]]:
    """The reactions of several rooms, each to the same announcement in the order of the rooms."""
    found: dict[str, tuple[Reaction, ...]] = {}
    for room in rooms:
        for what, reactions in room.items():
            found[what] = found.get(what, ()) + reactions
    return found


REACTIONS: dict[str, tuple[Reaction, ...]] = together(
    # what is announced → who reacts, in this order
    payments.REACTIONS,
    customers.REACTIONS,
    invoices.REACTIONS,
    subscriptions.REACTIONS,
    hosted.REACTIONS,
)

INCLUDED: dict[tuple[str, str], Callable[[Step, Body], Any]] = {
    # (object, field) that is not in the body unless it is expanded → what to put there
    **catalog.INCLUDED,
    **payments.INCLUDED,
    **customers.INCLUDED,
    **invoices.INCLUDED,
    **hosted.INCLUDED,
}
