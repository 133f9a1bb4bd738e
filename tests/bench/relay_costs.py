"""What a stretch of work cost the three of them. Units: seconds of CPU."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from lab.stack import kafka
from lab.stack.jars import CHECKOUT
from tests.bench import ingest_cpu


@dataclass(slots=True)
class Costs:
    """Of the broker and of the database; a process of ours counts its own."""

    broker: float = 0.0
    postgres: float = 0.0


@asynccontextmanager
async def counted(dsn: str) -> AsyncIterator[Costs]:
    """Filled in when the block ends. Raises: StackError where the servers are not ours to look at."""
    broker = kafka.Cluster.at(CHECKOUT / ".millrace" / "test-stack").brokers[0].pid
    postmaster = await ingest_cpu.postmaster(dsn)
    costs = Costs()
    before = ingest_cpu.used([broker]), ingest_cpu.used_by_tree(postmaster)
    yield costs
    costs.broker = ingest_cpu.used([broker]) - before[0]
    costs.postgres = ingest_cpu.used_by_tree(postmaster) - before[1]
