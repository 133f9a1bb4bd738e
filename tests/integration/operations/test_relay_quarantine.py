"""`millrace relay quarantine` as operators see it. What the relay then does is in test_quarantine."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import orjson
import pytest
from typer.testing import CliRunner, Result
from zstandard import ZstdCompressor

from operations.relay.quarantine import app
from outbox_relay.commands import quarantine
from tests.integration.ingest.operators import Operator, operator

__all__ = ["operator"]

PARK = """
insert into outbox.quarantine (id, topic, key, hash, headers, payload, unpacked, written_at, reason, detail)
values ($1, $2, $3, 0, '{"ce_id": "evt_1"}', $4, $5, '2026-11-21T10:00:00Z', $6, 'a sentence')
"""
SECRET = b'{"email": "ada@example.test"}'


async def run(operator: Operator, *args: object, code: int = 0) -> Result:
    done = await asyncio.to_thread(
        CliRunner().invoke, app, [str(arg) for arg in args], env=operator.environment
    )
    assert done.exit_code == code, f"{done.exit_code}: {done.output}{done.exception!r}"
    return done


async def json(operator: Operator, *args: object, code: int = 0) -> Any:
    return orjson.loads((await run(operator, *args, "--json", code=code)).stdout)


async def park(operator: Operator, row: int, reason: str = "too_large", **more: Any) -> None:
    packed = ZstdCompressor().compress(SECRET)
    given = {
        "topic": "stripe.billing",
        "key": "acct_1/cus_1",
        "payload": packed,
        "unpacked": len(SECRET),
    } | more
    await operator.rows(PARK, row, given["topic"], given["key"], given["payload"], given["unpacked"], reason)


async def audited(operator: Operator) -> list[tuple[str, str, str]]:
    rows = await operator.rows("select action, subject, reason from sealing.audit order by seq")
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("name", ["LIST", "CONTENT", "DECIDE"])
async def test_a_statement_of_the_commands_is_understood_by_the_migrated_schema(
    operator: Operator, name: str
) -> None:
    connection = await asyncpg.connect(operator.db.owner)
    try:
        await connection.prepare(getattr(quarantine, name))
    finally:
        await connection.close()


async def test_what_is_parked_is_listed_and_ends_with_3(operator: Operator) -> None:
    assert await json(operator, "list") == []
    await park(operator, 7)
    await park(operator, 8, "bad_headers", topic="stripe.payments")
    found = await json(operator, "list", code=3)
    assert [(row["id"], row["reason"], row["bytes"]) for row in found] == [
        (7, "too_large", len(SECRET)), (8, "bad_headers", len(SECRET)),
    ]  # fmt: skip
    assert [row["id"] for row in await json(operator, "list", "--topic", "stripe.payments", code=3)] == [8]
    assert [row["id"] for row in await json(operator, "list", "--reason", "too_large", code=3)] == [7]
    assert await json(operator, "list", "--key", "acct_1/cus_2") == []
    assert "stripe.payments" in (await run(operator, "list", code=3)).output


async def test_a_payload_goes_to_a_file_and_never_to_the_screen(operator: Operator) -> None:
    await park(operator, 7)
    shown = await run(operator, "show", 7)
    assert "too_large" in shown.output and "ada@" not in shown.output
    assert await audited(operator) == []
    file = operator.folder / "row.json"
    assert "ada@" not in (await run(operator, "show", 7, "--payload", file)).output
    assert file.read_bytes() == SECRET
    assert await audited(operator) == [("read parked payload", "7", f"to {file}")]
    assert "not in quarantine" in (await run(operator, "show", 9, code=3)).output


async def test_what_does_not_unpack_is_written_as_it_rests(operator: Operator) -> None:
    broken = ZstdCompressor().compress(SECRET)[:-5]
    await park(operator, 7, "bad_payload", payload=broken)
    file = operator.folder / "row"
    assert "does not unpack" in (await run(operator, "show", 7, "--payload", file)).output
    assert file.read_bytes() == broken


async def test_a_retry_is_one_decision_with_an_audit_row_for_each(operator: Operator) -> None:
    for row in (7, 8, 9):
        await park(operator, row, key=f"acct_1/cus_{row}")
    said = await json(operator, "retry", 7, 9, "--why", "the limit is higher now")
    assert said == {"action": "retry", "rows": [7, 9]}
    rows = await operator.rows("select id, status, decision, why from outbox.quarantine order by id")
    why = "the limit is higher now"
    assert [tuple(row) for row in rows] == [
        (7, "retry", 1, why),
        (8, "parked", None, None),
        (9, "retry", 1, why),
    ]
    assert await audited(operator) == [
        ("retry parked row", row, "the limit is higher now") for row in ("7", "9")
    ]


async def test_of_a_key_that_stands_still_all_rows_are_tried(operator: Operator) -> None:
    await park(operator, 7)
    await park(operator, 8, "behind")
    await park(operator, 9, key="acct_1/cus_2")
    assert (await json(operator, "retry", 8))["rows"] == [7, 8]


async def test_a_row_is_dropped_only_with_a_reason_and_alone(operator: Operator) -> None:
    await park(operator, 7)
    await park(operator, 8, "behind")
    assert "say why" in (await run(operator, "drop", 7, code=2)).output
    assert (await json(operator, "drop", 7, "--why", "sent by hand"))["rows"] == [7]
    assert await audited(operator) == [("drop parked row", "7", "sent by hand")]
    assert "no parked row" in (await run(operator, "drop", 7, "--why", "again", code=3)).output


@pytest.mark.parametrize("args", [(), ("--all", "--topic", "t"), ("--all", "7")])
async def test_nobody_means_everything_by_saying_nothing(operator: Operator, args: tuple[str, ...]) -> None:
    await park(operator, 7)
    for command in (("retry",), ("drop", "--why", "nobody needs them")):
        await run(operator, *command, *args, code=2)
    assert [row["status"] for row in await json(operator, "list", code=3)] == ["parked"]


async def test_decisions_come_to_light_in_the_order_of_their_numbers(operator: Operator) -> None:
    """The relay remembers the last one it carried out: a lower number that appeared later would be overlooked."""
    for row in (7, 8):
        await park(operator, row, key=f"acct_1/cus_{row}")
    first, second = [await asyncpg.connect(operator.db.owner) for _ in range(2)]
    try:
        opened = first.transaction()
        await opened.start()
        await quarantine.decide(first, quarantine.Wanted([7]), "retry", "ada", "")
        later = asyncio.create_task(quarantine.decide(second, quarantine.Wanted([8]), "retry", "bob", ""))
        assert not (await asyncio.wait([later], timeout=0.3))[0]
        await opened.commit()
        assert await asyncio.wait_for(later, 30) == [8]
    finally:
        await first.close()
        await second.close()
    rows = await operator.rows("select decision from outbox.quarantine order by id")
    assert [row["decision"] for row in rows] == [1, 2]
