"""`arena`: an outbox and topics of one's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from lab.stack import Stack
from tests.integration.outbox_relay.arena import Arena
from tests.support.database import MakeDatabase
from tests.support.kafka import MakeTopic

MakeArena = Callable[..., Awaitable[Arena]]


@pytest.fixture
def arena(stack: Stack, database: MakeDatabase, topics: MakeTopic) -> MakeArena:
    """`await arena(partitions=6, page_rows=50)` makes one; the rest are settings of the relay."""

    async def make(partitions: int = 3, **overrides: object) -> Arena:
        return Arena(
            owner=(await database()).owner,
            kafka=stack.kafka,
            topic=await topics("billing", partitions=partitions),
            cursor=await topics("cursor", partitions=1, config={"cleanup.policy": "compact"}),
            overrides=overrides,
        )

    return make
