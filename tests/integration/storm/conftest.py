"""The consumers on a database of the session, emptied before every play; and the runs that they are put through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

import pytest

from lab.storm.direct import SCHEMAS, Direct, direct
from tests.integration.storm.planted import AnyFold
from tests.support.database import MakeDatabase

MakeDirect: TypeAlias = Callable[[dict[str, AnyFold]], Awaitable[Direct]]


@pytest.fixture
async def system_of(database: MakeDatabase) -> AsyncIterator[MakeDirect]:
    """The consumers, some of them other ones than ours."""
    async with AsyncExitStack() as open_:

        async def make(folds: dict[str, AnyFold]) -> Direct:
            made = await database(*SCHEMAS)
            return await open_.enter_async_context(direct(made.owner, folds))

        yield make
