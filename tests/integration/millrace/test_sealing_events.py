"""A whole quarter sealed and opened again: nothing personal stays in the clear, and nothing is lost."""

from __future__ import annotations

import copy
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from lab.northwind import quarter
from millrace import postgres
from millrace.consumer import Batches
from millrace.events import Event
from millrace.sealing import DataKey, Erased, Files, Keys, Opener, Policy, Subject, Unopenable, new_key
from tests.integration.millrace.sealing import ACCOUNT, ANNA, BERT, Rooms, rooms_in
from tests.support.database import MakeDatabase
from tests.support.events import event_of, record

POLICY = Policy.read(Path(__file__).parents[3] / "schemas" / "sealing.yaml")
BODIES = [body for _, body in quarter.build(seed=1, customers=12).events]

# Written apart from the policy: where the lab's bodies hold what is somebody's.
PERSONAL = {
    "address", "billing_details", "client_secret", "comment", "custom_fields", "customer_address", "customer_email",
    "customer_name", "customer_phone", "customer_shipping", "customer_tax_ids", "description", "email", "exp_month",
    "exp_year", "fingerprint", "footer", "hosted_invoice_url", "invoice_pdf", "last4", "memo", "metadata", "name",
    "pdf", "phone", "receipt_email", "receipt_url", "shipping",
}  # fmt: skip
OURS = {"product", "price", "plan", "coupon", "tax_rate"}  # what we wrote about what we sell


@dataclass(frozen=True, slots=True)
class Desk:
    rooms: Rooms
    folder: Path

    async def sealed(self, body: dict[str, Any], subject: Subject = ANNA) -> Event:
        """The event as it is published."""
        after, event = copy.deepcopy(body), event_of(body, account=subject.account)
        key = await Keys(self.rooms.edge, Files(self.folder)).of(subject)
        POLICY.seal(after, key, f"{subject.account}/{body['id']}")
        return replace(event, data=after)

    def opener(self, consumer: str = "mailer", purpose: str = "receipt") -> Opener:
        return Opener(Keys(self.rooms.mailer, Files(self.folder)), consumer=consumer, purpose=purpose)


@pytest.fixture
async def desk(database: MakeDatabase, tmp_path: Path) -> AsyncIterator[Desk]:
    new_key(tmp_path / "keys")
    async with rooms_in(database) as rooms:
        yield Desk(rooms, tmp_path / "keys")


def leaves(
    tree: Any, path: tuple[str, ...] = (), holder: str = ""
) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """(names on the way, type of the object it belongs to, value)"""
    if isinstance(tree, dict):
        kind = tree["object"] if isinstance(tree.get("object"), str) else holder
        for name, inner in tree.items():
            yield from leaves(inner, (*path, name), kind)
    elif isinstance(tree, list):
        for inner in tree:
            yield from leaves(inner, path, holder)
    else:
        yield path, holder, tree


def is_personal(path: tuple[str, ...], kind: str, value: Any) -> bool:
    """By its own name, or because what it stands in is sealed as a whole."""
    names = {"metadata"} if kind in OURS or "fee_details" in path else PERSONAL  # fees in Stripe's own words
    return bool((path[-1] in names and value) or names & set(path[:-1]))


def test_nothing_personal_stays_in_a_quarter_and_nothing_else_is_touched() -> None:
    key, personal, whole = DataKey(1, ANNA, b"k" * 32), set(), b""
    for body in BODIES:
        after = copy.deepcopy(body)
        POLICY.seal(after, key, f"acct_1/{body['id']}")
        whole += orjson.dumps(after)
        kept = {(path, kind, repr(value)) for path, kind, value in leaves(after)}
        for path, kind, value in leaves(body):
            assert ((path, kind, repr(value)) in kept) is not is_personal(path, kind, value), (path, kind)
            ours = path[-1].startswith(
                "lab_"
            )  # what steers the double: "canceled", which is a status as well
            if is_personal(path, kind, value) and not ours and isinstance(value, str) and len(value) > 4:
                personal.add(orjson.dumps(value))
    assert len(personal) > 100
    assert [value for value in personal if value in whole] == []


async def test_every_event_of_a_quarter_opens_to_what_it_was(desk: Desk) -> None:
    key = await Keys(desk.rooms.edge, Files(desk.folder)).of(ANNA)
    opener, before = desk.opener(), counted("mailer", "receipt")
    fields = 0
    for body in BODIES:
        event = event_of(body, account="acct_1")
        after = copy.deepcopy(body)
        fields += POLICY.seal(after, key, f"acct_1/{body['id']}").count(b'"sealed:')
        assert (await opener.event(replace(event, data=after))).data == body
    assert fields > len(BODIES)
    assert counted("mailer", "receipt") - before == fields


def counted(consumer: str, purpose: str) -> float:
    labels = {"consumer": consumer, "purpose": purpose}
    return REGISTRY.get_sample_value("millrace_sealing_opened_total", labels) or 0.0


INVOICE: dict[str, Any] = {
    "id": "evt_1", "object": "event", "type": "invoice.paid", "created": 1772366400, "api_version": "2026-10-28.endive",
    "data": {"object": {
        "object": "invoice", "id": "in_1", "customer": "cus_anna", "total": 100, "customer_email": "a@mill.example",
        "customer_address": {"city": "Aachen", "country": "DE"},
        "lines": {"object": "list", "data": [{"object": "line_item", "description": "Team"},
                                             {"object": "line_item", "description": "Seats", "amount": 7}]}}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "opened"),
    [
        ("data.object.customer_email", "a@mill.example", 1),
        ("data.object.customer_address", {"city": "Aachen", "country": "DE"}, 1),
        ("data.object.customer_address.country", "DE", 1),
        ("data.object.lines.data[1].description", "Seats", 1),
        ("data.object.lines.data[1].amount", 7, 0),
        ("data.object.total", 100, 0),
        ("data.object.lines.data[2].description", None, 0),
        ("data.object.customer_address.line1", None, 1),
        ("data.object.total.x", None, 0),
        ("data.nothing", None, 0),
    ],
)
async def test_a_consumer_opens_the_field_it_needs_and_is_counted(
    desk: Desk, path: str, value: Any, opened: int
) -> None:
    before = counted("mailer", "receipt")
    assert await desk.opener().field(await desk.sealed(INVOICE), path) == value
    assert counted("mailer", "receipt") - before == opened


async def test_what_was_moved_does_not_open_and_what_can_be_opened_is(desk: Desk) -> None:
    event = await desk.sealed(INVOICE)
    other = replace(event, id="evt_2")
    with pytest.raises(Unopenable, match=r"data\.object\.customer_email: changed, or moved"):
        await desk.opener().field(other, "data.object.customer_email")
    assert (await desk.opener().event(other)).data == event.data
    obj = event.data["data"]["object"]
    swapped = obj["customer_email"] = obj["lines"]["data"][0]["description"]
    opened = (await desk.opener().event(event)).data["data"]["object"]
    assert opened["customer_email"] == swapped
    assert opened["lines"]["data"][0]["description"] == "Team"


async def test_another_accounts_event_of_the_same_name_does_not_open(desk: Desk) -> None:
    event = await desk.sealed(INVOICE)
    elsewhere = replace(event, key="acct_2/cus_anna")
    with pytest.raises(Unopenable):
        await desk.opener().field(elsewhere, "data.object.customer_email")


async def test_of_an_erased_customer_nothing_opens_and_of_the_others_everything(desk: Desk) -> None:
    events = {one: await desk.sealed(INVOICE, one) for one in (ANNA, BERT, ACCOUNT)}
    assert await desk.rooms.destroy(ANNA) == 1
    with pytest.raises(Erased, match=r"data\.object\.customer_email"):
        await desk.opener().field(events[ANNA], "data.object.customer_email")
    for subject, event in events.items():
        opened = await desk.opener().event(event)
        assert opened.data == (event.data if subject == ANNA else INVOICE)


async def test_what_only_looks_sealed_is_left_as_it_is(desk: Desk) -> None:
    event = await desk.sealed(INVOICE)
    text = event.data["data"]["object"]["customer_email"]
    data = {"a": {"$sealed": "no token"}, "b": {"$sealed": ["x"]}, "c": text, "d": {"$sealed": text, "e": 1}}
    assert (await desk.opener().event(replace(event, data=data))).data == data


async def test_the_handler_of_the_documentation_opens_what_it_needs(
    database: MakeDatabase, tmp_path: Path
) -> None:
    text = (Path(__file__).parents[3] / "docs" / "consuming.md").read_text()
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "Opener" in block)
    names: dict[str, Any] = {}
    exec(compile(example, "consuming.md", "exec"), names)
    new_key(tmp_path / "keys")
    async with rooms_in(database, names["SCHEMA"]) as rooms:
        pool = await postgres.pool(rooms.db.dsn(names["SCHEMA"]))
        try:
            mailer = Batches(pool, names["mailer"](pool, f"files:{tmp_path / 'keys'}"))
            desk = Desk(rooms, tmp_path / "keys")
            await mailer.apply([record(await desk.sealed(INVOICE))])
            await desk.rooms.destroy(BERT)
            await mailer.apply([record(await desk.sealed({**INVOICE, "id": "evt_2"}, BERT))])
            said = await rooms.owner.fetch("select reason from mailer.processed_events order by event_id")
            assert [row["reason"] for row in said] == ["sent", "customer is erased"]
        finally:
            await pool.close()
