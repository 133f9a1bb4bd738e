"""Search: a small query language over the objects of a kind. Source: docs.stripe.com/search.

    email:"ada@example.com" AND metadata["plan"]:"team"
    -active:"true" created>1782864000

Clauses are joined by AND (a blank means it too) or by OR, never by both. `:` is equal, `~` contains (three
characters at least), `<` and its kin compare numbers, a leading `-` turns a clause round. Letters are equal
to their capitals. Stripe's index runs up to a minute behind; this one does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body, invalid
from millrace_lab.operations import Operation
from millrace_lab.params import Params

CLAUSE = re.compile(
    r"""(?P<turned>-?)(?P<field>[a-z_]+)(\[(?P<quote>["'])(?P<key>[^"']+)(?P=quote)\])?
        (?P<how>:|~|>=|<=|>|<)(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[\w.-]+)""",
    re.VERBOSE,
)
JOINT = re.compile(r"\s+(?:(AND|OR)\s+)?", re.IGNORECASE)
SHORTEST = 3  # characters that `~` needs
COMPARED: dict[str, Callable[[int, int], bool]] = {
    ">": int.__gt__,
    ">=": int.__ge__,
    "<": int.__lt__,
    "<=": int.__le__,
}
Holds = Callable[[Body], bool]


class SearchParams(Params):
    query: Annotated[str, Field(min_length=1)]
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    page: str | None = None


def operation(kind: str, url: str, *fields: str) -> Operation:
    """The search over a kind, by some of its fields. Raises, when run, StripeError 400 for a wrong query."""

    def search(step: Step, params: SearchParams) -> Body:
        holds = understood(params.query, fields)
        found = [body for body in step.all(kind) if holds(body)][::-1]
        return _page(found, params, f"{url}/search")

    return Operation(f"GET {url}/search", search, SearchParams)


def understood(query: str, fields: tuple[str, ...]) -> Holds:
    """What a query asks of an object. Raises StripeError 400 in words that name what was not understood."""
    clauses: list[Holds] = []
    joints: set[str] = set()
    at = 0
    while True:
        clause = CLAUSE.match(query, at)
        if clause is None:
            raise invalid(
                f"We were unable to parse your search query. Problem near: {query[at:][:40]}", "query"
            )
        clauses.append(_clause(clause, fields))
        at = clause.end()
        joint = JOINT.match(query, at)
        if joint is None or joint.end() == len(query):
            break
        joints.add((joint[1] or "AND").upper())
        at = joint.end()
    refuse_unless(
        not query[at:].strip(),
        f"We were unable to parse your search query. Problem near: {query[at:][:40]}",
        "query",
    )
    refuse_unless(len(joints) < 2, "You cannot combine AND and OR operators in one query.", "query")
    together = any if joints == {"OR"} else all
    return lambda body: together(clause(body) for clause in clauses)


def _clause(clause: re.Match[str], fields: tuple[str, ...]) -> Holds:
    field, key, how = clause["field"], clause["key"], clause["how"]
    refuse_unless(
        field in fields and (key is None) == (field != "metadata"),
        f"Field `{field}` is an unsupported search field for this resource.",
        "query",
    )
    holds = _test(how, _unquoted(clause["value"]), quoted=clause["value"][0] in "\"'")
    turned = bool(clause["turned"])

    def of(body: Body) -> bool:
        value = body["metadata"].get(key) if key is not None else body[field]
        return holds(value) != turned

    return of


def _test(how: str, wanted: str, *, quoted: bool) -> Callable[[Any], bool]:
    if how in COMPARED:
        refuse_unless(wanted.isdigit(), f"`{how}` compares numbers: {wanted} is none.", "query")
        return lambda value: type(value) is int and COMPARED[how](value, int(wanted))
    if how == "~":
        refuse_unless(len(wanted) >= SHORTEST, f"`~` needs at least {SHORTEST} characters.", "query")
        return lambda value: value is not None and wanted.lower() in _text(value)
    if wanted == "null" and not quoted:
        return lambda value: value is None
    return lambda value: value is not None and wanted.lower() == _text(value)


def _text(value: Any) -> str:
    return str(value).lower()


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value[0] in "\"'" else value


def _page(found: list[Body], params: SearchParams, url: str) -> Body:
    """One page; `next_page` is an opaque word for where the next one starts."""
    places = {body["id"]: place for place, body in enumerate(found)}
    refuse_unless(params.page is None or params.page in places, f"Invalid page: {params.page}", "page")
    start = places[params.page] if params.page else 0
    end = start + params.limit
    more = end < len(found)
    return {
        "object": "search_result",
        "data": found[start:end],
        "has_more": more,
        "next_page": found[end]["id"] if more else None,
        "url": url,
    }
