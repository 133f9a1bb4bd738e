from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.millrace_lab.served import Hook, Served, hooked, serve
from tests.integration.millrace_lab.terminal import Terminal, begin, end


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    async with hooked() as found:
        yield found


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve() as found:
        yield found


@pytest.fixture(scope="module")
def terminal() -> Iterator[Terminal]:
    """One server for the tests of a file: none of them may mind what another one left."""
    process, about = begin("--clock", "held", "--start", "2026-07-01")
    try:
        yield Terminal(about)
    finally:
        end(process)
