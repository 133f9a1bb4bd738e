"""A month has a partition before its first event arrives, and whoever looks is told when it has not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ingest.store import SCHEMA
from tests.integration.ingest.operators import NOW, Operator, event, operator

__all__ = ["operator"]


async def test_months_are_made_ahead_and_once(operator: Operator) -> None:
    told = await operator.json("events", "partitions", "--make")
    assert told["made"] == ["2026-11", "2026-12", "2027-01", "2027-02"]
    assert (told["missing"], told["outside"]) == ([], {})
    assert [p["name"] for p in told["partitions"]] == [
        "event_2026_11", "event_2026_12", "event_2027_01", "event_2027_02", "event_default"
    ]  # fmt: skip
    assert (await operator.json("events", "partitions", "--make"))["made"] == []
    assert (await operator.json("events", "partitions", "--make", "--months", "5"))["made"] == [
        "2027-03",
        "2027-04",
    ]


async def test_a_missing_month_is_told_and_fails_the_command(operator: Operator) -> None:
    done = await operator.run("events", "partitions", code=3)
    assert "2026-11 has no partition" in done.stderr and "2026-12 has no partition" in done.stderr
    await operator.rows("select ingest.make_partition('2026-11-01')")
    assert (await operator.json("events", "partitions", code=3))["missing"] == ["2026-12"]
    await operator.rows("select ingest.make_partition('2026-12-01')")
    assert (await operator.json("events", "partitions"))["missing"] == []


STRAY = """
insert into ingest.event (account, id, type, created, api_version, livemode, received_at, source, raw, signature,
                          endpoint, secret)
select account, id || 'x', type, created, api_version, livemode, $1, source, raw, signature, endpoint, secret
  from ingest.event
 where id in ('evt_1', 'evt_2')
"""


async def test_what_lies_in_no_month_is_counted_and_warned_of(operator: Operator) -> None:
    await operator.take_in(event("evt_1"), event("evt_2"))
    next_month = NOW.replace(month=10, year=2027)
    await operator.rows(STRAY, next_month)
    operator.clock.turn(next_month - timedelta(days=20))
    done = await operator.run("events", "partitions", "--make", code=3)
    assert "warning: 2 events of 2027-10 lie in the default partition" in done.stderr
    told = await operator.json("events", "partitions", code=3)
    assert (told["outside"], told["missing"]) == ({"2027-10": 2}, ["2027-10"])
    operator.clock.turn(
        next_month + timedelta(days=30)
    )  # what it cannot mend it does not complain of for ever
    told = await operator.json("events", "partitions", "--make")
    assert (told["outside"], told["missing"]) == ({"2027-10": 2}, [])


async def test_an_import_makes_its_own_month_first(operator: Operator) -> None:
    await operator.take_in(event("evt_1"))
    assert len(await operator.rows("select from ingest.event_2026_11")) == 1


async def test_each_partition_says_what_it_holds(operator: Operator) -> None:
    await operator.json("events", "partitions", "--make")
    await operator.take_in(*(event(f"evt_{n}") for n in range(300)))
    await operator.rows("analyze ingest.event")
    told = await operator.json("events", "partitions")
    first, last = told["partitions"][0], told["partitions"][-1]
    assert (first["rows"], first["starts"], first["ends"]) == (
        300, "2026-11-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00"
    )  # fmt: skip
    assert first["bytes"] > 300 * 300
    assert (last["name"], last["starts"], last["ends"], last["rows"]) == ("event_default", None, None, 0)


async def test_the_role_of_ingest_is_enough(operator: Operator) -> None:
    operator.environment["MILLRACE_DATABASE"] = operator.db.dsn(SCHEMA)
    assert (await operator.json("events", "partitions", "--make"))["made"][0] == "2026-11"


async def test_a_customers_events_are_found_by_an_index_in_every_month(operator: Operator) -> None:
    await operator.json("events", "partitions", "--make")
    plan = await operator.rows(
        "explain (costs off) select id from ingest.event where customer = any(array['cus_1', 'cus_2'])"
    )
    told = "\n".join(line[0] for line in plan)
    for month in ("2026_11", "2027_02", "default"):
        assert f"event_{month}_customer_idx" in told, told


@pytest.mark.parametrize("timezone", ["Pacific/Auckland", "America/Los_Angeles"])
async def test_months_are_those_of_utc_wherever_the_database_stands(
    operator: Operator, timezone: str
) -> None:
    await operator.rows(f"alter database {operator.db.name} set timezone to '{timezone}'")
    await operator.json("events", "partitions", "--make")
    told = await operator.json("events", "partitions")
    assert told["partitions"][0]["starts"] in ("2026-11-01T00:00:00+00:00", "2026-11-01T00:00:00Z")
    assert (told["missing"], told["outside"]) == ([], {})
