"""`millrace consumers reset-offsets`: what it says it will do, when it refuses, and where the consumer then reads."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from aiokafka import TopicPartition

from millrace.commands import group
from tests.integration.millrace.desk import DEADLINE, Desk, desk
from tests.support.tally import event

__all__ = ["desk"]

RESET = ("consumers", "reset-offsets", "tally")
WHY = ("--why", "a drill", "--yes")


async def committed(desk: Desk) -> dict[int, int]:
    async with group.connected(desk.kafka) as kafka:
        return {partition: offset for (_, partition), offset in (await kafka.committed(desk.group)).items()}


async def decided(desk: Desk, records: int = 10, of: int = 10) -> None:
    """So many of the records in partition 0 are applied and committed."""
    await desk.send(*(event("add", f"e{n}", of=f"k{n}") for n in range(of)))
    await desk.apply(below=records)
    async with group.connected(desk.kafka) as kafka:
        await kafka.commit(desk.group, {(desk.topic, 0): records})


async def test_a_dry_run_says_what_is_read_again_and_moves_nothing(desk: Desk) -> None:
    await decided(desk)
    told = await desk.json(*RESET, "--by", "-4", "--dry-run")
    assert (told["again"], told["known"], told["skipped"], told["moved"]) == (4, 4, 0, False)
    said = await desk.said(*RESET, "--to-earliest", "--dry-run")
    assert "10 offsets are read again; 10 of them are decided, and change nothing" in said
    assert await committed(desk) == {0: 10}
    assert await desk.audit() == []


async def test_forward_is_for_ever_and_says_so(desk: Desk) -> None:
    await decided(desk, records=4)
    said = await desk.said(*RESET, "--to-latest", *WHY)
    assert "6 offsets that are not decided are skipped FOR EVER" in said
    assert await committed(desk) == {0: 10}
    assert await desk.audit() == [
        ("reset offsets to the latest", f"{desk.topic}/0: 4 to 10", "a drill"),
    ]
    [one] = (await desk.json("consumers", "status", code=3))["consumers"]
    assert one["lag_records"] == 0


async def test_where_to_is_an_instant_an_offset_or_so_many_back(desk: Desk) -> None:
    await decided(desk, records=6)
    middle = datetime.now(UTC).isoformat()
    await desk.send(event("add", "late", of="late"))
    for words, after in {
        ("--to-time", "1h"): 0,
        ("--to-time", middle): 10,
        ("--to-offset", f"{desk.topic}/0=3"): 3,
        ("--by", "-100"): 0,
        ("--by", "2"): 8,
    }.items():
        told = await desk.json(*RESET, *words, "--dry-run")
        assert [p["after"] for p in told["partitions"] if p["partition"] == 0] == [after], words


async def test_while_a_member_lives_it_is_refused_by_name(desk: Desk) -> None:
    await decided(desk)
    async with desk.member():
        said = await desk.said(*RESET, "--to-earliest", *WHY, code=1)
        assert f"is running: {desk.group}-7 at" in said
        assert "--replicas=0" in said
        await desk.run(*RESET, "--to-earliest", "--dry-run")  # looking is allowed
    assert (await committed(desk))[0] == 10
    assert await desk.audit() == []


async def test_a_member_that_comes_in_between_is_kafkas_to_refuse(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await decided(desk)
    looked = group.Kafka.groups

    async def too_early(self: group.Kafka, names: list[str]) -> dict[str, group.Group]:
        monkeypatch.setattr(group.Kafka, "groups", looked)
        return {name: group.Group("Empty", ()) for name in names}

    async with desk.member():
        monkeypatch.setattr(group.Kafka, "groups", too_early)
        assert "is running" in await desk.said(*RESET, "--to-earliest", *WHY, code=1)
    assert ((await committed(desk))[0], await desk.audit()) == (10, [])


async def test_it_is_refused_what_is_not_there_and_without_a_word(desk: Desk) -> None:
    assert "has never run" in await desk.said(*RESET, "--to-latest", "--dry-run", code=1)
    await decided(desk)
    for words, code, says in (
        (("--to-offset", f"{desk.topic}/0=99", *WHY), 1, "has the offsets 0 to 10, and 99 is none of them"),
        (("--to-offset", "other/0=1", *WHY), 1, "reads no other/0"),
        (("--to-offset", "0=1", *WHY), 2, "write TOPIC/PARTITION=OFFSET"),
        (("--topic", "other", "--to-latest", *WHY), 1, "does not read other; it reads"),
        (("--to-latest", "--by", "1", *WHY), 2, "say where to, once"),
        (WHY, 2, "say where to, once"),
        (("--to-earliest", "--yes"), 2, "say why"),
        (("--to-earliest", "--why", "a drill"), 1, "add --yes, or answer at a terminal"),
    ):
        assert says in await desk.said(*RESET, *words, code=code), words
    assert ((await committed(desk))[0], await desk.audit()) == (10, [])


async def test_a_consumer_put_back_reads_again_and_changes_nothing(desk: Desk) -> None:
    await decided(desk)
    await desk.run(*RESET, "--to-earliest", "--topic", desk.topic, *WHY)
    await desk.send(event("add", "new", of="k0"))
    async with desk.running():
        async with asyncio.timeout(DEADLINE):
            while (await committed(desk)).get(0) != 11:  # noqa: ASYNC110 Kafka is the signal
                await asyncio.sleep(0.05)
    assert await desk.rows("select key, applied from tally.tally where key in ('k0', 'k1') order by key") == [
        ("k0", ["e0", "new"]),
        ("k1", ["e1"]),
    ]


async def test_after_a_topic_was_made_anew_nothing_of_the_old_one_is_known(desk: Desk) -> None:
    await decided(desk)
    await desk.execute("update tally.progress set next_offset = 70")
    async with group.connected(desk.kafka) as kafka:
        await kafka.commit(desk.group, {(desk.topic, 0): 70})
    told = await desk.json(*RESET, "--to-earliest", *WHY)
    assert (told["known"], told["skipped"]) == (0, 0)
    assert await desk.rows("select next_offset from tally.progress where partition = 0") == [(0,)]
    assert TopicPartition(desk.topic, 0) and (await committed(desk))[0] == 0
