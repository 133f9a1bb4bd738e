"""Events: what was told, newest first, for thirty days.

Rendered in the account's version whatever version the caller asks with, while a webhook is rendered in its
endpoint's: one event may have two shapes. Source: docs.stripe.com/api/events, docs/lab/behaviours.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated

from pydantic import Field

from millrace_lab import versions
from millrace_lab.account import DAY, Account, Step, Told, refuse_unless
from millrace_lab.errors import Body, missing
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, NoParams, Times
from millrace_lab.platform.event_types import matches

KEPT = 30 * DAY


class ListEvents(ListParams):
    created: Times | None = None
    delivery_success: bool | None = None
    type: Annotated[str | None, Field(max_length=5000)] = None
    types: Annotated[list[str] | None, Field(max_length=20)] = None


def rendered(account: Account, told: Told, version: str | None = None, *, pending: int = 0) -> Body:
    """The envelope of an event of this account in a version, or in the account's own.

    `pending` is how many endpoints have yet to take it. That of a connected account names it.
    """
    version = version or account.settings["api_version"]
    data: Body = {"object": versions.rendered(told.object, version, account.find)}
    if told.previous is not None:
        data["previous_attributes"] = versions.previous_attributes(
            told.object, told.previous, version, account.find
        )
    origin = {"account": told.account} if told.account else {}
    return {
        "id": told.id,
        "object": "event",
        **origin,
        "api_version": version,
        "created": told.created,
        "data": data,
        "livemode": account.livemode,
        "pending_webhooks": pending,
        "request": told.request,
        "type": told.type,
    }


def _listed(account: Account, told: Told) -> Body:
    pending = (account.platform or account).pending
    return rendered(account, told, pending=pending.get(told.id, 0))


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    told = step.account.by_event.get(id_)
    if told is None or told.thin or not _kept(step, told):
        raise missing("event", id_)
    return _listed(step.account, told)


def listing(step: Step, params: ListEvents) -> Page:
    refuse_unless(
        not (params.type and params.types),
        "You may only specify one of these parameters: type, types.",
    )
    found = _page(step, params, _wanted(step.account, params))
    return Page(
        [_listed(step.account, told) for told in found[: params.limit]], len(found) > params.limit, URL
    )


URL = "/v1/events"


def _page(step: Step, params: ListEvents, wanted: Callable[[Told], bool]) -> list[Told]:
    """One more than was asked for, newest first, so that one knows whether there are more."""
    refuse_unless(
        not (params.starting_after and params.ending_before),
        "You may only specify one of these parameters: ending_before, starting_after.",
    )
    if params.ending_before:
        newer = _after(step, _place(step, params.ending_before, "ending_before"), wanted)
        found = _first(newer, params.limit + 1)
        return found[: params.limit][::-1] + found[params.limit :]
    below = len(step.account.events)
    if params.starting_after:
        below = _place(step, params.starting_after, "starting_after")
    return _first(_before(step, below, wanted), params.limit + 1)


def _before(step: Step, number: int, wanted: Callable[[Told], bool]) -> Iterator[Told]:
    events = step.account.events
    for place in range(number - 1, -1, -1):
        told = events[place]
        if told.clock is None and not _kept(step, told):
            return
        if wanted(told) and _kept(step, told):
            yield told


def _after(step: Step, number: int, wanted: Callable[[Told], bool]) -> Iterator[Told]:
    events = step.account.events
    for place in range(number + 1, len(events)):
        if wanted(events[place]) and _kept(step, events[place]):
            yield events[place]


def _first(found: Iterator[Told], count: int) -> list[Told]:
    return [told for told, _ in zip(found, range(count), strict=False)]


def _place(step: Step, id_: str, param: str) -> int:
    told = step.account.by_event.get(id_)
    if told is None or told.thin:
        raise missing("event", id_, param)
    return told.number


def _kept(step: Step, told: Told) -> bool:
    return told.created > step.account.now - KEPT


def _wanted(account: Account, params: ListEvents) -> Callable[[Told], bool]:
    types = [params.type] if params.type else params.types

    def wanted(told: Told) -> bool:
        return (
            not told.thin
            and (types is None or matches(told.type, types))
            and (params.created is None or params.created.holds(told.created))
            and (
                params.delivery_success is None
                or params.delivery_success == (not account.pending.get(told.id))
            )
        )

    return wanted


OPERATIONS = (
    Operation("GET /v1/events", listing, ListEvents),
    Operation("GET /v1/events/{event}", retrieve),
)
