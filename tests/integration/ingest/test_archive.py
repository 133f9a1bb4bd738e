"""The event log as operators see it: what is sealed stays sealed, and who opens it has said why before."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
import zstandard

from ingest import archive_store
from ingest import commands as ingest
from ingest.domain.months import Month
from millrace import audit
from tests.integration.ingest.operators import ACCOUNT, NOW, Operator, event, operator

__all__ = ["operator"]

STATEMENTS = {
    name: text
    for name, text in vars(archive_store).items()
    if isinstance(text, str)
    and text.startswith("\n--")
    and name != "DETACH"  # of which there is a test below
}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_every_statement_is_understood_by_the_migrated_schema(operator: Operator, name: str) -> None:
    connection = await asyncpg.connect(operator.db.owner)
    try:
        await connection.prepare(STATEMENTS[name])
    finally:
        await connection.close()


# --- list ---


@pytest.fixture
async def three_days(operator: Operator) -> Operator:
    """evt_1 … evt_6, two a day, the first three days ago."""
    for day, events in enumerate([
        (event("evt_1", customer="cus_1"), event("evt_2", customer="cus_2", type="invoice.payment_failed")),
        (event("evt_3", type="invoiceXpaid"), event("evt_4", note="4242424242424242")),
        (event("evt_5", customer="cus_2", type="charge.refunded"), event("evt_6", customer="cus_1")),
    ]):  # fmt: skip
        operator.clock.turn(NOW - timedelta(days=3 - day))
        for one in events:
            await operator.take_in(one)
            operator.clock.turn(operator.clock.now() + timedelta(minutes=1))
    operator.clock.turn(NOW)
    return operator


ASKED = {
    "everything, newest first": ([], "654321"),
    "the newest two": (["--limit", "2"], "65"),
    "one customer": (["--customer", "cus_1"], "6431"),
    "two customers": (["--customer", "cus_1", "--customer", "cus_2"], "654321"),
    "one type": (["--type", "invoice.paid"], "641"),
    "a family of types, in which _ and . are letters": (["--type", "invoice.*"], "6421"),
    "since a while ago": (["--since", "25h"], "65"),
    "since a day": (["--since", "2026-11-19"], "6543"),
    "until an instant": (["--until", "2026-11-18T12:01:00Z"], "1"),
    "between": (["--since", "3d", "--until", "2026-11-19T12:01:00+00:00"], "321"),
    "another account": (["--account", "acct_other"], ""),
    "several conditions": (["--customer", "cus_1", "--type", "*paid", "--since", "49h"], "643"),
}


@pytest.mark.parametrize("asked", ASKED)
async def test_the_list_shows_what_is_asked_for(three_days: Operator, asked: str) -> None:
    options, ids = ASKED[asked]
    found = await three_days.json("events", "list", *options)
    assert [row["id"] for row in found] == [f"evt_{n}" for n in ids]


async def test_a_line_of_the_list_says_where_it_came_in_and_nothing_personal(three_days: Operator) -> None:
    [found] = await three_days.json("events", "list", "--customer", "cus_1", "--since", "49h", "--limit", "1",
                                    "--until", "2026-11-20")  # fmt: skip
    assert found == {
        "account": ACCOUNT, "id": "evt_4", "type": "invoice.paid", "created": "2026-11-21T11:59:00+00:00",
        "received_at": "2026-11-19T12:01:00+00:00", "customer": "cus_1", "object_id": "in_1", "source": "import",
        "endpoint": "import", "cards": 1,
    }  # fmt: skip
    shown = (await three_days.run("events", "list")).output
    assert "evt_4" in shown and "Ada" not in shown and "example.test" not in shown


async def test_events_are_found_by_an_address_that_is_stored_nowhere(operator: Operator) -> None:
    customer = {"id": "cus_1", "object": "customer", "email": "Ada@Example.test"}
    await operator.take_in(event("evt_1", type="customer.created", data={"object": customer}),
                           event("evt_2", customer="cus_1"), event("evt_3", customer="cus_2"))  # fmt: skip
    asked = ("events", "list", "--account", ACCOUNT, "--email", " ada@example.TEST")
    assert {row["id"] for row in await operator.json(*asked)} == {"evt_1", "evt_2"}
    assert await operator.json(*asked[:-1], "eve@example.test") == []
    assert "--account" in (await operator.run("events", "list", "--email", "a@b.test", code=2)).output


@pytest.mark.parametrize("wrong", ["yesterday", "2026-13-01", "24", "2026-11-18T12:00:00", "-3d"])
async def test_an_instant_that_can_be_misread_is_refused(operator: Operator, wrong: str) -> None:
    assert "24h" in (await operator.run("events", "list", f"--since={wrong}", code=2)).output


# --- show ---


async def test_an_event_is_shown_as_it_was_published_sealed(operator: Operator) -> None:
    await operator.take_in(event("evt_1"), event("evt_2", customer="cus_2"))
    found = await operator.json("events", "show", "evt_2")
    assert found["event"]["customer"] == "cus_2" and "raw" not in found["event"]
    assert found["body"]["id"] == "evt_2"
    assert found["body"]["data"]["object"]["customer_email"].startswith("sealed:")
    assert await operator.rows("select from sealing.audit") == []


async def test_who_opens_an_event_has_said_why_before(operator: Operator) -> None:
    await operator.take_in(event("evt_1"))
    assert "--reason" in (await operator.run("events", "show", "evt_1", "--reveal", code=2)).output
    assert (
        "--reason"
        in (await operator.run("events", "show", "evt_1", "--reveal", "--reason", " ", code=2)).output
    )
    shown = await operator.run("events", "show", "evt_1", "--reveal", "--reason", "ticket 4711")
    assert orjson.dumps(event("evt_1")).decode() in shown.stdout
    [row] = await operator.rows("select * from sealing.audit")
    assert (row["action"], row["subject"], row["reason"], row["at"]) == (
        "revealed event",
        "evt_1",
        "ticket 4711",
        NOW,
    )
    assert row["chain"] == f"operator:{row['actor']}"


async def test_nothing_is_shown_when_the_reason_cannot_be_written_down(operator: Operator) -> None:
    await operator.take_in(event("evt_1"))
    await operator.rows("alter table sealing.audit add constraint full_up check (false) not valid")
    done = await operator.run("events", "show", "evt_1", "--reveal", "--reason", "why not", code=1)
    assert "Ada" not in done.output


async def test_an_erased_customers_event_says_so(operator: Operator) -> None:
    await operator.take_in(event("evt_1"), event("evt_2", customer="cus_2"))
    await operator.erase("cus_1")
    done = await operator.run("events", "show", "evt_1", "--reveal", "--reason", "asked to", code=3)
    assert done.stderr == "millrace: evt_1 is of cus_1, who was erased: nothing opens it any more\n"
    assert (await operator.json("events", "show", "evt_1"))["event"][
        "id"
    ] == "evt_1"  # what is not personal stays
    await operator.run("events", "show", "evt_2", "--reveal", "--reason", "a neighbour")


async def test_an_event_that_is_not_there_or_twice_is_told(operator: Operator) -> None:
    assert "never arrived" in (await operator.run("events", "show", "evt_1", code=3)).stderr
    file = operator.file(
        "connect.jsonl", b"\n".join(orjson.dumps(event("evt_1", account=a)) for a in ("acct_A", "acct_B"))
    )
    await operator.run("import", file, "--account", ACCOUNT, "--test", "--connect")
    assert "acct_A, acct_B" in (await operator.run("events", "show", "evt_1", code=2)).output
    assert (await operator.json("events", "show", "evt_1", "--account", "acct_B"))["event"][
        "account"
    ] == "acct_B"


async def test_a_moved_body_does_not_open(operator: Operator) -> None:
    await operator.take_in(event("evt_1"), event("evt_2"))
    one, two = await operator.rows("select account, id, raw from ingest.event order by id")
    async with operator.keys() as keys:
        with pytest.raises(Exception, match="moved"):
            await ingest.opened(keys, [{**one, "raw": two["raw"]}])


async def test_what_was_published_is_found_by_an_index_and_not_by_reading_the_outbox(
    operator: Operator,
) -> None:
    await operator.take_in(event("evt_1"))
    await operator.rows(
        "insert into outbox.event (xid, topic, key, hash, headers, payload)"
        " select (1000000 + n / 5)::text::xid8, 'x', 'k', 0, '{}', '' from generate_series(1, 20000) as n"
    )
    await operator.rows("analyze outbox.event")
    plan = await operator.rows(f"explain {archive_store.PUBLISHED}", NOW, ACCOUNT, "evt_1")
    told = "\n".join(line[0] for line in plan)
    assert re.search(r"Scan using event_[0-9]{8}_xid\w* on event_", told), (
        told
    )  # the days, one after the other
    today = next(
        iter(await operator.rows("select 'event_' || to_char(now() at time zone 'UTC', 'YYYYMMDD')"))
    )[0]
    assert f"Seq Scan on {today}" not in told, told


# --- the digest ---


async def digest_of(operator: Operator) -> str:
    connection = await asyncpg.connect(operator.db.owner)
    try:
        async with operator.keys() as keys:
            return await ingest.digest(connection, keys)
    finally:
        await connection.close()


async def test_the_digest_is_over_bodies_and_not_over_ciphertext(operator: Operator) -> None:
    await operator.take_in(event("evt_2", customer="cus_2"), event("evt_1"))
    lines = [
        f"{ACCOUNT} {one['id']} {hashlib.sha256(orjson.dumps(one)).hexdigest()}\n"
        for one in (event("evt_1"), event("evt_2", customer="cus_2"))
    ]
    assert await digest_of(operator) == hashlib.sha256("".join(lines).encode()).hexdigest()
    await operator.erase("cus_1")
    lines[0] = f"{ACCOUNT} evt_1 erased\n"
    assert await digest_of(operator) == hashlib.sha256("".join(lines).encode()).hexdigest()


# --- export ---


@pytest.fixture
async def may(operator: Operator) -> Operator:
    """Six hundred events of May 2019, and one before and behind; today it is November 2026."""
    for month in ("2019-04", "2019-05", "2019-06"):
        await operator.rows(f"select ingest.make_partition('{month}-01')")
    for at, ids in (("2019-04-30T23:59:59.999999", [0]), ("2019-05-01", range(1, 301)),
                    ("2019-05-31T23:59:59.999999", range(301, 601)), ("2019-06-01", [601])):  # fmt: skip
        operator.clock.turn(NOW.fromisoformat(at).replace(tzinfo=NOW.tzinfo))
        await operator.take_in(*(event(f"evt_{n}", customer=f"cus_{n % 5}") for n in ids))
    operator.clock.turn(NOW)
    return operator


async def exported(operator: Operator, name: str = "archive", *options: str) -> Any:
    return await operator.json(
        "events", "export", "--month", "2019-05", "--to", operator.folder / name, *options
    )


def rows_of(operator: Operator, manifest: Any, name: str = "archive") -> list[dict[str, Any]]:
    packed = [(operator.folder / name / file["name"]).read_bytes() for file in manifest["files"]]
    return [orjson.loads(line) for file in packed for line in zstandard.decompress(file, 2**28).splitlines()]


async def test_a_month_is_exported_whole_and_sealed(may: Operator) -> None:
    told = await exported(may)
    rows = rows_of(may, told)
    assert (told["rows"], len(rows), told["sealed"], told["month"]) == (600, 600, True, "2019-05")
    assert {row["id"] for row in rows} == {f"evt_{n}" for n in range(1, 601)}
    assert (told["first_received_at"], told["last_received_at"]) == (
        "2019-05-01T00:00:00+00:00", "2019-05-31T23:59:59.999999+00:00"
    )  # fmt: skip
    stored = {r["id"]: r["raw"] for r in await may.rows("select id, raw from ingest.event")}
    assert all(b64decode(row["raw"]) == stored[row["id"]] for row in rows)
    assert (await may.run("events", "verify-export", may.folder / "archive")).exit_code == 0
    assert sorted(p.name for p in (may.folder / "archive").iterdir()) == [
        "events-00001.jsonl.zst",
        "manifest.json",
    ]


async def test_an_export_again_is_the_same_rows(may: Operator) -> None:
    first, again = await exported(may), await exported(may)
    assert again["digest"] == first["digest"]
    assert await may.json("events", "verify-export", may.folder / "archive") == {"faults": []}


async def test_an_erasure_reaches_a_sealed_export_and_an_opened_one_was_said_to_be_wanted(
    may: Operator,
) -> None:
    assert (
        "--reason"
        in (
            await may.run(
                "events", "export", "--month", "2019-05", "--to", may.folder / "x", "--reveal", code=2
            )
        ).output
    )
    await may.erase("cus_1")
    opened = await exported(may, "opened", "--reveal", "--reason", "court order 12")
    assert not opened["sealed"]
    bodies = {row["id"]: row["body"] for row in rows_of(may, opened, "opened")}
    assert bodies["evt_2"] == orjson.dumps(event("evt_2", customer="cus_2")).decode()
    assert bodies["evt_1"] is None
    [row] = await may.rows("select action, subject, reason from sealing.audit")
    assert tuple(row) == ("revealed month", "2019-05", "court order 12")
    assert all(p.stat().st_mode & 0o077 == 0 for p in (may.folder / "opened").iterdir())


async def test_files_hold_so_many_rows_and_no_more(may: Operator) -> None:
    connection = await asyncpg.connect(may.db.owner)
    heard: list[int] = []
    try:
        told = await ingest.export(
            connection, Month(2019, 5), may.folder / "small", now=NOW, rows_max=250, moved=heard.append
        )
    finally:
        await connection.close()
    assert [file.rows for file in told.files] == [250, 250, 100]
    assert sum(heard) == 600
    assert await may.json("events", "verify-export", may.folder / "small") == {"faults": []}


async def test_a_folder_is_of_one_month_and_of_nothing_else(may: Operator) -> None:
    await exported(may)
    other = ("events", "export", "--month", "2019-06", "--to", may.folder / "archive")
    assert "holds 2019-05" in str((await may.run(*other, code=78)).exception)
    (may.folder / "photos").mkdir()
    (may.folder / "photos" / "cat.jpg").write_bytes(b"")
    photos = ("events", "export", "--month", "2019-05", "--to", may.folder / "photos")
    assert "holds cat.jpg" in str((await may.run(*photos, code=78)).exception)


async def test_an_export_that_broke_off_has_no_manifest_and_is_made_again(may: Operator) -> None:
    folder = may.folder / "archive"
    told = await exported(may)
    (folder / "manifest.json").unlink()  # as it breaks off while the files take their places …
    (folder / ".new").mkdir()  # … or before
    (folder / ".new" / "events-00001.jsonl.zst").write_bytes(b"half")
    assert "did not end" in str((await may.run("events", "verify-export", folder, code=78)).exception)
    assert (await exported(may))["digest"] == told["digest"]
    assert await may.json("events", "verify-export", folder) == {"faults": []}


async def test_an_export_that_breaks_off_while_it_takes_its_place_leaves_no_manifest_of_other_files(
    may: Operator,
) -> None:
    folder = may.folder / "archive"
    await exported(may)
    (folder / "events-00002.jsonl.zst").mkdir()  # something that cannot be put out of the way
    await may.run("events", "export", "--month", "2019-05", "--to", folder, code=1)
    assert not (folder / "manifest.json").exists()


async def test_an_export_of_fewer_files_leaves_none_of_the_old_ones(may: Operator) -> None:
    connection = await asyncpg.connect(may.db.owner)
    try:
        await ingest.export(connection, Month(2019, 5), may.folder / "archive", now=NOW, rows_max=250)
    finally:
        await connection.close()
    await exported(may)
    assert await may.json("events", "verify-export", may.folder / "archive") == {"faults": []}


def spoil(operator: Operator, how: str) -> None:
    folder = operator.folder / "archive"
    file, manifest = folder / "events-00001.jsonl.zst", folder / "manifest.json"
    told = orjson.loads(manifest.read_bytes())
    if how == "gone":
        file.unlink()
    elif how == "bytes":
        file.write_bytes(file.read_bytes()[:-1] + b"\0")
    elif how == "strange":
        (folder / "events-00002.jsonl.zst").write_bytes(b"")
    elif how == "rows":  # whoever changes a row and both of the sums that go with the file
        lines = zstandard.decompress(file.read_bytes(), 2**28).splitlines()
        lines[5], lines[6] = lines[6], lines[5]
        file.write_bytes(zstandard.compress(b"\n".join(lines) + b"\n"))
        told["files"][0]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    elif how == "body":
        lines = zstandard.decompress(file.read_bytes(), 2**28).splitlines()
        lines[5] = orjson.dumps(orjson.loads(lines[5]) | {"raw": "AAAA"})
        file.write_bytes(zstandard.compress(b"\n".join(lines) + b"\n"))
        told["files"][0]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest.write_bytes(orjson.dumps(told))


FAULTS = {
    "gone": "events-00001.jsonl.zst: is missing",
    "bytes": "events-00001.jsonl.zst: is not the file that was written",
    "strange": "events-00002.jsonl.zst: is not in the manifest",
    "rows": "digest: ",
    "body": "events-00001.jsonl.zst: the body of evt_",
}


@pytest.mark.parametrize("how", FAULTS)
async def test_an_export_that_was_changed_is_found(may: Operator, how: str) -> None:
    await exported(may)
    spoil(may, how)
    [fault] = (await may.json("events", "verify-export", may.folder / "archive", code=3))["faults"]
    assert fault.startswith(FAULTS[how])


# --- detach ---


def detaching(operator: Operator, *options: str, month: str = "2019-05") -> tuple[Any, ...]:
    return (
        "events",
        "detach",
        "--month",
        month,
        "--manifest",
        operator.folder / "archive" / "manifest.json",
        *options,
    )


async def test_a_month_leaves_the_log_as_a_table_and_nothing_is_deleted(may: Operator) -> None:
    await exported(may)
    told = await may.json(*detaching(may))
    assert told == {"month": "2019-05", "table": "ingest.event_2019_05_detached"}
    [kept] = await may.rows("select count(*) from ingest.event_2019_05_detached")
    [left] = await may.rows("select count(*) from ingest.event")
    assert (kept[0], left[0]) == (600, 2)
    [row] = await may.rows("select action, subject, reason from sealing.audit")
    assert tuple(row) == ("detached month", "2019-05", "exported and kept for 7 years")
    connection = await asyncpg.connect(may.db.owner)
    try:
        assert await audit.verify(connection, "sealing") == []
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "statement",
    ["delete from ingest.event_2019_05_detached", "update ingest.event_2019_05_detached set type = 'x'",
     "truncate ingest.event_2019_05_detached"],
)  # fmt: skip
async def test_a_detached_month_still_refuses_every_change(may: Operator, statement: str) -> None:
    await exported(may)
    await may.run(*detaching(may))
    with pytest.raises(asyncpg.RestrictViolationError, match="stored events stay as they are"):
        await may.rows(statement)


async def test_an_event_of_a_detached_month_stays_known_and_is_not_stored_again(may: Operator) -> None:
    await exported(may)
    await may.run(*detaching(may))
    done = await may.run("events", "show", "evt_1", code=3)
    assert "arrived on 2019-05-01" in done.stderr and "export" in done.stderr
    assert (await may.take_in(event("evt_1", customer="cus_1")))["passed_over"] == 1


async def test_a_detached_month_can_come_back(may: Operator) -> None:
    runbook = (Path(__file__).parents[3] / "docs" / "runbook" / "event-log.md").read_text()
    told = await exported(may)
    await may.run(*detaching(may))
    for statement in runbook.partition("as the owner:\n")[2].partition("\n## ")[0].split(";"):
        await may.rows(statement)
    assert len(await may.rows("select from ingest.event")) == 602
    assert (await exported(may))["digest"] == told["digest"]
    with pytest.raises(asyncpg.RestrictViolationError):
        await may.rows("delete from ingest.event_2019_05")


REFUSED = {
    "inside the years": (["--keep-years", "8", "--reason", "law"], 3, "is kept for 8 years"),
    "sooner without a reason": (["--keep-years", "1"], 2, "--reason"),
}


@pytest.mark.parametrize("why", REFUSED)
async def test_a_month_that_has_to_stay_stays(may: Operator, why: str) -> None:
    options, code, told = REFUSED[why]
    await exported(may)
    assert told in (await may.run(*detaching(may, *options), code=code)).output
    [left] = await may.rows("select count(*) from ingest.event")
    assert left[0] == 602


@pytest.mark.parametrize("how", FAULTS)
async def test_a_month_whose_export_is_not_whole_stays(may: Operator, how: str) -> None:
    await exported(may)
    spoil(may, how)
    assert FAULTS[how] in (await may.run(*detaching(may), code=3)).stderr
    assert len(await may.rows("select from ingest.event_2019_05")) == 600


async def test_a_month_that_holds_more_than_its_export_stays(may: Operator) -> None:
    await exported(may)
    may.clock.turn(NOW.replace(year=2019, month=5, day=20))
    await may.take_in(event("evt_late"))
    may.clock.turn(NOW)
    done = await may.run(*detaching(may), code=3)
    assert "rows: 601, but the manifest says 600" in done.stderr
    assert await may.rows("select from sealing.audit") == []


async def test_the_manifest_must_be_the_months_own_and_sealed(may: Operator) -> None:
    await exported(may)
    done = await may.run(*detaching(may, month="2019-06"), code=3)
    assert "is of 2019-05" in done.stderr
    await exported(may, "archive", "--reveal", "--reason", "court order 12")
    assert "2019-05, opened" in (await may.run(*detaching(may), code=3)).stderr


async def test_a_log_that_is_held_is_left_alone_and_nothing_was_written_down(
    may: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_store, "LOCK_WAIT", "20ms")
    await exported(may)
    holder = await asyncpg.connect(may.db.owner)
    try:
        async with holder.transaction():
            await holder.execute("select from ingest.event limit 1")
            done = await may.run(*detaching(may), code=1)
            assert "try again later" in done.stderr
        assert await may.rows("select from sealing.audit") == []
        await may.run(*detaching(may))
    finally:
        await holder.close()
