"""Whatever is asked of the double, it answers: with a success or with a refusal, and never by stumbling.

Requests are made from each operation's own parameters: values of the right kind and of the wrong one, ids of
the wrong objects, times and numbers that nobody means. Each is done in a step that is thrown away.
"""

from __future__ import annotations

import functools
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from millrace_lab.account import Account
from millrace_lab.api.refusals import read
from millrace_lab.composition import OPERATIONS
from millrace_lab.errors import StripeError
from millrace_lab.versions import KNOWN
from millrace_lab.versions.requests import translated
from tests.support.double import OPENS, Double
from tests.unit.millrace_lab.edge.shop import whole_story

Strategy = st.SearchStrategy[Any]
TEXTS = ("", "abc", "-1", "0.5", "NaN", "1e5", "9" * 30, "usd", "eur", "jpy", "now", "é☃", "pm_card_visa",
         "tok_visa", "a@b.c", "https://example.com/", "month", "2026-10-28.endive")  # fmt: skip
NUMBERS = (0, 1, 2, 12, 100, -1, 99_999_999, 10**12, OPENS, OPENS - 40 * 86_400, OPENS + 40 * 86_400, 10**14)
WRONG = st.sampled_from(["", "abc", [], {}, ["x"], [{}], [[]], {"a": "b"}, {"0": "x"}])


@functools.cache
def story() -> Account:
    stripe = Double()
    whole_story(stripe)
    return stripe.account


def ids() -> Strategy:
    """Any object's id; of each kind as often, however many there are."""
    kinds = [list(found) for found in story().kinds.values() if found]
    return st.sampled_from(kinds).flatmap(st.sampled_from)


@functools.cache
def params(model: type[BaseModel], depth: int = 0) -> Strategy:
    """The parameters of an operation: some of them, the required ones nearly always."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    needed = {name: values(field.annotation, depth) for name, field in fields.items() if field.is_required()}
    more = {name: values(field.annotation, depth) for name, field in fields.items() if name not in needed}
    return st.fixed_dictionaries(needed, optional=more)


def values(annotation: Any, depth: int) -> Strategy:
    origin = get_origin(annotation)
    if origin is Annotated:
        return values(get_args(annotation)[0], depth)
    if origin in (Union, UnionType):
        return st.one_of([values(each, depth) for each in get_args(annotation) if each is not NoneType])
    return _right(annotation, origin, depth) | WRONG


def _right(annotation: Any, origin: Any, depth: int) -> Strategy:
    if origin is Literal:
        return st.sampled_from(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return st.deferred(lambda: params(annotation, depth + 1)) if depth < 4 else st.just({})
    if origin is list:
        return st.lists(values(get_args(annotation)[0], depth + 1), max_size=2)
    if origin is dict:
        return st.dictionaries(
            st.sampled_from(["a", "eur"]), values(get_args(annotation)[1], depth), max_size=2
        )
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return st.sampled_from(NUMBERS)
    return ids() | st.sampled_from(TEXTS)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_every_request_is_answered(data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(OPERATIONS))
    named = [data.draw(ids()) for part in operation.path.split("/") if part.startswith("{")]
    asked = data.draw(params(operation.params))
    try:
        asked = translated(operation.route, asked, data.draw(st.sampled_from(KNOWN)))
        operation.run(story().step(), read(operation, asked), *named)
    except (StripeError, ValidationError):
        pass  # refused; what the parameters are made into is refused as they are
