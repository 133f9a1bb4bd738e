"""Rows that cannot go are kept aside, everything behind them flows on, and what operators decide happens once."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from aiokafka import ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError
from zstandard import ZstdCompressor

from millrace.events import decode
from millrace.events.ours import OutboxParked
from outbox_relay.commands import quarantine
from outbox_relay.commands.quarantine import Action, Entry, Wanted
from outbox_relay.domain.quarantine import NOTICES
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, running, until
from tests.support.kafka import MakeTopic, read_all

PUT = """
insert into outbox.event (topic, key, hash, headers, payload, unpacked)
values ($1, $2, coalesce($6, outbox.murmur2($2)), $3::text::jsonb, $4, $5) returning id
"""
LIMITS = {"record_bytes": 3000, "claim_bytes": 2000, "claim_bytes_max": 4000}
PATIENCE = 90.0  # seconds, on a machine that does much else
TIGHT = {"record_bytes": 1000, "claim_bytes": 1000, "claim_bytes_max": 1000}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions are looked for at once, not once a second."""
    monkeypatch.setattr("outbox_relay.relay.quarantine.LOOK_SECONDS", 0.05)


async def put(
    it: Arena, key: str = "acct_1/cus_1", *, topic: str = "", headers: str = '{"ce_id": "evt"}',
    payload: bytes = b"{}", unpacked: int | None = None, key_hash: int | None = None,
) -> int:  # fmt: skip
    async with it.connection() as connection:
        row: int = await connection.fetchval(
            PUT, topic or it.topic, key, headers, payload, unpacked, key_hash
        )
        return row


async def parked(it: Arena, *, ended: bool = False) -> list[Entry]:
    async with it.connection() as connection:
        return await quarantine.parked(connection, Wanted(), ended=ended)


async def decide(it: Arena, action: Action, *ids: int) -> list[int]:
    async with it.connection() as connection, connection.transaction():
        return await quarantine.decide(connection, Wanted(ids or None), action, "ada", "it is mended")


def ids(records: Sequence[ConsumerRecord]) -> list[int]:
    return [int(dict(r.headers)["millrace-outbox-id"]) for r in records]


async def settled(it: Arena) -> None:
    """Wait until no decision is left to carry out."""

    async def none_left() -> bool:
        return all(entry.status == "parked" for entry in await parked(it))

    await until(none_left, PATIENCE)


@pytest.fixture
async def admin(arena: MakeArena, stack):  # type: ignore[no-untyped-def]
    client = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await client.start()
    yield client
    await client.close()


@pytest.fixture
async def notices_topic(admin: AIOKafkaAdminClient) -> None:
    """The product's own name: notices of several tests share it, each about a topic of its own."""
    try:
        await admin.create_topics([NewTopic(NOTICES, 2, 1)])
    except TopicAlreadyExistsError:
        return


async def test_every_kind_of_row_that_cannot_go_is_parked_and_its_neighbours_flow(
    arena: MakeArena, notices_topic: None
) -> None:
    it = await arena(topic_seconds=0, **LIMITS)
    packed = ZstdCompressor().compress(bytes(100))
    await it.insert(rows=5)
    unfit = {
        await put(it, headers='{"n": 1}'): "bad_headers",
        await put(it, headers="[]"): "bad_headers",
        await put(it, key_hash=17): "bad_hash",
        await put(it, payload=packed[:-9], unpacked=100): "bad_payload",
        await put(it, payload=bytes(2 << 20)): "too_large",
        await put(it, payload=bytes(4001)): "too_large",
        await put(it, headers=f'{{"a": "{"x" * 3000}"}}'): "too_large",
        await put(it, topic=f"{it.topic}.nowhere"): "unknown_topic",
    }
    fit = [
        await put(it, headers='{"née": "Zoë 🎉"}'),
        await put(it, payload=bytes(2000)),  # the last that travels
        await put(it, payload=bytes(2001)),  # the first that stays behind
        await put(it, payload=bytes(4000)),
        await put(it, payload=packed, unpacked=100),
    ]
    await it.insert(rows=5)
    relay = it.relay()
    async with running(relay):
        await it.published(10 + len(fit))
        assert relay.ready() == ""
    found = await parked(it)
    assert {entry.id: entry.reason for entry in found} == unfit
    account = await it.account()
    assert account == Account(rows=22, lost=7)  # one of the eight was for another topic; no gap, no inversion
    records = {row: r for r in await read_all(it.kafka, it.topic) for row in ids([r])}
    assert set(fit) < records.keys()
    assert dict(records[fit[0]].headers)["née"] == "Zoë 🎉".encode()
    assert [dict(records[row].headers).get("ce_dataref") is not None for row in fit] == [
        False, False, True, True, False,
    ]  # fmt: skip
    assert records[fit[-1]].value == bytes(100)
    assert {dict(r.headers)["millrace-outbox"] for r in records.values()} == {b"main@0"}
    assert await noticed(it) == set(unfit.items())


async def noticed(it: Arena) -> set[tuple[int, str]]:
    """Each notice about this test's topics; none came twice."""
    events = [decode(r.key, dict(r.headers), r.value) for r in await read_all(it.kafka, NOTICES)]
    mine = [body for body in map(OutboxParked.of, events) if body.topic.startswith(it.topic)]
    assert len({body.row_id for body in mine}) == len(mine)
    return {(body.row_id, body.reason) for body in mine}


async def test_a_blocked_key_stands_still_until_the_row_before_it_is_dropped(arena: MakeArena) -> None:
    it = await arena()
    it.overrides["block_key"] = f"other, {it.topic}"
    first = await put(it)
    bad = await put(it, headers="[]")
    behind = [await put(it), await put(it)]
    other = await put(it, key="acct_1/cus_2")
    async with running(it.relay()):
        await it.published(2)
        assert [(e.id, e.reason) for e in await parked(it)] == [
            (bad, "bad_headers"),
            *((n, "behind") for n in behind),
        ]
        assert await decide(it, "drop", bad) == [bad]
        await it.published(4)
        later = await put(it)  # the key is free again
        await it.published(5)
        await settled(it)
    records = await read_all(it.kafka, it.topic)
    assert [row for row in ids(records) if row != other] == [first, *behind, later]
    assert await parked(it) == []
    ends = {e.id: (e.status, e.decided_by) for e in await parked(it, ended=True)}
    assert ends == {bad: ("dropped", "ada"), **dict.fromkeys(behind, ("published", "relay"))}
    assert await it.account() == Account(rows=6, lost=1)


async def test_a_key_is_tried_again_whole_and_what_still_cannot_go_holds_up_the_rest(
    arena: MakeArena,
) -> None:
    it = await arena(**TIGHT)
    it.overrides["block_key"] = it.topic
    large, bad, last = await put(it, payload=bytes(1500)), await put(it, headers="[]"), await put(it)
    await put(it, key="acct_1/cus_2")
    async with running(it.relay()):
        await it.published(1)
        assert await decide(it, "retry", last) == [large, bad, last]  # the key stands behind its first row
        await settled(it)
        assert [e.reason for e in await parked(it)] == ["too_large", "behind", "behind"]
    it.overrides.update(LIMITS)
    async with running(it.relay()):
        assert await decide(it, "retry", large) == [large, bad, last]
        await it.published(2)
        await settled(it)
        assert [(e.id, e.reason) for e in await parked(it)] == [(bad, "bad_headers"), (last, "behind")]
        await put(it)
        await until(lambda: waits(it, 3), PATIENCE)
        await decide(it, "drop", bad)
        await it.published(4)
    assert await it.account() == Account(rows=5, lost=1)


async def test_a_key_stands_still_from_one_page_to_the_next(
    arena: MakeArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is planned before the one that parks the row is published, and long before anybody looks again."""
    monkeypatch.setattr("outbox_relay.relay.quarantine.LOOK_SECONDS", 60)
    it = await arena(page_rows=1)
    it.overrides["block_key"] = it.topic
    for headers in ("[]", "{}", "{}", "{}"):
        await put(it, headers=headers)
    await put(it, key="acct_1/cus_2")
    async with running(it.relay()):
        await it.published(1)
    assert [e.reason for e in await parked(it)] == ["bad_headers", *["behind"] * 3]


async def waits(it: Arena, rows: int) -> bool:
    return len(await parked(it)) == rows


async def test_a_topic_is_waited_for_before_its_rows_are_parked(
    arena: MakeArena, admin: AIOKafkaAdminClient
) -> None:
    it = await arena(topic_seconds=0.5)
    later = f"{it.topic}.later"
    rows = [await put(it, topic=later) for _ in range(3)]
    await it.insert(rows=5)
    relay = it.relay()
    async with running(relay):
        await until(lambda: relay.ready() != "", PATIENCE)
        assert relay.ready().startswith(f"outbox row {rows[0]} cannot be published: its topic does not exist")
        assert await parked(it) == []
        await it.published(5)
        assert [(e.id, e.reason) for e in await parked(it)] == [(row, "unknown_topic") for row in rows]
        assert await decide(it, "retry", *rows) == rows
        await settled(it)
        assert len(await parked(it)) == 3  # still missing, and nobody waits for it again
        await admin.create_topics([NewTopic(later, 1, 1)])
        await decide(it, "retry")
        await until(lambda: waits(it, 0), PATIENCE)
        await put(it, topic=later)
        await until(lambda: arrived(it, later, 4), PATIENCE)
    assert ids(await read_all(it.kafka, later)) == [*rows, rows[-1] + 6]
    await admin.delete_topics([later])


async def arrived(it: Arena, topic: str, records: int) -> bool:
    return len(await read_all(it.kafka, topic)) == records


async def test_a_topic_of_another_size_than_before_parks_its_rows(
    arena: MakeArena, admin: AIOKafkaAdminClient
) -> None:
    """Its keys would move. The shards have to divide it as well."""
    it = await arena(topic_seconds=0)
    growing = f"{it.topic}.growing"
    await admin.create_topics([NewTopic(growing, 1, 1)])
    await put(it, topic=growing)
    async with running(it.relay()):
        await until(lambda: arrived(it, growing, 1), PATIENCE)
    await admin.delete_topics([growing])
    await until(lambda: gone(admin, growing), PATIENCE)
    await admin.create_topics([NewTopic(growing, 2, 1)])
    row = await put(it, topic=growing)
    async with running(it.relay()):
        await until(lambda: waits(it, 1), PATIENCE)
        assert [(e.id, e.reason) for e in await parked(it)] == [(row, "grown_topic")]
    await admin.delete_topics([growing])


async def gone(admin: AIOKafkaAdminClient, topic: str) -> bool:
    return topic not in await admin.list_topics()


async def test_what_the_broker_refuses_is_found_among_its_neighbours(
    arena: MakeArena, topics: MakeTopic, admin: AIOKafkaAdminClient
) -> None:
    """It says only that a batch will not do. Which row it is shows when that row is alone."""
    it = await arena()
    small = await topics("small", partitions=1, config={"max.message.bytes": "2000"})
    await it.insert(rows=20, topic=small)
    row = await put(it, topic=small, payload=random.Random(1).randbytes(20_000))  # no compression helps
    await it.insert(rows=20, topic=small)
    await it.insert(rows=10)
    async with running(it.relay()):
        await it.published(10)
        assert [(e.id, e.reason) for e in await parked(it)] == [(row, "rejected")]
        assert ids(await read_all(it.kafka, small)) == [n for n in range(1, 42) if n != row]
        await decide(it, "retry", row)
        await settled(it)
        assert [(e.id, e.reason) for e in await parked(it)] == [(row, "rejected")]  # alone there too
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, small, {"max.message.bytes": "900000"})]
        )
        await decide(it, "retry", row)
        await until(lambda: waits(it, 0), PATIENCE)
        assert ids(await read_all(it.kafka, small))[-1] == row
    assert await it.account() == Account(rows=10)


@pytest.mark.nightly
async def test_a_refused_row_among_those_tried_again_is_found_too(
    arena: MakeArena, topics: MakeTopic
) -> None:
    it = await arena(**TIGHT)
    small = await topics("small", partitions=1, config={"max.message.bytes": "6000"})
    noise = random.Random(2)
    rows = [await put(it, topic=small, payload=noise.randbytes(9000 if n == 4 else 1500)) for n in range(7)]
    async with running(it.relay()):
        await until(lambda: waits(it, 7), PATIENCE)
    it.overrides.update(record_bytes=20_000, claim_bytes=20_000, claim_bytes_max=20_000)
    await decide(it, "retry")
    async with running(it.relay()):
        await until(lambda: waits(it, 1), PATIENCE)
        await settled(it)
    assert [(e.id, e.reason) for e in await parked(it)] == [(rows[4], "rejected")]
    assert ids(await read_all(it.kafka, small)) == [row for row in rows if row != rows[4]]


async def test_a_full_quarantine_holds(arena: MakeArena) -> None:
    """One mistake must not empty the outbox into it."""
    it = await arena(quarantine_max=2)
    bad = [await put(it, headers="[]") for _ in range(3)]
    await it.insert(rows=5)
    relay = it.relay()
    async with running(relay):
        await until(lambda: relay.ready() != "", PATIENCE)
        assert f"outbox row {bad[2]} cannot be published" in relay.ready()
        assert "the quarantine is full" in relay.ready()
        assert [e.id for e in await parked(it)] == bad[:2]
        await decide(it, "drop", bad[0])
        await it.published(5)
        await until(lambda: relay.ready() == "", PATIENCE)
    assert [e.id for e in await parked(it)] == bad[1:]


async def test_a_decision_of_many_rows_takes_several_transactions_in_order(
    arena: MakeArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox_relay.relay.quarantine.REDRIVE_ROWS", 3)
    it = await arena(**TIGHT)
    it.overrides["block_key"] = it.topic
    rows = [await put(it, payload=bytes(1500)) for _ in range(8)]
    async with running(it.relay()):
        await until(lambda: waits(it, 8), PATIENCE)
    it.overrides.update(LIMITS)
    async with running(it.relay()):
        assert await decide(it, "retry", rows[0]) == rows
        await it.published()
    assert await it.account() == Account(rows=8)


async def test_the_rest_of_a_decision_waits_behind_what_could_not_go(
    arena: MakeArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox_relay.relay.quarantine.REDRIVE_ROWS", 3)
    it = await arena(**TIGHT)
    it.overrides["block_key"] = it.topic
    rows = [await put(it, payload=bytes(1500), headers="[]" if n == 1 else "{}") for n in range(6)]
    async with running(it.relay()):
        await until(lambda: waits(it, 6), PATIENCE)
    it.overrides.update(LIMITS)
    async with running(it.relay()):
        await decide(it, "retry")
        await settled(it)
        assert [e.id for e in await parked(it)] == rows[1:]
        await decide(it, "drop", rows[1])
        await it.published(5)
    assert await it.account() == Account(rows=6, lost=1)


async def test_each_shard_redrives_its_own(arena: MakeArena) -> None:
    it = await arena(partitions=4, shards=2, **TIGHT)
    for n in range(12):
        await put(it, key=f"acct_1/cus_{n % 5}", payload=bytes(1500))
    async with running(it.lanes()):
        await until(lambda: waits(it, 12), PATIENCE)
    it.overrides.update(LIMITS)
    async with running(it.lanes()):
        assert len(await decide(it, "retry")) == 12
        await it.published()
    assert await it.account() == Account(rows=12)


async def test_a_decision_is_about_parked_rows_only(arena: MakeArena) -> None:
    it = await arena(**TIGHT)
    rows = [await put(it, payload=bytes(1500)) for _ in range(3)]
    async with running(it.relay()):
        await until(lambda: waits(it, 3), PATIENCE)
    assert await decide(it, "drop", rows[0]) == [rows[0]]
    assert await decide(it, "retry", *rows) == rows[1:]  # nobody takes back what somebody else decided
    assert await decide(it, "retry", *rows) == []
    decisions = [e.decision for e in await parked(it)]
    assert decisions[1] == decisions[2] == decisions[0] + 1  # type: ignore[operator]  # all are decided
