"""An edge of a test's own, on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ingest.store import SCHEMA
from tests.integration.ingest.edge import Edge, edge_on
from tests.support.database import MakeDatabase


@pytest.fixture
async def edge(database: MakeDatabase) -> AsyncIterator[Edge]:
    async with edge_on(await database(SCHEMA)) as running:
        yield running
