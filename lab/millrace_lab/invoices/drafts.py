"""The operations on drafts: making an invoice, changing it, deleting it.

Source: docs.stripe.com/api/invoices/create, .../update, .../delete.
"""

from __future__ import annotations

from typing import Annotated, Literal

from millrace_lab.account import DAY, Step, refuse_unless
from millrace_lab.catalog import discounts, tax_rates
from millrace_lab.catalog.asking import AutomaticTax, CustomField, Days, Discounts, MethodType, Rates
from millrace_lab.errors import Body, invalid
from millrace_lab.invoices import asking, drafting, items
from millrace_lab.invoices.lines import Line
from millrace_lab.operations import Operation
from millrace_lab.params import Currency, Metadata, NoParams, NotHere, Params, Second, Text, Unset

Method = Literal["charge_automatically", "send_invoice"]


class PaymentSettings(Params):
    payment_method_types: Annotated[list[MethodType] | None, Unset] = None
    default_mandate: NotHere = None
    payment_method_options: NotHere = None


class InvoiceTerms(Params):
    """What can be said of an invoice when it is made and while it is a draft."""

    auto_advance: bool | None = None
    automatic_tax: AutomaticTax | None = None
    automatically_finalizes_at: Second | None = None
    collection_method: Method | None = None
    custom_fields: Annotated[list[CustomField] | None, Unset] = None
    days_until_due: Days | None = None
    default_payment_method: str | None = None
    default_tax_rates: Rates = None
    description: Text = None
    discounts: Discounts = None
    due_date: Second | None = None
    effective_at: Annotated[Second | None, Unset] = None
    footer: Text = None
    metadata: Metadata = None
    number: str | None = None
    payment_settings: PaymentSettings | None = None
    statement_descriptor: Text = None


class CreateInvoice(InvoiceTerms):
    customer: str | None = None
    currency: Currency | None = None
    pending_invoice_items_behavior: Literal["exclude", "include"] | None = None
    subscription: str | None = None


def create(step: Step, params: CreateInvoice) -> Body:
    """A draft: empty, or with what waits for the customer or for a subscription. Told."""
    subscription = (
        step.get("subscription", params.subscription, "subscription") if params.subscription else None
    )
    customer = params.customer or (subscription or {}).get("customer")
    refuse_unless(bool(customer), "Missing required param: customer.", "customer", "parameter_missing")
    buyer = step.get("customer", str(customer), "customer")
    currency = asking.currency_of(step, buyer, params.currency or (subscription or {}).get("currency"), None)
    _check_due(params)
    _check_method(step, params)
    invoice = drafting.draft(
        step,
        customer=buyer["id"],
        currency=currency,
        lines=_waiting(step, params, buyer["id"], currency),
        subscription=subscription,
        billing_reason="manual",
        period=(step.now, step.now),
        terms=_terms(step, params, subscription),
    )
    invoice = _discounted(step, invoice, params)
    step.tell("invoice.created", invoice)
    return invoice


def _waiting(step: Step, params: CreateInvoice, customer: str, currency: str) -> list[Line]:
    """One-off invoices leave what waits alone unless they are asked; those of a subscription take it."""
    if params.subscription:
        found = items.take(step, subscription=params.subscription, currency=currency)
        refuse_unless(
            bool(found), "Nothing to invoice for subscription", code="invoice_no_subscription_line_items"
        )
        return found
    if params.pending_invoice_items_behavior != "include":
        return []
    return items.take(step, customer=customer, currency=currency)


def _terms(step: Step, params: CreateInvoice, subscription: Body | None) -> drafting.Terms:
    plain = {"collection_method", "days_until_due", "default_payment_method", "description", "due_date", "footer",
             "number", "statement_descriptor"}  # fmt: skip
    default = None if subscription else ()
    return drafting.Terms(
        **params.model_dump(include=plain),
        auto_advance=bool(params.auto_advance),
        automatic_tax=params.automatic_tax.enabled if params.automatic_tax else None,
        custom_fields=[field.model_dump() for field in params.custom_fields or ()] or None,
        default_tax_rates=tuple(tax_rates.named(step, params.default_tax_rates)) or default,
        discounts=() if "discounts" in params.given else None,
        effective_at=params.effective_at or None,
        finalizes_at=params.automatically_finalizes_at,
        metadata=params.metadata,
        payment_settings=params.payment_settings.model_dump() if params.payment_settings else None,
    )


def _check_method(step: Step, params: InvoiceTerms) -> None:
    if params.default_payment_method is not None:
        step.get("payment_method", params.default_payment_method, "default_payment_method")


def _check_due(params: InvoiceTerms, method: str | None = None) -> None:
    sent = (params.collection_method or method) == "send_invoice"
    for name in ("days_until_due", "due_date"):
        refuse_unless(
            sent or getattr(params, name) is None,
            f"You can only set `{name}` if `collection_method` is `send_invoice`.",
            name,
        )
    refuse_unless(
        params.days_until_due is None or params.due_date is None,
        "You may only specify one of these parameters: days_until_due, due_date.",
    )


def _discounted(step: Step, invoice: Body, params: InvoiceTerms) -> Body:
    if "discounts" not in params.given:
        return invoice
    attached = discounts.attach(step, params.discounts, customer=invoice["customer"], invoice=invoice["id"])
    step.change(invoice["id"], discounts=[each["id"] for each in attached])
    return drafting.recount(step, invoice["id"])


FIXED = frozenset(InvoiceTerms.model_fields) - {
    "auto_advance", "default_payment_method", "metadata", "payment_settings",
}  # fmt: skip


def update(step: Step, params: InvoiceTerms, id_: str) -> Body:
    """A draft can be changed in every way; a finalized invoice only in how it is collected."""
    before = step.get("invoice", id_)
    fixed = sorted(params.given & FIXED)
    if before["status"] != "draft" and fixed:
        raise invalid(
            f"Finalized invoices can't be updated in this way: {fixed[0]}.", fixed[0], "invoice_not_editable"
        )
    _check_due(params, before["collection_method"])
    _check_method(step, params)
    step.change(id_, **_changes(step, params, before))
    if before["status"] == "draft":
        _discounted(step, step.get("invoice", id_), params)
        drafting.recount(step, id_)
    _advance(step, before, step.get("invoice", id_))
    return step.updated("invoice.updated", before)


def _changes(step: Step, params: InvoiceTerms, before: Body) -> Body:
    changes = params.changes_to(
        before, "auto_advance", "automatically_finalizes_at", "collection_method", "custom_fields",
        "default_payment_method", "description", "due_date", "effective_at", "footer", "number",
        "statement_descriptor",
    )  # fmt: skip
    if "default_tax_rates" in params.given:
        changes["default_tax_rates"] = tax_rates.named(step, params.default_tax_rates)
    if params.automatic_tax is not None:
        buyer = step.get("customer", before["customer"])
        changes["automatic_tax"] = drafting.automatic_tax(params.automatic_tax.enabled, buyer)
    if params.payment_settings is not None:
        changes["payment_settings"] = {
            **before["payment_settings"],
            **params.changes("payment_settings")["payment_settings"],
        }
    return changes | _due(step, params, before)


def _due(step: Step, params: InvoiceTerms, before: Body) -> Body:
    """When a sent invoice is due: at a date, or some days after it is finalized."""
    method = params.collection_method or before["collection_method"]
    if method != "send_invoice":
        return {"due_date": None, "_days_until_due": None}
    if params.due_date is not None:
        return {"due_date": params.due_date, "_days_until_due": None}
    if before["due_date"] is not None and params.days_until_due is None:
        return {}
    days = 30 if params.days_until_due is None else params.days_until_due
    return {"due_date": step.now + days * DAY, "_days_until_due": days}


def _advance(step: Step, before: Body, now: Body) -> None:
    """Switching `auto_advance` on or off puts the invoice on the agenda or takes it off."""
    if now["status"] == "open" and before["auto_advance"] != now["auto_advance"]:
        at = now["next_payment_attempt"] if now["auto_advance"] else None
        step.due(now["id"], "invoice.retry", at)
    if now["status"] != "draft":
        return
    at = None
    if now["auto_advance"]:
        at = now["automatically_finalizes_at"] or step.now + int(step.settings["draft_seconds"])
    step.due(now["id"], "invoice.finalize", at)
    charged = now["collection_method"] == "charge_automatically"
    step.change(now["id"], automatically_finalizes_at=at, next_payment_attempt=at if charged else None)


def delete(step: Step, _: NoParams, id_: str) -> Body:
    """Only a one-off draft; what waited for it waits again (our reading)."""
    invoice = step.get("invoice", id_)
    refuse_unless(invoice["status"] == "draft", "You can only delete draft invoices.")
    refuse_unless(
        invoice["_subscription"] is None,
        "Draft invoices created by subscriptions can't be deleted; void them once they are finalized.",
    )
    for item in step.of("invoiceitem", id_):
        step.change(item["id"], invoice=None)
    step.due(id_, "invoice.finalize", None)
    step.tell("invoice.deleted", invoice)
    step.remove(id_)
    return {"id": id_, "object": "invoice", "deleted": True}


NOT_HERE = frozenset({"account_tax_ids", "application_fee_amount", "default_source", "issuer", "on_behalf_of",
                      "rendering", "shipping_cost", "shipping_details", "transfer_data"})  # fmt: skip
OPERATIONS = (
    Operation("POST /v1/invoices", create, CreateInvoice, NOT_HERE | {"customer_account", "from_invoice"}),
    Operation("POST /v1/invoices/{invoice}", update, InvoiceTerms, NOT_HERE),
    Operation("DELETE /v1/invoices/{invoice}", delete),
)
