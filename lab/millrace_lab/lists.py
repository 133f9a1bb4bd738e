"""Lists: newest first. The first API pages by the id of the last one seen, the second by a page's URL.

Source: docs.stripe.com/api/pagination, docs.stripe.com/api-v2-overview#list-pagination.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import Field

from millrace_lab.account import Step
from millrace_lab.errors import Body, invalid, missing
from millrace_lab.operations import Page
from millrace_lab.params import ListParams, Params, Range

Where = Callable[[Body], bool]


class PagedParams(Params):
    """What every list of the second API takes; `page` comes from the URL that the page before gave."""

    limit: Annotated[int, Field(ge=1, le=100)] = 10
    page: str | None = None


def page(
    step: Step,
    kind: str,
    params: ListParams,
    url: str,
    where: Where = lambda _: True,
    parent: str | None = None,
    *,
    by: Iterable[str] = (),
) -> Page:
    """A page of the objects of a kind (of one parent), newest first.

    `by` names the parameters that are filters on the field of their name; `where` is any other filter.
    """
    wanted = [(name, asked) for name in by if (asked := getattr(params, name)) is not None]
    found: Iterable[Body] = step.all(kind) if parent is None else step.of(kind, parent)
    held = [body for body in found if _fits(body, wanted) and where(body)]
    return cut(held[::-1], params, url, kind)


def _fits(body: Body, wanted: list[tuple[str, Any]]) -> bool:
    """Whether each field has the value that was asked for; a time, whether it lies in the range."""
    return all(
        asked.holds(body[name]) if isinstance(asked, Range) else body[name] == asked for name, asked in wanted
    )


def cut(found: list[Body], params: ListParams, url: str, kind: str = "object") -> Page:
    """The asked page of a list that is already in order."""
    if params.starting_after and params.ending_before:
        raise invalid("You may only specify one of these parameters: ending_before, starting_after.")
    if params.ending_before:
        end = _place(found, params.ending_before, "ending_before", kind)
        start = max(0, end - params.limit)
        return Page(found[start:end], start > 0, url)
    start = 0
    if params.starting_after:
        start = _place(found, params.starting_after, "starting_after", kind) + 1
    return Page(found[start : start + params.limit], start + params.limit < len(found), url)


def _place(found: list[Body], id_: str, param: str, kind: str) -> int:
    for number, body in enumerate(found):
        if body["id"] == id_:
            return number
    raise missing(kind, id_, param)


def second_page(found: list[Body], params: PagedParams, url: str) -> Page:
    """A page of the second API. The page's `url` is where the next one is, with the same filters."""
    start = 0
    if params.page:
        start = _place(found, params.page, "page", "page") + 1
    data = found[start : start + params.limit]
    more = start + params.limit < len(found)
    filters = {**params.model_dump(mode="json", exclude_unset=True), "limit": params.limit}
    following = {**filters, "page": data[-1]["id"]} if more else {}
    return Page(data, more, f"{url}?{_query(following)}" if more else url)


def _query(params: Body) -> str:
    pairs: list[tuple[str, str]] = []
    for key, value in params.items():
        if isinstance(value, dict):
            pairs += [(f"{key}[{name}]", str(each)) for name, each in value.items()]
        elif isinstance(value, list):
            pairs += [(f"{key}[{number}]", str(each)) for number, each in enumerate(value)]
        else:
            pairs.append((key, str(value)))
    return urlencode(pairs)


def listed(bodies: list[Body], url: str, *, most: int | None = None) -> Body:
    """A list inside an object, such as the lines of an invoice: at most `most` of them."""
    data = bodies if most is None else bodies[:most]
    return {"object": "list", "data": data, "has_more": len(data) < len(bodies), "url": url}
