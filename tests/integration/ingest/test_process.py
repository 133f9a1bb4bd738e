"""`python -m ingest`, as it is deployed."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from ingest.store import SCHEMA
from tests.integration.ingest.edge import Edge, body_of, process_on
from tests.support.database import MakeDatabase


async def test_it_stores_publishes_and_acknowledges_and_stops_when_asked(
    database: MakeDatabase, tmp_path: Path
) -> None:
    db = await database(SCHEMA)
    async with (
        process_on(db, tmp_path) as running,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as client,
    ):
        edge = Edge(running.port, db, client)
        answer = await edge.post(body_of("evt_1"), at=int(time.time()))
        assert (answer.status_code, answer.json()) == (200, {"received": True})
        assert await edge.stored() == ["evt_1"] == await edge.published()
        assert await running.stop() == 0
