"""The operations on invoice items. Source: docs.stripe.com/api/invoiceitems."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from millrace_lab import lists
from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import discounts, tax_rates
from millrace_lab.errors import Body
from millrace_lab.invoices import asking, drafting, items, lines
from millrace_lab.invoices.asking import ItemAsked, LineAsked
from millrace_lab.invoices.lines import Line
from millrace_lab.operations import Operation, Page
from millrace_lab.params import Currency, ListParams, NoParams, Times, merged


class CreateItem(ItemAsked):
    customer: str | None = None
    currency: Currency | None = None
    invoice: str | None = None
    subscription: str | None = None


class UpdateItem(ItemAsked):
    pass


class ListItems(ListParams):
    created: Times | None = None
    customer: str | None = None
    invoice: str | None = None
    pending: bool | None = None


def create(step: Step, params: CreateItem) -> Body:
    """A waiting item, or one on a draft at once. Told, with the draft's update."""
    draft = editable(step, params.invoice) if params.invoice else None
    customer = params.customer or (draft or {}).get("customer")
    refuse_unless(bool(customer), "Missing required param: customer.", "customer", "parameter_missing")
    buyer = step.get("customer", str(customer), "customer")
    subscription = (
        step.get("subscription", params.subscription, "subscription") if params.subscription else None
    )
    asked = params.currency or (draft or {}).get("currency") or (subscription or {}).get("currency")
    item = put(step, params, buyer, draft or {"currency": asked}, subscription)
    if draft is not None:
        step.updated("invoice.updated", draft)
    return item


def put(step: Step, params: CreateItem, buyer: Body, known: Body, subscription: Body | None = None) -> Body:
    """The item itself, told; on its draft, which is told by the caller. `known` has the currency, if any."""
    price = asking.price_of(step, params)
    made = asking.line(step, params, asking.currency_of(step, buyer, known["currency"], price), price)
    item = items.add(step, buyer["id"], made, subscription, invoice=params.invoice)
    item = _discounted(step, item, params)
    if params.invoice is not None:
        drafting.fill(step, params.invoice, [items.line_of(item)])
    return item


def _discounted(step: Step, item: Body, params: LineAsked) -> Body:
    if "discounts" not in params.given:
        return item
    attached = discounts.attach(step, params.discounts, customer=item["customer"], invoice_item=item["id"])
    return step.change(item["id"], discounts=[each["id"] for each in attached])


def editable(step: Step, invoice: str) -> Body:
    """A draft. Raises StripeError for an invoice that is finalized."""
    found = step.get("invoice", invoice, "invoice")
    refuse_unless(
        found["status"] == "draft",
        "This invoice is no longer editable: it has been finalized.",
        "invoice",
        "invoice_not_editable",
    )
    return found


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("invoiceitem", id_)


def update(step: Step, params: UpdateItem, id_: str) -> Body:
    """Change what waits or what is on a draft. Stripe tells no event for an item's change."""
    item = step.get("invoiceitem", id_)
    draft = editable(step, item["invoice"]) if item["invoice"] else None
    change(step, params, id_)
    if draft is not None:
        step.updated("invoice.updated", draft)
    return step.get("invoiceitem", id_)


def change(step: Step, params: LineAsked, id_: str) -> None:
    """The item, and its line on a draft; nothing is told."""
    old = items.line_of(step.get("invoiceitem", id_))
    step.change(id_, **items.fields(_changed(step, old, params)))
    item = _discounted(step, step.get("invoiceitem", id_), params)
    if item["invoice"] is not None:
        draft = step.get("invoice", item["invoice"])
        drafting.recount(step, draft["id"], _with(step, draft, item))


def _changed(step: Step, old: Line, params: LineAsked) -> Line:
    """The old line with what was asked for; the amount follows from price and quantity if they changed."""
    kept: dict[str, Any] = params.model_dump(include=params.given & {"description", "discountable"})
    if params.period:
        kept["period"] = (params.period.start, params.period.end)
    if "metadata" in params.given:
        kept["metadata"] = merged(old.metadata, params.metadata)
    if "tax_rates" in params.given:
        kept["tax_rates"] = tuple(tax_rates.named(step, params.tax_rates))
    return replace(old, **kept, **repriced(step, old, params))


def repriced(step: Step, old: Line, params: LineAsked) -> dict[str, Any]:
    """Price, quantity and amount of a line after a change."""
    if params.amount is not None:
        return {"amount": params.amount, "price": None, "unit_amount_decimal": None, "quantity": 1}
    quantity = asking.quantity_of(params)
    price = asking.price_of(step, params) or old.price
    if quantity is None and price is old.price and asking.unit_asked(params) is None:
        return {}
    bought = quantity if quantity is not None else old.quantity
    unit = asking.unit_of(price, params, old.currency) or old.unit_amount_decimal
    amount = old.amount if unit is None or bought is None else asking.cost(unit, Fraction(bought))
    return {"amount": amount, "price": price, "unit_amount_decimal": unit, "quantity": bought}


def _with(step: Step, draft: Body, item: Body) -> list[Body]:
    """The draft's lines after one of its items changed; its line keeps its id."""
    made = lines.body(step, items.line_of(item), draft["id"])
    return [{**made, "id": line["id"]} if _is_of(line, item) else line for line in draft["_lines"]]


def _is_of(line: Body, item: Body) -> bool:
    return item_of(line) == str(item["id"])


def item_of(line: Body) -> str | None:
    """The invoice item behind a line."""
    if line["parent"] is None:
        return None
    found: str | None = line["parent"][line["parent"]["type"]]["invoice_item"]
    return found


def delete(step: Step, _: NoParams, id_: str) -> Body:
    item = step.get("invoiceitem", id_)
    draft = editable(step, item["invoice"]) if item["invoice"] else None
    step.tell("invoiceitem.deleted", item)
    step.remove(id_)
    if draft is not None:
        drafting.recount(step, draft["id"], [line for line in draft["_lines"] if not _is_of(line, item)])
        step.updated("invoice.updated", draft)
    return {"id": id_, "object": "invoiceitem", "deleted": True}


def listing(step: Step, params: ListItems) -> Page:
    def wanted(item: Body) -> bool:
        return (params.created is None or params.created.holds(item["date"])) and (
            params.pending is None or (item["invoice"] is None) == params.pending
        )

    parent = params.invoice or params.customer
    return lists.page(step, "invoiceitem", params, "/v1/invoiceitems", wanted, parent, by=("customer",))


NOT_HERE = frozenset({"tax_behavior", "tax_code"})
OPERATIONS = (
    Operation("POST /v1/invoiceitems", create, CreateItem, NOT_HERE | {"customer_account"}),
    Operation("GET /v1/invoiceitems/{invoiceitem}", retrieve),
    Operation("POST /v1/invoiceitems/{invoiceitem}", update, UpdateItem, NOT_HERE),
    Operation("DELETE /v1/invoiceitems/{invoiceitem}", delete),
    Operation("GET /v1/invoiceitems", listing, ListItems, frozenset({"customer_account"})),
)
