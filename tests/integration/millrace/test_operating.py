"""`millrace consumers` and `millrace parked` at somebody's consumer: what is told, what is refused, what is written."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from millrace import audit
from millrace.consumer import operating
from tests.integration.millrace.desk import DEADLINE, Desk, desk, ids
from tests.support.kafka import read_all
from tests.support.tally import SCHEMA, Tally, event, fold

__all__ = ["desk"]

NOWHERE = {"MILLRACE_KAFKA": "127.0.0.1:1"}


async def mixed(desk: Desk) -> None:
    """e1 applied; e2 poison with e3 behind it; b1 waits; c1 breaks our code; d1 is applied."""
    await desk.send(
        event("add", "e1"), event("add", "e2", "two"), event("add", "e3"), event("take", "b1", 9, of="b"),
        event("broken", "c1", of="c"), event("add", "d1", of="d"),
    )  # fmt: skip
    await desk.apply()


async def test_every_statement_is_one_of_this_schema(desk: Desk) -> None:
    statements = {
        name: text
        for name, text in vars(operating).items()
        if isinstance(text, str) and text.startswith("\n-- ")
    }
    assert len(statements) > 15
    connection = await asyncpg.connect(desk.db.owner)
    for text in statements.values():
        await connection.prepare(text.replace("{schema}", "tally"))
    await connection.close()


# --- consumers status ---


async def test_a_consumer_that_never_ran_is_shown_and_worries_nobody(desk: Desk) -> None:
    [one] = (await desk.json("consumers", "status"))["consumers"]
    assert (one["name"], one["state"], one["attention"], one["topics"]) == ("tally", "never started", [], [])


async def test_status_tells_lag_parked_members_and_sequences(desk: Desk) -> None:
    await mixed(desk)
    await desk.send(event("add", "late"), event("add", "later"), partition=1)
    async with desk.member():
        told = await desk.json("consumers", "status", "tally", "--behind", "3600", code=3)
        said = await desk.said("consumers", "status", "-v", "--behind", "0", code=3)
    [one] = told["consumers"]
    assert told["kafka"] is None
    assert (one["name"], one["schema"], one["state"]) == (desk.group, "tally", "running")
    assert (one["lag_records"], one["records"], one["rate"]) == (2, 6, 0.0)
    assert 0 < one["lag_seconds"] < 600
    assert one["parked"] == {"behind": 1, "failed": 1, "poison": 1, "waiting": 1}
    assert (one["oldest_parked"]["status"], one["oldest_parked"]["reason"]) == (
        "poison",
        "amount is not a whole number",
    )
    [member] = one["members"]
    assert member["instance"] == f"{desk.group}-7"
    assert member["partitions"] == [f"{desk.topic}/0", f"{desk.topic}/1"]
    first, second = one["partitions"]
    assert (first["next_offset"], first["end"], first["lag_records"], first["member"]) == (
        6,
        6,
        0,
        f"{desk.group}-7",
    )
    assert (second["next_offset"], second["end"], second["lag_records"]) == (None, 2, 2)
    assert one["attention"] == ["3 events are parked: `millrace parked list tally`"]
    assert "running" in said
    assert "3 + 1 waiting" in said
    assert "behind by" in said
    assert "docs/runbook/consumer-behind.md" in said


async def test_the_mark_of_a_transaction_is_no_lag(desk: Desk) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=desk.kafka, transactional_id=f"t-{desk.topic}")
    await producer.start()
    async with producer.transaction():
        await producer.send(desk.topic, b"{}", b"k", 0)
    await producer.stop()
    async with asyncio.timeout(DEADLINE):  # the mark follows the commit
        while not await read_all(desk.kafka, desk.topic):  # noqa: ASYNC110 Kafka is the signal
            await asyncio.sleep(0.05)
    await desk.apply()
    [one] = (await desk.json("consumers", "status", code=3))["consumers"]
    assert [p["end"] for p in one["partitions"]] == [2, 0]
    assert (one["partitions"][0]["next_offset"], one["lag_records"], one["lag_seconds"]) == (1, 0, 0.0)


async def test_nobody_running_a_pause_and_a_free_partition_want_attention(desk: Desk) -> None:
    await desk.register()
    [one] = (await desk.json("consumers", "status", code=3))["consumers"]
    assert (one["state"], one["members"]) == ("empty", [])
    assert one["attention"] == [
        "no member is running: start it, or see why it ended in the last line of its log"
    ]
    await desk.run("consumers", "pause", "tally", "--why", "a drill")
    async with desk.member():
        [one] = (await desk.json("consumers", "status", code=3))["consumers"]
        assert one["state"] == "paused"
        assert (one["paused"]["why"], one["paused"]["at"][:3]) == ("a drill", "202")
        assert one["attention"][0].startswith("paused for")
        await desk.run("consumers", "resume", "tally", "--why", "it is over")
        [one] = (await desk.json("consumers", "status"))["consumers"]
        assert (one["state"], one["attention"]) == ("running", [])


async def test_when_nobody_runs_after_many_dead_letters_the_limit_is_named(desk: Desk) -> None:
    await desk.register()
    await desk.execute(
        "insert into tally.parked_event (topic, partition, kafka_offset, record_key, source, event_id, type, status,"
        " reason, headers) select 't', 0, n, '', 's', n::text, '', 'poison', 'no JSON', '{}'"
        " from generate_series(1, 101) n"
    )
    [one] = (await desk.json("consumers", "status", code=3))["consumers"]
    assert "101 events could not be applied within the hour" in one["attention"][0]
    assert "dead-letter-limit.md" in one["attention"][0]
    assert "100 or more could not be applied within an hour" in await desk.said("parked", "list", code=3)
    await desk.execute("update tally.parked_event set parked_at = now() - interval '61 min'")
    [one] = (await desk.json("consumers", "status", code=3))["consumers"]
    assert "start it" in one["attention"][0]


async def test_without_kafka_what_the_database_knows_is_shown_with_code_1(desk: Desk) -> None:
    await mixed(desk)
    told = await desk.json("consumers", "status", code=1, **NOWHERE)
    [one] = told["consumers"]
    assert "does not answer at 127.0.0.1:1" in told["kafka"]
    assert (one["state"], one["lag_records"], one["lag_seconds"], one["records"]) == (
        "unknown",
        None,
        None,
        6,
    )
    assert one["parked"]["poison"] == 1
    said = await desk.said("consumers", "status", code=1, **NOWHERE)
    assert "this is what the database knows" in said


async def test_a_topic_that_was_made_anew_is_not_a_consumer_without_lag(desk: Desk) -> None:
    await desk.send(event("add", "e1"))
    await desk.apply()
    await desk.execute("update tally.progress set next_offset = 70")
    async with desk.member() as member:
        await member.commit({tp: 50 for tp in member.assignment() if tp.partition == 0})
        [one] = (await desk.json("consumers", "status", code=3))["consumers"]
    assert "it ends at 1, before the committed offset 50" in one["attention"][0]
    assert one["lag_records"] == 1


async def test_what_is_wrong_is_said_with_what_to_do(desk: Desk) -> None:
    assert "there is no consumer 'tale' in this database; there is tally" in await desk.said(
        "consumers", "status", "tale", code=1
    )
    assert "for people" in await desk.said("consumers", "status", "--watch", "--json", code=2)
    said = await desk.said(
        "consumers", "status", code=1, MILLRACE_DATABASE="postgresql://nobody@127.0.0.1:1/x"
    )
    assert "ConnectionRefusedError" in said
    refused = await desk.run("consumers", "status", code=78, MILLRACE_DATABASE="me:secret@db")
    assert str(refused.exception).startswith("MILLRACE_DATABASE: is no DSN; write postgresql://")
    assert "secret" not in str(refused.exception)
    await desk.execute("drop table tally.progress")
    assert "run `millrace migrate` first" in await desk.said("consumers", "status", "tally", code=1)
    assert "run `millrace migrate` first" in await desk.said("parked", "list", code=1)
    for table in (
        "processed_events",
        "parked_event",
        "progress",
        "consumer",
    ):  # another one that is up to date
        await desk.execute("create schema if not exists other")
        await desk.execute(f"create table other.{table} (like tally.{table})" if table != "progress" else
                           "create table other.progress (topic text, partition int, next_offset bigint, records bigint,"
                           " sequences jsonb, record_at timestamptz, advanced_at timestamptz)")  # fmt: skip
    told = await desk.json("consumers", "status", code=3)
    assert (told["outdated"], [one["name"] for one in told["consumers"]]) == (["tally"], ["other"])
    await desk.execute("drop table other.parked_event, tally.parked_event")
    assert "no consumer has tables" in await desk.said("consumers", "status")


async def test_a_consumers_own_role_may_do_all_but_pause_and_is_told_which_grant_it_lacks(desk: Desk) -> None:
    await mixed(desk)
    own = {"MILLRACE_DATABASE": desk.db.dsn(SCHEMA)}
    await desk.run("consumers", "status", code=3, **own)
    assert len((await desk.json("parked", "list", code=3, **own))[0]["parked"]) == 4
    assert (await desk.json("parked", "redrive", "tally", "--all", "--why", "x", code=3, **own))["asked"] == 3
    await desk.run("parked", "discard", "tally", "--status", "failed", "--why", "x", "--yes", code=0, **own)
    said = await desk.said("consumers", "pause", "tally", "--why", "a drill", code=1, **own)
    assert "grant update (paused_at, paused_by, paused_why) on tally.consumer to" in said
    await desk.execute("revoke select on tally.parked_event from millrace_tally")
    assert "tally may not be read: " in await desk.said("parked", "list", "tally", code=1, **own)


def interruptible() -> None:
    """As at a terminal, also where this run itself was started in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def test_watch_shows_it_again_until_it_is_interrupted(desk: Desk) -> None:
    await mixed(desk)
    watching = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from millrace.cli import main; main()", "consumers", "status", "--watch",
        stdout=asyncio.subprocess.PIPE, env={**os.environ, **desk.environment, "FORCE_COLOR": "1"},
        preexec_fn=interruptible,
    )  # fmt: skip
    assert watching.stdout
    async with asyncio.timeout(DEADLINE):
        for _ in range(2):
            while b"no member is running" not in await watching.stdout.readline():
                pass
        watching.send_signal(signal.SIGINT)
        await watching.stdout.read()
        assert await watching.wait() in (0, 130)


# --- pause and resume ---


async def test_pause_and_resume_are_written_once_with_their_reason(desk: Desk) -> None:
    assert "has never run" in await desk.said("consumers", "pause", "tally", "--why", "x", code=1)
    await desk.register()
    told = await desk.json("consumers", "pause", "tally", "--why", "a drill", "--wait", "20")
    assert told == {"consumer": "tally", "paused": True, "changed": True, "at_rest": True}
    assert "it was already" in await desk.said("consumers", "pause", "tally", "--why", "again")
    assert await desk.rows("select paused_why from tally.consumer") == [("a drill",)]
    await desk.run("consumers", "resume", "tally", "--why", "it is over")
    assert await desk.rows("select paused_at, paused_by, paused_why from tally.consumer") == [
        (None, None, None)
    ]
    assert (await desk.json("consumers", "resume", "tally", "--why", "again"))["changed"] is False
    assert await desk.audit() == [("paused", desk.group, "a drill"), ("resumed", desk.group, "it is over")]


async def test_a_consumer_at_work_has_a_rate_and_one_that_does_not_come_to_rest_is_code_3(desk: Desk) -> None:
    await desk.send(event("add", "e1"))
    await desk.apply()
    stop = asyncio.Event()

    async def work() -> None:
        while not stop.is_set():
            await desk.execute("update tally.progress set records = records + 1")

    working = asyncio.create_task(work())
    [one] = (await desk.json("consumers", "status", code=3))["consumers"]
    assert one["rate"] > 0
    told = await desk.json("consumers", "pause", "tally", "--why", "x", "--wait", "2.5", code=3)
    stop.set()
    await working
    assert (told["changed"], told["at_rest"]) == (True, False)


# --- parked list and show ---


async def test_parked_events_are_listed_by_what_is_asked_for(desk: Desk) -> None:
    await mixed(desk)
    [tally] = await desk.json("parked", "list", code=3)
    assert (tally["consumer"], tally["more"], ids(tally["parked"])) == (
        "tally",
        False,
        ["e2", "e3", "b1", "c1"],
    )
    for words, found in {
        ("--key", "acct_test/a"): ["e2", "e3"],
        ("--reason", "WHOLE number"): ["e2"],
        ("--type", "stripe.broken"): ["c1"],
        ("--status", "poison", "--status", "behind"): ["e2", "e3"],
        ("--since", "1h", "--limit", "2"): ["e2", "e3"],
    }.items():
        [tally] = await desk.json("parked", "list", "tally", *words, code=3)
        assert ids(tally["parked"]) == found, words
    assert await desk.json("parked", "list", "--until", "1h") == []
    [tally] = await desk.json(
        "parked", "list", "--status", "waiting"
    )  # what only waits is no reason for code 3
    assert ids(tally["parked"]) == ["b1"]
    said = await desk.said("parked", "list", "--limit", "3", code=3)
    assert "amount is not a whole number" in said
    assert "… and more of tally" in said
    assert "'bad' is none of poison, failed" in await desk.said("parked", "list", "--status", "bad", code=2)
    assert "write 2026-11-01" in await desk.said("parked", "list", "--since", "yesterday", code=2)


async def test_what_came_from_outside_cannot_steer_the_terminal(desk: Desk) -> None:
    await mixed(desk)
    await desk.execute(
        "update tally.parked_event set reason = E'[red]\\x1b[2J\\u202Egone' where event_id = 'e2'"
    )
    said = (await desk.run("parked", "list", code=3)).output
    assert "\x1b[2J" not in said
    assert "\u202e" not in said
    assert "[red]\\u001b[2J" in said.replace("\n", "")


async def test_a_value_is_shown_to_whoever_says_why_and_that_is_kept(desk: Desk) -> None:
    await mixed(desk)
    [tally] = await desk.json("parked", "list", "tally", code=3)
    id, number = str(tally["parked"][0]["id"]), tally["parked"][0]["id"]
    told = await desk.json("parked", "show", "tally", id)
    assert "value" not in told
    assert (told["id"], told["kafka_offset"], told["headers"]["ce_type"]) == (number, 1, "stripe.add")
    assert ids(told["followers"]) == ["e3"]
    assert told["redrive"].startswith("the 2 events of acct_test/a are judged again in order")
    said = await desk.said("parked", "show", "tally", id)
    assert "bytes, not shown: --reveal" in said
    assert "two" not in said
    assert await desk.audit() == []

    assert "--why" in await desk.said("parked", "show", "tally", id, "--reveal", code=2)
    told = await desk.json("parked", "show", "tally", id, "--reveal", "--why", "ticket 7")
    assert told["value"] == {"amount": "two"}
    assert await desk.audit() == [("revealed parked event", "e2", "ticket 7")]
    assert "has no parked event 99" in await desk.said("parked", "show", "tally", "99", code=1)
    waiting = next(p["id"] for p in tally["parked"] if p["event_id"] == "b1")
    assert "when a fact of b arrives" in await desk.said("parked", "show", "tally", str(waiting))


# --- redrive ---


async def test_a_dry_run_of_a_redrive_names_all_of_the_key_and_asks_nothing(desk: Desk) -> None:
    await mixed(desk)
    words = ("parked", "redrive", "tally", "--status", "behind", "--dry-run")
    told = await desk.json(*words)
    assert (told["chosen"], told["asked"], told["would_ask"]) == (1, 0, 2)
    assert "1 chosen, and 1 more of their keys; nothing was asked" in await desk.said(*words)
    assert not any(asked for _, _, asked in await desk.parked())
    assert await desk.audit() == []
    assert "say which: an ID, --key" in await desk.said("parked", "redrive", "tally", code=2)
    assert "nothing that is parked in" in await desk.said("parked", "redrive", "tally", "--type", "x", code=1)


async def test_while_nobody_runs_a_redrive_is_asked_for_and_that_is_said(desk: Desk) -> None:
    await mixed(desk)
    words = ("parked", "redrive", "tally", "--key", "acct_test/a", "--why", "mended")
    told = await desk.json(*words, code=3)
    assert "no member of" in told["asleep"]
    assert (told["chosen"], told["asked"], told["pending"]) == (2, 2, 2)
    assert await desk.parked() == [
        ("e2", "poison", True), ("e3", "behind", True), ("b1", "waiting", False), ("c1", "failed", False)
    ]  # fmt: skip
    assert await desk.audit() == [
        ("asked for redrive", "e2", "mended"),
        ("asked for redrive", "e3", "mended"),
    ]
    await desk.run("consumers", "pause", "tally", "--why", "a drill")
    assert "is paused by" in await desk.said(*words, code=3)


def mended() -> Any:
    """The tally after its rule was corrected: words count as one."""

    def add(tally: Tally | None, e: Any, rules: None) -> Any:
        amount = e.data["amount"] if type(e.data["amount"]) is int else 1
        return fold().apply["stripe.add"](tally, replace(e, data={"amount": amount}), rules)

    return replace(fold(), apply={**fold().apply, "stripe.add": add})


async def test_a_redrive_is_done_by_the_running_consumer_in_order(desk: Desk) -> None:
    await mixed(desk)
    async with desk.running(mended()):
        told = await desk.json(
            "parked", "redrive", "tally", "--all", "--why", "mended", "--wait", "60", code=3
        )
        assert told["outcomes"] == {"applied": 2}
        assert [(p["event_id"], p["status"]) for p in told["parked"]] == [("c1", "failed")]
        assert (told["pending"], told["asleep"]) == (0, None)
        said = await desk.said("parked", "redrive", "tally", "--all", "--wait", "60", code=3)
        assert "1 still parked, failed: ZeroDivisionError" in said
    assert await desk.rows("select applied from tally.tally where key = 'a'") == [(["e1", "e2", "e3"],)]
    assert await desk.parked() == [("b1", "waiting", False), ("c1", "failed", False)]


# --- discard ---


async def test_a_discard_gives_up_one_event_and_asks_for_those_behind_it(desk: Desk) -> None:
    await mixed(desk)
    words = ("parked", "discard", "tally", "--reason", "whole number", "--why", "a test event")
    told = await desk.json(*words, "--dry-run")
    assert (ids(told["would_discard"]), told["discarded"]) == (["e2"], [])
    assert "add --yes" in await desk.said(*words, code=1)
    assert (len(await desk.parked()), await desk.audit()) == (4, [])

    told = await desk.json(*words, "--yes")
    assert ids(told["discarded"]) == ["e2"]
    assert len(told["released"]) == 1
    assert (await desk.parked())[0] == ("e3", "behind", True)
    [(outcome, reason, last)] = await desk.rows(
        "select outcome, reason, seq = (select max(seq) from tally.processed_events) from tally.processed_events "
        "where event_id = 'e2'"
    )
    assert (outcome, last) == ("discarded", True)
    assert reason.endswith(": a test event")
    assert await desk.audit() == [("discarded", "e2", "a test event")]
    async with desk.running():
        async with asyncio.timeout(DEADLINE):
            while len(await desk.parked()) > 2:  # noqa: ASYNC110 the database is the signal
                await asyncio.sleep(0.05)
    assert await desk.rows("select applied from tally.tally where key = 'a'") == [(["e1", "e3"],)]


async def test_behind_another_that_is_beyond_help_nothing_is_released(desk: Desk) -> None:
    await desk.send(*(event("add", f"e{n}", "two") for n in range(3)), event("add", "e3"))
    await desk.apply()
    await desk.execute("update tally.parked_event set status = 'poison' where event_id = 'e1'")
    [tally] = await desk.json("parked", "list", code=3)
    first, second = (str(one["id"]) for one in tally["parked"][:2])
    assert (await desk.json("parked", "discard", "tally", second, "--why", "x", "--yes"))["released"] == []
    assert len((await desk.json("parked", "discard", "tally", first, "--why", "x", "--yes"))["released"]) == 2


async def test_what_only_waits_is_discarded_when_that_is_said(desk: Desk) -> None:
    await mixed(desk)
    words = (
        "parked",
        "discard",
        "tally",
        "--key",
        "acct_test/b",
        "--status",
        "waiting",
        "--why",
        "never",
        "--yes",
    )
    assert "only wait for a fact" in await desk.said(*words, code=1)
    assert ids((await desk.json(*words, "--waiting"))["discarded"]) == ["b1"]


async def test_a_record_that_nobody_could_read_is_named_by_its_place(desk: Desk) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=desk.kafka)
    await producer.start()
    await producer.send_and_wait(desk.topic, b"\xff\xfe", b"k", 0)
    await producer.stop()
    await desk.apply()
    assert "unreadable" in await desk.said("parked", "list", code=3)
    await desk.run("parked", "discard", "tally", "--all", "--why", "no event", "--yes")
    assert await desk.parked() == []
    assert await desk.audit() == [("discarded", f"{desk.topic}/0/0", "no event")]


async def test_the_operators_chain_of_the_audit_log_holds(desk: Desk) -> None:
    await mixed(desk)
    await desk.run("consumers", "pause", "tally", "--why", "a drill")
    await desk.run("parked", "discard", "tally", "--status", "failed", "--why", "ours", "--yes")
    async with desk.pool.acquire() as connection:
        assert await audit.verify(connection, "tally") == []  # type: ignore[arg-type]  # the pool's proxy


@pytest.mark.parametrize(
    "words",
    [("consumers", command) for command in ("status", "pause", "resume", "reset-offsets")]
    + [("parked", command) for command in ("list", "show", "redrive", "discard")],
)
def test_every_command_has_an_example_and_json(words: tuple[str, str]) -> None:
    from typer.testing import CliRunner

    from millrace.cli import application

    said = CliRunner().invoke(application(), [*words, "--help"], env={"COLUMNS": "200"}).output
    assert f"Example: millrace {' '.join(words)}" in said
    assert "--json" in said
