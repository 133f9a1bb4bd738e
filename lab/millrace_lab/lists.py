"""Lists: newest first, paged by the id of the last one seen. Source: docs.stripe.com/api/pagination."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from millrace_lab.account import Step
from millrace_lab.errors import Body, invalid, missing
from millrace_lab.operations import Page
from millrace_lab.params import ListParams

Where = Callable[[Body], bool]


def page(
    step: Step,
    kind: str,
    params: ListParams,
    url: str,
    where: Where = lambda _: True,
    parent: str | None = None,
) -> Page:
    """A page of the objects of a kind (of one parent), newest first, those for which `where` holds."""
    found: Iterable[Body] = step.all(kind) if parent is None else step.of(kind, parent)
    return cut([body for body in found if where(body)][::-1], params, url)


def cut(found: list[Body], params: ListParams, url: str) -> Page:
    """The asked page of a list that is already in order."""
    if params.starting_after and params.ending_before:
        raise invalid("You may only specify one of these parameters: ending_before, starting_after.")
    if params.ending_before:
        end = _place(found, params.ending_before, "ending_before")
        start = max(0, end - params.limit)
        return Page(found[start:end], start > 0, url)
    start = _place(found, params.starting_after, "starting_after") + 1 if params.starting_after else 0
    return Page(found[start : start + params.limit], start + params.limit < len(found), url)


def _place(found: list[Body], id_: str, param: str) -> int:
    for number, body in enumerate(found):
        if body["id"] == id_:
            return number
    raise missing(found[0]["object"] if found else "object", id_, param)


def listed(bodies: list[Body], url: str, *, most: int | None = None) -> Body:
    """A list inside an object, such as the lines of an invoice: at most `most` of them."""
    data = bodies if most is None else bodies[:most]
    return {"object": "list", "data": data, "has_more": len(data) < len(bodies), "url": url}
