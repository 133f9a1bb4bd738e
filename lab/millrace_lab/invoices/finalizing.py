"""The moment at which a draft becomes binding: place, usage, credits, balance, number, papers."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from millrace_lab.account import DAY, Step
from millrace_lab.catalog import costs, prices
from millrace_lab.customers import balance, numbering
from millrace_lab.errors import Body, StripeError
from millrace_lab.invoices import drafting, lines
from millrace_lab.usage import credits, meters


def locate(step: Step, invoice: Body) -> None:
    """Automatic tax needs the customer's place: without it the draft stays, and says why.

    Source: docs.stripe.com/billing/taxes/collect-taxes, `invoice.finalization_failed`.
    """
    if not invoice["automatic_tax"]["enabled"]:
        return
    buyer = step.get("customer", invoice["customer"])
    known, refusal = drafting.automatic_tax(True, buyer), _placeless()
    if known["status"] == "complete":
        step.change(invoice["id"], automatic_tax=known)
        return
    step.change(
        invoice["id"],
        automatic_tax=known,
        last_finalization_error=refusal.body()["error"],
        automatically_finalizes_at=None,
    )
    told = step.updated("invoice.updated", invoice)
    step.tell("invoice.finalization_failed", told)
    raise refusal


def _placeless() -> StripeError:
    return StripeError(
        400,
        "The customer's location isn't recognized. Set a valid customer address in order to automatically "
        "calculate tax.",
        code="customer_tax_location_invalid",
        param="automatic_tax",
    )


def opened(step: Step, id_: str) -> Body:
    """The invoice after its finalisation, open or, with nothing due, paid. Only the balance is told."""
    drafting.recount(step, id_, _measured(step, step.get("invoice", id_)))
    invoice = _credited(step, step.get("invoice", id_))
    free = invoice["amount_due"] == 0
    step.due(id_, "invoice.finalize", None)
    number = invoice["number"] or numbering.next_number(step, invoice["customer"])
    _carry(step, invoice)
    return step.change(
        id_,
        attempted=free,
        auto_advance=invoice["auto_advance"] and not free,
        automatically_finalizes_at=None,
        due_date=_due_date(step, invoice),
        effective_at=invoice["effective_at"] or step.now,
        ending_balance=invoice["_carried"],
        last_finalization_error=None,
        next_payment_attempt=None if free else invoice["next_payment_attempt"],
        number=number,
        status="paid" if free else "open",
        status_transitions={
            **invoice["status_transitions"],
            "finalized_at": step.now,
            "paid_at": step.now if free else None,
        },
        **_papers(step, id_),
    )


def _measured(step: Step, invoice: Body) -> list[Body]:
    """Usage that arrived while the invoice was a draft is billed; what comes later is not.

    Source: docs.stripe.com/billing/subscriptions/usage-based/recording-usage.
    """
    found: list[Body] = []
    for meter, group in groupby(invoice["_lines"], _meter_of):
        of_one = list(group)
        found += of_one if meter is None else _measured_again(step, invoice, of_one)
    return found


def _meter_of(line: Body) -> tuple[Any, ...] | None:
    if line["_meter"] is None:
        return None
    period = line["period"]
    return line["_meter"], line["_price"]["id"], str(line["parent"]), period["start"], period["end"]


def _measured_again(step: Step, invoice: Body, group: list[Body]) -> list[Body]:
    """The lines of one metered item, as many as its tiers ask for now."""
    first, period = group[0], group[0]["period"]
    used = meters.used(step, first["_meter"], invoice["customer"], period["start"], period["end"])
    charges = costs.charges(prices.in_currency(first["_price"], invoice["currency"]), used)
    told = {"description": group[-1]["description"]}
    shells = [*group, *({**group[-1], **told, "id": step.new_id("il")} for _ in charges[len(group) :])]
    return [
        {
            **shell,
            "amount": charge.amount,
            "subtotal": charge.amount,
            "quantity": int(charge.quantity),
            "quantity_decimal": lines.decimal(charge.quantity),
            "pricing": lines.pricing(first["_price"], charge.unit_amount_decimal),
        }
        for shell, charge in zip(shells, charges, strict=False)
    ]


def _credited(step: Step, invoice: Body) -> Body:
    """Prepaid credits come after discounts and before taxes."""
    drawn = credits.apply(step, invoice, invoice["_lines"])
    if not drawn:
        return invoice
    return drafting.recount(
        step,
        invoice["id"],
        [{**line, "_credits": drawn.get(line["id"], [])} for line in invoice["_lines"]],
    )


def _carry(step: Step, invoice: Body) -> None:
    """Move the customer's balance to where it ends. Source: docs.stripe.com/billing/customer/balance."""
    moved = invoice["_carried"] - invoice["starting_balance"]
    if moved:
        small = invoice["_carried"] > 0 and invoice["total"] > 0
        balance.move(
            step,
            invoice["customer"],
            moved,
            invoice["currency"],
            "invoice_too_small" if small else "applied_to_invoice",
            invoice=invoice["id"],
        )


def _due_date(step: Step, invoice: Body) -> int | None:
    if invoice["due_date"] is None or invoice["_days_until_due"] is None:
        due: int | None = invoice["due_date"]
        return due
    return step.now + int(invoice["_days_until_due"]) * DAY


def _papers(step: Step, id_: str) -> Body:
    """The page on which the customer pays: the double's own where it is served, else an address like Stripe's."""
    if site := step.settings.get("site"):
        return {"hosted_invoice_url": f"{site}/invoice/{id_}", "invoice_pdf": f"{site}/invoice/{id_}/pdf"}
    page = f"https://invoice.stripe.com/i/{step.account.id}/test_{id_}"
    return {"hosted_invoice_url": f"{page}?s=ap", "invoice_pdf": f"{page}/pdf?s=ap"}
