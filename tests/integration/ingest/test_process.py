"""`python -m ingest`, as it is deployed."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import asyncpg
import httpx
import pytest

from ingest.store import SCHEMA
from tests.integration.ingest.edge import Edge, body_of, process_on, until
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


async def test_it_tells_the_probes_how_it_is_and_counts_by_outcome(
    database: MakeDatabase, tmp_path: Path
) -> None:
    db = await database(SCHEMA)
    with socket.create_server(("127.0.0.1", 0)) as free:
        health = free.getsockname()[1]
    async with (
        process_on(db, tmp_path, health) as running,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as client,
    ):
        probes = f"http://127.0.0.1:{health}"

        async def is_ready() -> bool:
            return (await client.get(f"{probes}/readyz")).status_code == 200

        await until(is_ready)
        edge = Edge(running.port, db, client)
        raw, at = body_of("evt_1"), int(time.time())
        answers = [await edge.post(raw, at=at), await edge.post(raw, at=at), await edge.post(b"[]", at=at)]
        assert [a.status_code for a in answers] == [200, 200, 400]
        text = (await client.get(f"{probes}/metrics")).text
        for outcome in ("stored", "duplicate", "refused"):
            assert f'millrace_ingest_requests_total{{endpoint="main",outcome="{outcome}"}} 1.0' in text
        assert 'millrace_ingest_refused_total{endpoint="main",reason="body_not_object"} 1.0' in text
        assert not [line for line in running.log if "in_1" in str(line) or "cus_1" in str(line)]


async def test_each_refusal_is_a_line_and_each_observation_has_its_trace(
    database: MakeDatabase, tmp_path: Path
) -> None:
    db = await database(SCHEMA)
    with socket.create_server(("127.0.0.1", 0)) as free:
        health = free.getsockname()[1]
    async with (
        process_on(db, tmp_path, health) as running,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as client,
    ):
        edge, at = Edge(running.port, db, client), int(time.time())
        secretly = body_of("evt_1", note="anna@example.com")
        assert (await edge.post(secretly, at=at)).status_code == 200
        for bad in ({"secret": b"whsec_no"}, {"at": at - 900}, {"signature": None}, {"path": "/anna"}):
            assert (await edge.post(secretly, **{"at": at, **bad})).status_code in (400, 404)  # type: ignore[arg-type]
        openmetrics = {"accept": "application/openmetrics-text; version=1.0.0"}
        text = (await client.get(f"http://127.0.0.1:{health}/metrics", headers=openmetrics)).text
        [row] = await edge.rows("select headers->>'traceparent' as trace from outbox.event")
        assert await running.stop() == 0
    lines = [line for line in running.log if line["message"] == "request refused"]
    assert [(line["endpoint"], line["reason"]) for line in lines] == [
        ("main", "signature_wrong"), ("main", "signature_expired"), ("main", "signature_missing"),
        ("unknown", "endpoint_unknown"),
    ]  # fmt: skip
    assert "anna" not in str(running.log)
    trace = row["trace"].split("-")[1]
    for name in ("request_seconds", "event_age_seconds"):
        assert [x for x in text.splitlines() if x.startswith(f"millrace_ingest_{name}_bucket") and trace in x]


async def test_without_its_tables_it_does_not_start_and_says_what_to_do(
    database: MakeDatabase, tmp_path: Path
) -> None:
    db = await database(SCHEMA)
    connection = await asyncpg.connect(db.owner)
    await connection.execute("delete from ingest.migration where series = 'ingest'")
    await connection.close()
    with pytest.raises(AssertionError, match="run `millrace migrate`"):
        async with process_on(db, tmp_path):
            pass
