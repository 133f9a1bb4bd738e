"""The access API over a real database and a real port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from entitlement.http import Served, api
from millrace.clock import FrozenClock
from millrace.consumer import Batches
from millrace.postgres import Pool
from tests.support.events import ACCOUNT, event_of, record, records_of
from tests.unit.entitlement.telling import CATALOG, CUSTOMER, DAY, NOON, Told, dunning, instant

DEADLINE_SECONDS = 20


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(instant(NOON + 3600))


@pytest.fixture
async def ask(pool: Pool, clock: FrozenClock) -> AsyncIterator[httpx.AsyncClient]:
    app = api(pool, lambda: CATALOG, clock)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://entitlement") as client:
        yield client


async def test_an_answer_has_verdict_reason_evidence_and_age(
    ask: httpx.AsyncClient, batches: Batches
) -> None:
    await batches.apply(records_of(Told(quantity=7).created().events))
    answer = await ask.get(f"/v1/access/{CUSTOMER}/seats")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "verdict": "limited",
            "kind": "seats",
            "limit": 7,
            "reason": "plan team of subscription sub_1, which is active",
            "rule": "status.active",
            "evidence": ["evt_sub_1_01"],
            "feature": "seats",
            "customer": CUSTOMER,
            "account": ACCOUNT,
            "catalog": CATALOG.version,
            "as_of": "2026-07-01T12:00:00Z",
            "staleness_seconds": 3600.0,
        },
    )


ASKED = """
 path                               | status  says
 cus_1/seats?account=acct_test      | 200     limited
 cus_1/seats?account=acct_other     | 200     no subscription of this customer has arrived
 cus_2/seats                        | 200     no subscription of this customer has arrived
 cus_1/saets                        | 404     no feature 'saets'; known: audit_log, automations, boards, export,
 cus_2/saets                        | 404     no feature 'saets'
 cus_1/seats?at=yesterday           | 400     at: 'yesterday' is not RFC 3339 with a zone
 cus_1/seats?at=2026-07-01T12:00:00 | 400     at: '2026-07-01T12:00:00' is not RFC 3339 with a zone
 cus_1/seats?at=                    | 400     at: ''
 cus_1?at=now                       | 400     at: 'now'
 cus_1/seats?at=2026-07-01T14:00:00%2B02:00 | 200  limited
 cus_1/seats?at=2026-07-01T14:00:00+02:00   | 200  limited
 cus_1/seats?at=2026-06-30T12:00:00Z        | 200  no subscription of this customer has arrived
"""


async def test_every_question_has_an_answer(ask: httpx.AsyncClient, batches: Batches) -> None:
    await batches.apply(records_of(Told().created().events))
    for row in ASKED.strip().splitlines()[1:]:
        path, _, expected = (part.strip() for part in row.partition("|"))
        status, says = expected.split(None, 1)
        answer = await ask.get(f"/v1/access/{path}")
        assert (path, answer.status_code, says in answer.text) == (path, int(status), True)


async def test_before_anything_is_known_the_age_is_unknown(ask: httpx.AsyncClient) -> None:
    answer = (await ask.get("/v1/access/cus_1/sso")).json()
    assert (answer["verdict"], answer["staleness_seconds"], answer["evidence"]) == ("denied", None, [])


async def test_all_features_at_once(ask: httpx.AsyncClient, batches: Batches) -> None:
    await batches.apply(records_of(Told(plan="starter").created().events))
    features = (await ask.get(f"/v1/access/{CUSTOMER}")).json()["features"]
    verdicts = {name: verdict["verdict"] for name, verdict in features.items()}
    assert verdicts == {**dict.fromkeys(CATALOG.features, "denied"), "boards": "limited", "export": "allowed"}
    nobody = (await ask.get("/v1/access/cus_nobody")).json()["features"]
    assert {verdict["verdict"] for verdict in nobody.values()} == {"denied"}


async def test_what_could_the_customer_do_then(ask: httpx.AsyncClient, batches: Batches) -> None:
    told = Told(quantity=5).created().later(DAY).seats(8).later(DAY).deleted()
    await batches.apply([*records_of(told.events[:2]), dunning("restricted", 2, at=NOON + DAY + 3600)])
    await batches.apply(records_of(told.events[2:]))
    seen = {
        day: await _then(ask, at)
        for day, at in {
            "day 0": "2026-07-01T12:00:00Z",
            "day 1": "2026-07-02T12:00:00Z",
            "day 1, an hour later": "2026-07-02T13:00:00Z",
            "day 2": "2026-07-03T12:00:00Z",
        }.items()
    }
    assert seen == {
        "day 0": (5, "status.active", ["evt_sub_1_01"]),
        "day 1": (8, "status.active", ["evt_sub_1_02"]),
        "day 1, an hour later": (None, "dunning.restricted", ["evt_sub_1_02", "dunning.in_9.2"]),
        "day 2": (None, "status.canceled", ["evt_sub_1_03"]),
    }


async def _then(ask: httpx.AsyncClient, at: str) -> tuple[Any, ...]:
    answer = (await ask.get(f"/v1/access/{CUSTOMER}/seats", params={"at": at})).json()
    return answer.get("limit"), answer["rule"], answer["evidence"]


async def test_a_scheduled_end_passes_without_an_event(
    ask: httpx.AsyncClient, batches: Batches, clock: FrozenClock
) -> None:
    await batches.apply(records_of(Told().created(cancel_at=NOON + DAY).events))
    assert (await ask.get(f"/v1/access/{CUSTOMER}/seats")).json()["until"] == "2026-07-02T12:00:00Z"
    clock.at = instant(NOON + DAY)
    answer = (await ask.get(f"/v1/access/{CUSTOMER}/seats")).json()
    assert (answer["verdict"], answer["rule"]) == ("denied", "cancel_scheduled")
    then = {"at": "2026-07-02T11:59:59Z"}
    assert (await ask.get(f"/v1/access/{CUSTOMER}/seats", params=then)).json()["verdict"] == "limited"


async def test_a_customer_of_two_accounts_must_say_which(ask: httpx.AsyncClient, batches: Batches) -> None:
    born = Told().created().events[0]
    await batches.apply([record(event_of(born)), record(event_of(born, account="acct_other"))])
    answer = await ask.get(f"/v1/access/{CUSTOMER}/seats")
    assert (answer.status_code, answer.json()["problem"]) == (
        400,
        "account: name one of acct_other, acct_test",
    )
    assert (await ask.get(f"/v1/access/{CUSTOMER}/seats?account=acct_other")).status_code == 200


async def test_without_its_database_it_says_so(ask: httpx.AsyncClient, pool: Pool) -> None:
    await pool.close()
    answer = await ask.get(f"/v1/access/{CUSTOMER}/seats")
    assert (answer.status_code, answer.json()["problem"]) == (503, "the database does not answer; ask again")


async def test_it_serves_on_a_port_until_it_is_told_to_stop(pool: Pool, clock: FrozenClock) -> None:
    part, stop = Served(api(pool, lambda: CATALOG, clock), "127.0.0.1", 0), asyncio.Event()
    assert part.ready() == "does not listen yet"
    serving = asyncio.create_task(part.run(stop))
    async with asyncio.timeout(DEADLINE_SECONDS):
        while part.ready():  # noqa: ASYNC110 uvicorn has no event that says it listens
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{part.port}") as client:
            assert (await client.get("/v1/access/cus_1/sso")).status_code == 200
        stop.set()
        await serving
