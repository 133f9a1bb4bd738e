"""What the hosted pages can be asked, what time does to them, and what they hear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace_lab.account import Reaction, Step
from millrace_lab.errors import Body
from millrace_lab.hosted import portal, sessions, settling
from millrace_lab.operations import DueAction, Operation

OPERATIONS: tuple[Operation, ...] = (*sessions.OPERATIONS, *portal.OPERATIONS)
DUE: dict[str, DueAction] = {"checkout.session.expire": sessions.expired}
REACTIONS: dict[str, tuple[Reaction, ...]] = settling.REACTIONS
INCLUDED: dict[tuple[str, str], Callable[[Step, Body], Any]] = {
    (sessions.SESSION, "line_items"): sessions.included_items,
}
