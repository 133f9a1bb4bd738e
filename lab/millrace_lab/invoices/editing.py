"""Changing a draft line by line: several lines in one request.

Source: docs.stripe.com/api/invoice/add_lines, .../update_lines, .../remove_lines.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import tax_rates
from millrace_lab.errors import Body, missing
from millrace_lab.invoices import drafting, invoiceitems, items, lines
from millrace_lab.invoices.asking import LineAsked, NewPrice
from millrace_lab.operations import Operation
from millrace_lab.params import Metadata, NotHere, Params, merged


class LinePrice(NewPrice):
    product_data: NotHere = None


class AddedLine(LineAsked):
    price_data: LinePrice | None = None
    invoice_item: str | None = None
    tax_amounts: NotHere = None


class AddLines(Params):
    lines: Annotated[list[AddedLine], Field(min_length=1, max_length=250)]
    invoice_metadata: Metadata = None


class ChangedAlone(LineAsked):
    price_data: LinePrice | None = None


class ChangedLine(ChangedAlone):
    id: str
    tax_amounts: NotHere = None


class UpdateLines(Params):
    lines: Annotated[list[ChangedLine], Field(min_length=1, max_length=250)]
    invoice_metadata: Metadata = None


class RemovedLine(Params):
    behavior: Literal["delete", "unassign"]
    id: str


class RemoveLines(Params):
    lines: Annotated[list[RemovedLine], Field(min_length=1, max_length=250)]
    invoice_metadata: Metadata = None


def add(step: Step, params: AddLines, id_: str) -> Body:
    """Lines of items that wait, and new ones: each of those has an invoice item of its own."""
    before = invoiceitems.editable(step, id_)
    for asked in params.lines:
        if asked.invoice_item is not None:
            drafting.fill(step, id_, [_waiting(step, asked.invoice_item)])
            continue
        new = {name: getattr(asked, name) for name in asked.given - {"invoice_item"}}
        made = invoiceitems.CreateItem.model_construct(asked.given | {"invoice"}, **new, invoice=id_)
        invoiceitems.put(step, made, step.get("customer", before["customer"]), before)
    return _told(step, params.invoice_metadata, before)


def _waiting(step: Step, id_: str) -> lines.Line:
    item = step.get("invoiceitem", id_, "lines[0][invoice_item]")
    refuse_unless(item["invoice"] is None, "This invoice item is on an invoice already.", "lines")
    return items.line_of(item)


def update(step: Step, params: UpdateLines, id_: str) -> Body:
    before = invoiceitems.editable(step, id_)
    for asked in params.lines:
        _change(step, id_, asked, asked.id)
    return _told(step, params.invoice_metadata, before)


def update_one(step: Step, params: LineAsked, id_: str, line_id: str) -> Body:
    before = invoiceitems.editable(step, id_)
    _change(step, id_, params, line_id)
    _told(step, None, before)
    return _line(step, id_, line_id)


def remove(step: Step, params: RemoveLines, id_: str) -> Body:
    """`unassign` lets the item wait for another invoice; `delete` deletes it."""
    before = invoiceitems.editable(step, id_)
    for asked in params.lines:
        item = invoiceitems.item_of(_line(step, id_, asked.id))
        if item is not None and asked.behavior == "unassign":
            step.change(item, invoice=None)
        elif item is not None:
            step.tell("invoiceitem.deleted", step.get("invoiceitem", item))
            step.remove(item)
        drafting.recount(step, id_, [line for line in _lines(step, id_) if line["id"] != asked.id])
    return _told(step, params.invoice_metadata, before)


def _change(step: Step, invoice: str, asked: LineAsked, line_id: str) -> None:
    """A line that has an invoice item changes with it; one of a subscription changes alone."""
    line = _line(step, invoice, line_id)
    item = invoiceitems.item_of(line)
    if item is not None:
        invoiceitems.change(step, asked, item)
        return
    changed = {**line, **_plain_changes(step, line, asked)}
    drafting.recount(
        step, invoice, [changed if each["id"] == line_id else each for each in _lines(step, invoice)]
    )


def _plain_changes(step: Step, line: Body, asked: LineAsked) -> Body:
    changes = asked.changes_to(line, "description", "discountable")
    if asked.amount is not None:
        changes |= {"amount": asked.amount, "subtotal": asked.amount}
    if asked.period is not None:
        changes["period"] = {"end": asked.period.end, "start": asked.period.start}
    if "tax_rates" in asked.given:
        changes["_tax_rates"] = tax_rates.named(step, asked.tax_rates)
    refuse_unless(
        not asked.given & {"quantity", "quantity_decimal", "pricing", "price_data"},
        "The quantity and the price of a subscription's line are changed on the subscription.",
        "lines",
    )
    return changes


def _lines(step: Step, invoice: str) -> list[Body]:
    found: list[Body] = step.get("invoice", invoice)["_lines"]
    return found


def _line(step: Step, invoice: str, id_: str) -> Body:
    found = next((line for line in _lines(step, invoice) if line["id"] == id_), None)
    if found is None:
        raise missing("line_item", id_)
    return found


def _told(step: Step, metadata: dict[str, str] | None, before: Body) -> Body:
    if metadata is not None:
        step.change(before["id"], metadata=merged(before["metadata"], metadata))
    return step.updated("invoice.updated", before)


NOT_HERE = frozenset({"tax_amounts"})
OPERATIONS = (
    Operation("POST /v1/invoices/{invoice}/add_lines", add, AddLines),
    Operation("POST /v1/invoices/{invoice}/update_lines", update, UpdateLines),
    Operation("POST /v1/invoices/{invoice}/remove_lines", remove, RemoveLines),
    Operation("POST /v1/invoices/{invoice}/lines/{line_item_id}", update_one, ChangedAlone, NOT_HERE),
)
