"""The operations on invoices: reading them, and taking them from the draft to their end.

Source: docs.stripe.com/api/invoices, docs.stripe.com/invoicing/overview.
"""

from __future__ import annotations

from typing import Literal

from millrace_lab import lists
from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body, StripeError
from millrace_lab.invoices import closing, collection, invoice_payments, invoiceitems, settling
from millrace_lab.invoices.drafts import Method
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, NoParams, Params, Times
from millrace_lab.payments import charging


class FinalizeInvoice(Params):
    auto_advance: bool | None = None


class PayInvoice(Params):
    off_session: bool = True
    paid_out_of_band: bool = False
    payment_method: str | None = None


class AttachPayment(Params):
    payment_intent: str | None = None


class ListInvoices(ListParams):
    collection_method: Method | None = None
    created: Times | None = None
    customer: str | None = None
    due_date: Times | None = None
    status: Literal["draft", "open", "paid", "uncollectible", "void"] | None = None
    subscription: str | None = None


# Reading.


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("invoice", id_)


def listing(step: Step, params: ListInvoices) -> Page:
    parent = params.subscription or params.customer
    by = ("collection_method", "created", "customer", "due_date", "status")
    return lists.page(step, "invoice", params, "/v1/invoices", parent=parent, by=by)


def lines_of(step: Step, params: ListParams, id_: str) -> Page:
    """Every line, in the order of the invoice."""
    return lists.cut(step.get("invoice", id_)["_lines"], params, f"/v1/invoices/{id_}/lines")


# From the draft to the end.


def finalize(step: Step, params: FinalizeInvoice, id_: str) -> Body:
    if params.auto_advance is not None:
        invoiceitems.editable(step, id_)
        step.change(id_, auto_advance=params.auto_advance)
    return collection.finalize_alone(step, id_, later=True)


def send(step: Step, _: NoParams, id_: str) -> Body:
    """Finalize it if it is a draft, and mail it."""
    invoice = step.get("invoice", id_)
    if invoice["status"] == "draft":
        invoice = collection.finalize_alone(step, id_, later=True)
    refuse_unless(
        invoice["status"] in ("open", "uncollectible", "paid"),
        f"You can't send an invoice that is {invoice['status']}.",
    )
    step.tell("invoice.sent", invoice)
    return invoice


def pay(step: Step, params: PayInvoice, id_: str) -> Body:
    """Try now. A decline answers 402, and what happened stays: the charge, the events, the attempt."""
    invoice = step.get("invoice", id_)
    refuse_unless(invoice["status"] != "paid", "Invoice is already paid", code="invoice_already_paid")
    refuse_unless(invoice["status"] != "void", "This invoice is void and can't be paid.")
    if params.paid_out_of_band:
        return paid_outside(step, id_)
    method = _method(step, params, invoice)
    tried = collection.pay(step, id_, method, off_session=params.off_session)
    if tried["status"] != "paid":
        _refuse_unpaid(step, tried)
    return tried


def _method(step: Step, params: PayInvoice, invoice: Body) -> str | None:
    if params.payment_method is not None:
        found: str = step.get("payment_method", params.payment_method, "payment_method")["id"]
        return found
    if invoice["amount_due"] > 0 and collection.method_of(step, invoice) is None:
        raise _no_way_to_pay()
    return None


def _no_way_to_pay(*, keep: bool = False) -> StripeError:
    """Kept where the draft had to be finalized before it was known what it comes to."""
    return StripeError(
        400,
        "This customer has no attached payment source or default payment method. Please consider adding a "
        "default payment method.",
        code="resource_missing",
        keep=keep,
    )


def _refuse_unpaid(step: Step, invoice: Body) -> None:
    """A decline, or a customer who has to act; a bank debit on its way is no refusal."""
    intent = step.get("payment_intent", invoice["_payment_intent"])
    if intent["status"] == "requires_action":
        raise StripeError(
            402,
            "This payment requires additional user action before it can be completed successfully. Payment can "
            "be completed using the PaymentIntent associated with the invoice.",
            code="invoice_payment_intent_requires_action",
            keep=True,
        )
    if intent["status"] == "requires_payment_method":
        raise charging.refusal(intent) if intent["last_payment_error"] else _no_way_to_pay(keep=True)


def paid_outside(step: Step, id_: str) -> Body:
    """Money came another way: nothing is charged. Source: docs.stripe.com/api/invoices/pay, paid_out_of_band."""
    if step.get("invoice", id_)["status"] == "draft":
        collection.finalize_alone(step, id_)
    before = step.get("invoice", id_)
    if before["status"] == "paid":
        return before
    left = before["amount_remaining"]
    step.change(
        id_,
        amount_paid=before["amount_paid"] + left,
        amount_paid_off_stripe=before["amount_paid_off_stripe"] + left,
        amount_remaining=0,
        _paid_out_of_band=True,
    )
    return settling.paid_up(step, before, by_payment=False)


def void(step: Step, _: NoParams, id_: str) -> Body:
    invoice = step.get("invoice", id_)
    partly = invoice["amount_paid"] > 0 and invoice["status"] != "paid"
    refuse_unless(not partly, "You cannot void an invoice that has been partially paid.")
    return closing.void(step, id_)


def mark_uncollectible(step: Step, _: NoParams, id_: str) -> Body:
    return closing.write_off(step, id_, "user_forgiven")


def attach_payment(step: Step, params: AttachPayment, id_: str) -> Body:
    """Let an intent pay a part or all of an open invoice; one that has succeeded is credited at once."""
    invoice = step.get("invoice", id_)
    refuse_unless(invoice["status"] == "open", "Payments can only be attached to open invoices.")
    refuse_unless(
        params.payment_intent is not None, "Missing required param: payment_intent.", "payment_intent"
    )
    intent = step.get("payment_intent", str(params.payment_intent), "payment_intent")
    _check_fits(step, invoice, intent)
    payment = invoice_payments.expect(
        step, invoice, intent["id"], min(intent["amount"], invoice["amount_remaining"]), default=False
    )
    if intent["status"] == "succeeded":
        settling.received(step, payment, intent["amount_received"], intent["latest_charge"])
    return step.get("invoice", id_)


def _check_fits(step: Step, invoice: Body, intent: Body) -> None:
    for name in ("customer", "currency"):
        refuse_unless(
            intent[name] == invoice[name],
            f"The PaymentIntent's {name} does not match the invoice's.",
            "payment_intent",
        )
    refuse_unless(
        intent["status"] != "canceled", "A canceled PaymentIntent can't be attached.", "payment_intent"
    )
    attached = step.of("invoice_payment", intent["id"])
    refuse_unless(not attached, "This PaymentIntent is already attached to an invoice.", "payment_intent")


OPERATIONS = (
    Operation("GET /v1/invoices/{invoice}", retrieve),
    Operation("GET /v1/invoices", listing, ListInvoices, frozenset({"customer_account"})),
    Operation("GET /v1/invoices/{invoice}/lines", lines_of, ListParams),
    Operation("POST /v1/invoices/{invoice}/finalize", finalize, FinalizeInvoice),
    Operation("POST /v1/invoices/{invoice}/send", send),
    Operation(
        "POST /v1/invoices/{invoice}/pay", pay, PayInvoice, frozenset({"forgive", "mandate", "source"})
    ),
    Operation("POST /v1/invoices/{invoice}/void", void),
    Operation("POST /v1/invoices/{invoice}/mark_uncollectible", mark_uncollectible),
    Operation(
        "POST /v1/invoices/{invoice}/attach_payment",
        attach_payment,
        AttachPayment,
        frozenset({"payment_record"}),
    ),
)
