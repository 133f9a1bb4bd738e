"""Credit notes: an invoice, once finalized, is corrected by a document of its own.

What the invoice still asks for is lowered first (`pre_payment_amount`). The rest was paid already
(`post_payment_amount`): it is refunded, credited to the customer's balance, or given back outside Stripe.
Source: docs.stripe.com/api/credit_notes/create, docs.stripe.com/invoicing/credit-notes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import tax_rates
from millrace_lab.customers import balance
from millrace_lab.errors import Body
from millrace_lab.invoices import crediting, invoice_payments, settling
from millrace_lab.operations import Operation, Page
from millrace_lab.params import (
    Count,
    ListParams,
    Metadata,
    NoParams,
    NotHere,
    Params,
    Second,
    Text,
    Times,
)
from millrace_lab.payments import refunds

EMBEDDED = 10
Reason = Literal["duplicate", "fraudulent", "order_change", "product_unsatisfactory"]


class LinkedRefund(Params):
    refund: str
    amount_refunded: Count | None = None
    type: Literal["refund"] = "refund"
    payment_record_refund: NotHere = None


class Preview(Params):
    """What a credit note is asked for with. Amounts in minor units."""

    invoice: str
    amount: Count | None = None
    credit_amount: Count | None = None
    effective_at: Second | None = None
    email_type: Literal["credit_note", "none"] | None = None
    lines: list[crediting.CreditLine] | None = None
    memo: Text = None
    metadata: Metadata = None
    out_of_band_amount: Count | None = None
    reason: Reason | None = None
    refund_amount: Count | None = None
    refunds: Annotated[list[LinkedRefund], Field(max_length=20)] | None = None


class PreviewLines(Preview, ListParams):
    pass


class UpdateCreditNote(Params):
    memo: Text = None
    metadata: Metadata = None


class ListCreditNotes(ListParams):
    created: Times | None = None
    customer: str | None = None
    invoice: str | None = None


# Making one.


def create(step: Step, params: Preview) -> Body:
    note = _drawn_up(step, params)
    invoice = step.get("invoice", params.invoice)
    given_back = _refunded(step, invoice, params)
    moved = _credited(step, note, params)
    note = step.add(
        {**note, "refunds": given_back, "customer_balance_transaction": moved},
        invoice["id"],
        note["customer"],
    )
    step.tell("credit_note.created", note)
    _lower(step, invoice, note)
    return step.get("credit_note", note["id"])


def preview(step: Step, params: Preview) -> Body:
    """The note that would be made; nothing changes. Refunds are shown when they are made."""
    return _drawn_up(step, params)


def preview_lines(step: Step, params: PreviewLines) -> Page:
    return lists.cut(_drawn_up(step, params)["_lines"], params, "/v1/credit_notes/preview/lines")


def _drawn_up(step: Step, params: Preview) -> Body:
    """The body of a note, with its amounts checked and split. Not kept yet."""
    invoice = step.get("invoice", params.invoice, "invoice")
    refuse_unless(
        invoice["status"] in ("open", "paid"),
        f"Credit notes can only be created for open or paid invoices. This invoice is {invoice['status']}.",
        "invoice",
    )
    of = _lines(step, invoice, params)
    counts = crediting.counted(of)
    total = counts["total"]
    refuse_unless(
        0 < total <= _creditable(step, invoice, params),
        "The amount of a credit note must be positive and at most what is left of the invoice.",
        "amount",
        "amount_too_large",
    )
    before = min(total, invoice["amount_remaining"])
    _check_split(params, total - before)
    return _body(step, invoice, params, of, counts, before)


def _lines(step: Step, invoice: Body, params: Preview) -> list[Body]:
    refuse_unless(
        (params.amount is None) != (params.lines is None),
        "You must specify exactly one of `amount` or `lines`.",
        "amount",
    )
    if params.amount is not None:
        return crediting.whole_amount(step, invoice, params.amount)
    return [
        crediting.of_invoice_line(step, invoice, asked)
        if asked.type == "invoice_line_item"
        else crediting.custom(step, asked, tax_rates.named(step, asked.tax_rates))
        for asked in params.lines or ()
    ]


def _creditable(step: Step, invoice: Body, params: Preview) -> int:
    """The invoice's total, less earlier notes, less refunds that no note accounts for."""
    notes = crediting.issued(step, invoice["id"])
    linked = {each["refund"] for note in notes for each in note["refunds"]}
    linked |= {each.refund for each in params.refunds or ()}
    loose = sum(
        refund["amount"]
        for charge in _charges(step, invoice)
        for refund in step.of("refund", charge)
        if refund["id"] not in linked and refund["status"] not in ("failed", "canceled")
    )
    left: int = invoice["total"] - sum(note["total"] for note in notes) - loose
    return left


def _charges(step: Step, invoice: Body) -> list[str]:
    """The charges that paid the invoice, newest first."""
    paid = [each for each in step.of("invoice_payment", invoice["id"]) if each["status"] == "paid"]
    intents = [step.get("payment_intent", each["payment"]["payment_intent"]) for each in paid[::-1]]
    return [intent["latest_charge"] for intent in intents if intent["latest_charge"]]


def _check_split(params: Preview, after: int) -> None:
    """Every cent that was paid has to go somewhere."""
    linked = sum(each.amount_refunded or 0 for each in params.refunds or ())
    parts = (params.refund_amount or 0, params.credit_amount or 0, params.out_of_band_amount or 0, linked)
    refuse_unless(
        sum(parts) == after,
        f"The sum of credit amount, refund amount and out of band amount ({sum(parts)}) must equal the post "
        f"payment amount of the credit note ({after}).",
    )


def _body(step: Step, invoice: Body, params: Preview, of: list[Body], counts: Body, before: int) -> Body:
    id_ = step.new_id("cn")
    earlier = len(step.of("credit_note", invoice["id"]))
    after = counts["total"] - before
    return {
        "id": id_,
        "object": "credit_note",
        **counts,
        "amount_shipping": 0,
        "created": step.now,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_account": None,
        "customer_balance_transaction": None,
        "effective_at": params.effective_at or step.now,
        "invoice": invoice["id"],
        "lines": lists.listed(of, f"/v1/credit_notes/{id_}/lines", most=EMBEDDED),
        "livemode": step.account.livemode,
        "memo": params.memo,
        "metadata": params.metadata or {},
        "number": f"{invoice['number']}-CN-{earlier + 1:02d}",
        "out_of_band_amount": params.out_of_band_amount,
        "pdf": f"https://pay.stripe.com/credit_notes/{step.account.id}/{id_}/pdf?s=ap",
        "post_payment_amount": after,
        "pre_payment_amount": before,
        "reason": params.reason,
        "refunds": [],
        "shipping_cost": None,
        "status": "issued",
        "type": "mixed" if before and after else "pre_payment" if before else "post_payment",
        "voided_at": None,
        "_lines": of,
    }


# What it does.


def _refunded(step: Step, invoice: Body, params: Preview) -> list[Body]:
    """The refunds that are linked, and one that is made."""
    found = [_entry(step.get("refund", each.refund, "refunds")["id"], each.amount_refunded or 0)
             for each in params.refunds or ()]  # fmt: skip
    if not params.refund_amount:
        return found
    charge = next((id_ for id_ in _charges(step, invoice) if _left(step, id_) >= params.refund_amount), None)
    refuse_unless(
        charge is not None,
        "The refund amount is more than what is left of the invoice's payments.",
        "refund_amount",
    )
    made = refunds.make(step, charge=str(charge), amount=params.refund_amount)
    return [*found, _entry(made["id"], params.refund_amount)]


def _entry(refund: str, amount: int) -> Body:
    return {"amount_refunded": amount, "payment_record_refund": None, "refund": refund, "type": "refund"}


def _left(step: Step, charge_id: str) -> int:
    charge = step.get("charge", charge_id)
    left: int = charge["amount"] - charge["amount_refunded"]
    return left


def _credited(step: Step, note: Body, params: Preview) -> str | None:
    """The customer's balance for the next invoice. Returns its transaction."""
    if not params.credit_amount:
        return None
    moved = balance.move(
        step,
        note["customer"],
        -params.credit_amount,
        note["currency"],
        "credit_note",
        invoice=note["invoice"],
        credit_note=note["id"],
    )
    id_: str = moved["id"]
    return id_


def _lower(step: Step, before: Body, note: Body) -> None:
    """The invoice asks for less; one that asks for nothing any more is paid."""
    lowered = _shifted(step, before, note["pre_payment_amount"], note["post_payment_amount"])
    if before["status"] == "open" and lowered["amount_remaining"] == 0:
        settling.paid_up(step, before, by_payment=False)
        return
    if note["pre_payment_amount"]:
        invoice_payments.follow(step, lowered)
    step.updated("invoice.updated", before)


def _shifted(step: Step, invoice: Body, pre: int, post: int) -> Body:
    return step.change(
        invoice["id"],
        amount_due=invoice["amount_due"] - pre,
        amount_remaining=invoice["amount_remaining"] - pre,
        pre_payment_credit_notes_amount=invoice["pre_payment_credit_notes_amount"] + pre,
        post_payment_credit_notes_amount=invoice["post_payment_credit_notes_amount"] + post,
    )


def void(step: Step, _: NoParams, id_: str) -> Body:
    """A note on an invoice that is still open can be taken back: the invoice asks for its amount again."""
    note = step.get("credit_note", id_)
    invoice = step.get("invoice", note["invoice"])
    refuse_unless(
        note["status"] == "issued" and invoice["status"] == "open",
        "You can only void a credit note of an open invoice.",
    )
    voided = step.change(id_, status="void", voided_at=step.now)
    step.tell("credit_note.voided", voided)
    raised = _shifted(step, invoice, -note["pre_payment_amount"], 0)
    invoice_payments.follow(step, raised)
    step.updated("invoice.updated", invoice)
    return voided


# Reading.


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("credit_note", id_)


def update(step: Step, params: UpdateCreditNote, id_: str) -> Body:
    before = step.get("credit_note", id_)
    changes = params.changes_to(before)
    step.change(id_, **changes)
    return step.updated("credit_note.updated", before)


def listing(step: Step, params: ListCreditNotes) -> Page:
    parent = params.invoice or params.customer
    by = ("created", "customer")
    return lists.page(step, "credit_note", params, "/v1/credit_notes", parent=parent, by=by)


def lines_of(step: Step, params: ListParams, id_: str) -> Page:
    return lists.cut(step.get("credit_note", id_)["_lines"], params, f"/v1/credit_notes/{id_}/lines")


NOT_HERE = frozenset({"shipping_cost"})
OPERATIONS = (
    Operation("POST /v1/credit_notes", create, Preview, NOT_HERE),
    Operation("GET /v1/credit_notes/preview", preview, Preview, NOT_HERE),
    Operation("GET /v1/credit_notes/preview/lines", preview_lines, PreviewLines, NOT_HERE),
    Operation("GET /v1/credit_notes/{id}", retrieve),
    Operation("POST /v1/credit_notes/{id}", update, UpdateCreditNote),
    Operation("POST /v1/credit_notes/{id}/void", void),
    Operation("GET /v1/credit_notes", listing, ListCreditNotes, frozenset({"customer_account"})),
    Operation("GET /v1/credit_notes/{credit_note}/lines", lines_of, ListParams),
)
