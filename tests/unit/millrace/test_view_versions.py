"""One story told in every API version from 2020-08-27 to 2026-10-28.endive is one view."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from millrace.events import stripe
from millrace.events.view import KINDS, Charge, CreditNote, Invoice, PaymentIntent, Subscription, asdict
from millrace.sealing import DataKey, Policy, Subject

TOLD = Path(__file__).parents[2] / "fixtures" / "stripe"
POLICY = Policy.read(Path(__file__).parents[3] / "schemas" / "sealing.yaml")
KEY = DataKey(7, Subject("acct_1", "cus_1"), b"k" * 32)
VERSIONS = dict(
    zip(
        ["2020", "2022", "2024", "basil", "clover", "dahlia", "endive", "october"],
        sorted(path.name for path in TOLD.iterdir() if path.is_dir()),
        strict=True,
    )
)
SHORT = list(VERSIONS)
# Until basil a refund was told by the events of its charge.
CALLED = {"refund.created": dict.fromkeys(SHORT[:3], "charge.refund.updated")}

Story = dict[str, dict[str, tuple[str, str]]]  # event → field → value, and in which versions it is told


ROW = re.compile(r"  (\S+) +(\S+(?: EUR)?) *((?:since|before|not) .+)?")


def read(text: str) -> Story:
    found: Story = {}
    event = ""
    for row in text.splitlines():
        if told := ROW.fullmatch(row):
            field, value, when = told.groups()
            found[event][field] = (value, when or "")
        else:
            event = row
            found[event] = {}
    return found


STORY = read((TOLD / "story.txt").read_text())


def is_told(version: str, when: str) -> bool:
    """`since basil`, `before basil`, `not basil clover`; nothing is always."""
    word, _, names = when.partition(" ")
    at = SHORT.index(version)
    if word == "since":
        return at >= SHORT.index(names)
    if word == "before":
        return at < SHORT.index(names)
    return version not in names.split()


def body(version: str, event: str) -> dict[str, Any]:
    name = CALLED.get(event, {}).get(version, event)
    found: dict[str, Any] = json.loads((TOLD / VERSIONS[version] / f"{name}.json").read_text())
    assert (found["api_version"], found["type"]) == (VERSIONS[version], name)
    inside: dict[str, Any] = found["data"]["object"]
    return inside


def flat(found: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(found, dict):
        for name, value in found.items():
            yield from flat(value, f"{path}.{name}" if path else name)
    elif isinstance(found, tuple):
        for index, value in enumerate(found):
            yield from flat(value, f"{path}.{index}")
    elif found is not None:
        yield path, shown(found)


def shown(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z").replace("T00:00:00Z", "")
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


TOLD_EVENTS = [
    (version, event)
    for event in STORY
    for version in SHORT
    if any(is_told(version, when) for _, when in STORY[event].values())
]


@pytest.mark.parametrize(("version", "event"), TOLD_EVENTS)
def test_every_version_tells_the_same_story(version: str, event: str) -> None:
    found = body(version, event)
    view = dict(flat(asdict(KINDS[found["object"]](found))))
    assert view == {f: value for f, (value, when) in STORY[event].items() if is_told(version, when)}


def test_the_story_has_every_version_and_every_body_has_its_story() -> None:
    assert len(VERSIONS) == 8
    written = {path.parent.name: len(list(path.parent.glob("*.json"))) for path in TOLD.glob("*/*.json")}
    assert written == {
        VERSIONS[version]: sum(1 for told, _ in TOLD_EVENTS if told == version) for version in SHORT
    }


@pytest.mark.parametrize("version", SHORT)
def test_the_functions_of_the_services_say_what_the_view_says(version: str) -> None:
    sold, billed = body(version, "customer.subscription.updated"), body(version, "invoice.paid")
    subscription, invoice = Subscription(sold), Invoice(billed)
    ends = stripe.cancels_at(sold)
    assert ends is not None
    assert stripe.at(ends) == subscription.cancels_at
    assert stripe.customer_of(sold) == subscription.customer
    for item, read_item in zip(stripe.listed(sold, "items"), subscription.items, strict=True):
        start, end = stripe.item_period(item, sold) or (0, 0)
        assert (stripe.at(start), stripe.at(end)) == (read_item.period_start, read_item.period_end)
    assert stripe.subscription_of_invoice(billed) == invoice.subscription
    assert stripe.taxes_of(billed) == taxes(invoice.taxes)
    for line, read_line in zip(stripe.listed(billed, "lines"), invoice.lines, strict=True):
        assert stripe.taxes_of(line) == taxes(read_line.taxes)
        assert stripe.subscription_item_of_line(line) == read_line.subscription_item
        assert stripe.discounts_of(line) == sum(
            r.amount.amount_minor for r in read_line.reductions if r.amount
        )
    names = {name for line in invoice.lines for name in (line.price, line.product, line.lookup_key) if name}
    assert stripe.sold_on_invoice(billed) == names
    note = body(version, "credit_note.created")
    assert stripe.taxes_of(note) == taxes(CreditNote(note).taxes)
    failed, paid = body(version, "payment_intent.payment_failed"), body(version, "charge.succeeded")
    assert stripe.invoice_of_payment(failed) == PaymentIntent(failed).invoice
    assert stripe.invoice_of_payment(paid) == Charge(paid).invoice


def taxes(found: Any) -> list[tuple[int, bool]]:
    return [(tax.amount.amount_minor, tax.inclusive) for tax in found]


def sealed(whole: dict[str, Any]) -> dict[str, Any]:
    after = copy.deepcopy(whole)
    POLICY.seal(after, KEY, "acct_1/evt_1")
    return after


def view_of(whole: dict[str, Any]) -> dict[str, Any]:
    inside = whole["data"]["object"]
    return asdict(KINDS[inside["object"]](inside))


@pytest.mark.parametrize("version", SHORT)
def test_nothing_that_is_sealed_is_part_of_the_view(version: str) -> None:
    for path in (TOLD / VERSIONS[version]).glob("*.json"):
        whole = json.loads(path.read_text())
        assert view_of(sealed(whole)) == view_of(whole), path.name
