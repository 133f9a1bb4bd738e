"""A consumer that is put together wrongly is refused before it reads its first event."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from millrace.consumer import Each
from millrace.events import Event
from millrace.postgres import Transaction
from tests.support.tally import fold


async def handle(tx: Transaction, event: Event) -> None: ...


class Handler:
    async def __call__(self, tx: Transaction, event: Event) -> str:
        return "handled by an object"


def plain(tx: Transaction, event: Event) -> None: ...


async def lonely(event: Event) -> None: ...


EACH: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"handlers": {"stripe.x": plain}}, TypeError, r"Each\('crm'\): the handler of stripe\.x must be an `async def"),
    ({"handlers": {"stripe.x": lonely}}, TypeError, "the handler of stripe.x must be"),
    ({"handlers": {"stripe.x": None}}, TypeError, "the handler of stripe.x must be"),
    ({"handlers": {"millrace.unheard.of": handle}}, ValueError, r"no schema knows millrace\.unheard\.of; known are"),
    ({"name": "CRM"}, ValueError, "a name is lower case letters"),
    ({"name": "crm; drop"}, ValueError, "a name is lower case letters"),
    ({"name": "c" * 41}, ValueError, "up to 40"),
    ({"independent": 0}, ValueError, "independent is 0"),
    ({"batch_seconds": 0}, ValueError, "batch_seconds is 0"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "refused", "named"), EACH, ids=[f"{n} {row[2]}" for n, row in enumerate(EACH)]
)
def test_an_each_that_cannot_work_is_refused(
    wrong: dict[str, Any], refused: type[Exception], named: str
) -> None:
    with pytest.raises(refused, match=named):
        Each(**{"name": "crm", "handlers": {"stripe.invoice.paid": handle}, **wrong})


def test_a_handler_may_be_a_function_a_method_or_an_object_and_types_of_other_teams_need_no_schema() -> None:
    Each("crm", {"crm.welcomed": handle, "stripe.x": Handler(), "stripe.y": Handler().__call__})


async def asynchronous(state: None, event: Event, rules: None) -> Any: ...


FOLD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"apply": {"stripe.x": asynchronous}}, TypeError, r"Fold\('tally'\): the rule of stripe\.x must be a plain `def"),
    ({"apply": {"stripe.x": "add"}}, TypeError, "the rule of stripe.x must be"),
    ({"apply": {"millrace.unheard.of": lambda s, e, r: None}}, ValueError, "no schema knows millrace.unheard.of"),
    ({"load": lambda tx, keys: {}}, TypeError, "load must be an `async def load"),
    ({"save": plain}, TypeError, "save must be an `async def save"),
    ({"name": "public schema"}, ValueError, "a name is lower case letters"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "refused", "named"), FOLD, ids=[f"{n} {row[2]}" for n, row in enumerate(FOLD)]
)
def test_a_fold_that_cannot_work_is_refused(
    wrong: dict[str, Any], refused: type[Exception], named: str
) -> None:
    with pytest.raises(refused, match=named):
        replace(fold(), **wrong)
