"""The double in three lists: what may be asked, what time does, and who reacts to what.

A room never calls a room above it: it announces what happened, and the reactions here say who listens.
"""

from __future__ import annotations

from collections.abc import Callable

from millrace_lab.account import Reaction, Step
from millrace_lab.catalog import products
from millrace_lab.errors import Body
from millrace_lab.operations import DueAction, Operation

OPERATIONS: tuple[Operation, ...] = (*products.OPERATIONS,)

DUE: dict[str, DueAction] = {
    # what an agenda entry is called → what is done to its object when its second has come
}

REACTIONS: dict[str, tuple[Reaction, ...]] = {
    # what is announced → who reacts, in this order
}

INCLUDED: dict[tuple[str, str], Callable[[Step, Body], Body]] = {
    # (object, field) that is not in the body unless it is expanded → the list to put there
}
