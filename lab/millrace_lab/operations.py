"""What an operation is: a route, the function behind it, and the parameters it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from millrace_lab.errors import Body
from millrace_lab.params import NoParams, Params


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of a room's table of operations.

    `run(step, params, *ids)` gets the path's ids in order and answers the object, or a `Page`. It never
    renders: what it answers is expanded and shown in the caller's version by `api`.

    `absent` names the parameters that Stripe has here and the double does not: sending one answers 501, where
    a name that Stripe does not know either answers 400. `permission` is what a restricted key needs, such as
    `customer_write`; without one it follows from the method and the first noun of the route.
    """

    route: str  # "POST /v1/customers/{customer}"
    run: Callable[..., Body | Page]
    params: type[Params] = NoParams
    absent: frozenset[str] = frozenset()
    permission: str | None = None

    @property
    def method(self) -> str:
        return self.route.split(" ", 1)[0]

    @property
    def path(self) -> str:
        return self.route.split(" ", 1)[1]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    data: list[Body]
    has_more: bool
    url: str


DueAction = Callable[..., None]
"""What time does to an object: `act(step, body)`. See `composition.DUE`."""
