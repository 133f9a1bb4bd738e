"""The arithmetic of a credit note: each of its lines takes its share of discounts, credits and taxes.

A share is worked out cumulatively: what all notes together credit of a line, rounded, less what the earlier
ones took. So notes over a whole line add up to exactly its discounts and taxes, in whatever pieces.
Source: docs.stripe.com/invoicing/credit-notes.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Literal

from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import tax
from millrace_lab.catalog.amounts import DecimalAmount
from millrace_lab.catalog.asking import Rates
from millrace_lab.errors import Body
from millrace_lab.invoices import totals
from millrace_lab.params import Amount, Count, Metadata, NotHere, Params, Text
from millrace_lab.rounding import round_half_away

Share = Callable[[int], int]


class CreditLine(Params):
    """One line that a credit note is asked for with."""

    type: Literal["custom_line_item", "invoice_line_item"]
    amount: Amount | None = None
    description: Text = None
    invoice_line_item: str | None = None
    metadata: Metadata = None
    quantity: Count | None = None
    tax_rates: Rates = None
    unit_amount: Amount | None = None
    unit_amount_decimal: DecimalAmount | None = None
    tax_amounts: NotHere = None


def share(before: int, amount: int, whole: int) -> Share:
    """How much of a figure goes with `amount` out of `whole`, after `before` of it went earlier."""

    def of(figure: int) -> int:
        if whole == 0:
            return 0
        upto = round_half_away(Fraction(figure * (before + amount), whole))
        return upto - round_half_away(Fraction(figure * before, whole))

    return of


def issued(step: Step, invoice: str) -> list[Body]:
    return [note for note in step.of("credit_note", invoice) if note["status"] == "issued"]


def whole_amount(step: Step, invoice: Body, amount: int) -> list[Body]:
    """One line for a total that includes its tax, as `amount` asks for it.

    The line names a line of the invoice that is large enough to bear it, if there is one (our reading).
    """
    before = sum(note["total"] for note in issued(step, invoice["id"]))
    of = share(before, amount, invoice["total"])
    taxes = [_taxed(entry, of) for entry in invoice["total_taxes"]]
    on_top = sum(entry["amount"] for entry in taxes if entry["tax_behavior"] == "exclusive")
    fitting = [line["id"] for line in invoice["_lines"] if line["amount"] >= amount - on_top]
    named = (
        {"invoice_line_item": fitting[0], "type": "invoice_line_item"}
        if fitting
        else {"type": "custom_line_item"}
    )
    return [_line(step, amount - on_top, "Credit", taxes=taxes, **named)]


def of_invoice_line(step: Step, invoice: Body, asked: CreditLine) -> Body:
    """Part or all of one line: by quantity, else by amount; discounts and taxes follow in proportion."""
    line = next((line for line in invoice["_lines"] if line["id"] == asked.invoice_line_item), None)
    refuse_unless(line is not None, f"No such invoice line item: '{asked.invoice_line_item}'", "lines")
    assert line is not None
    amount = _asked_amount(line, asked)
    before = _credited_before(step, invoice, line)
    refuse_unless(
        0 <= before + amount <= line["amount"],
        "The credit note line's amount is more than what is left of the invoice line.",
        "lines",
    )
    of = share(before, amount, line["amount"])
    return _line(
        step,
        amount,
        asked.description or line["description"],
        discounts=[{**each, "amount": of(each["amount"])} for each in line["discount_amounts"]],
        credits=[{**each, "amount": of(each["amount"])} for each in line["_credits"]],
        taxes=[_taxed(entry, of) for entry in line["taxes"]],
        quantity=asked.quantity,
        invoice_line_item=line["id"],
        type="invoice_line_item",
        metadata=asked.metadata,
    )


def custom(step: Step, asked: CreditLine, rates: list[Body]) -> Body:
    """A line that is on no invoice."""
    quantity = asked.quantity or 1
    unit = asked.unit_amount_decimal or asked.unit_amount
    amount = asked.amount if unit is None else round_half_away(Fraction(str(unit)) * quantity)
    refuse_unless(amount is not None, "Missing required param: lines[unit_amount].", "lines")
    assert amount is not None
    return _line(
        step,
        amount,
        asked.description,
        taxes=tax.taxes(amount, rates),
        rates=rates,
        quantity=quantity,
        type="custom_line_item",
        metadata=asked.metadata,
    )


def _asked_amount(line: Body, asked: CreditLine) -> int:
    if asked.amount is not None:
        return int(asked.amount)
    if asked.quantity is None or not line["quantity"]:
        return int(line["amount"])
    return round_half_away(Fraction(line["amount"] * asked.quantity, line["quantity"]))


def _credited_before(step: Step, invoice: Body, line: Body) -> int:
    return sum(
        credited["amount"]
        for note in issued(step, invoice["id"])
        for credited in note["_lines"]
        if credited.get("invoice_line_item") == line["id"]
    )


def _taxed(entry: Body, of: Share) -> Body:
    return {**entry, "amount": of(entry["amount"]), "taxable_amount": of(entry["taxable_amount"] or 0)}


def _line(
    step: Step,
    amount: int,
    description: str | None,
    *,
    taxes: list[Body],
    discounts: list[Body] | None = None,
    credits: list[Body] | None = None,
    rates: list[Body] | None = None,
    quantity: int | None = None,
    metadata: Body | None = None,
    **named: str,
) -> Body:
    off = discounts or []
    unit = Fraction(amount, quantity or 1)
    whole = unit.denominator == 1
    return {
        "id": step.new_id("cnli"),
        "object": "credit_note_line_item",
        "amount": amount,
        "description": description,
        "discount_amount": sum(each["amount"] for each in off),
        "discount_amounts": off,
        "livemode": step.account.livemode,
        "metadata": metadata or {},
        "pretax_credit_amounts": [*({**each, "type": "discount"} for each in off), *(credits or [])],
        "quantity": quantity or 1,
        "tax_rates": rates or [],
        "taxes": taxes,
        "unit_amount": int(unit) if whole else None,
        "unit_amount_decimal": str(unit.numerator) if whole else None,
        **named,
    }


def counted(of: list[Body]) -> Body:
    """The totals of a credit note from its lines."""
    exclusive = totals.taxed(of, "exclusive")
    subtotal = sum(line["amount"] for line in of)
    pretax = totals.summed(of, "pretax_credit_amounts", ("discount", "credit_balance_transaction"))
    total = subtotal - sum(entry["amount"] for entry in pretax) + exclusive
    inclusive = totals.taxed(of, "inclusive")
    return {
        "amount": total,
        "discount_amount": sum(line["discount_amount"] for line in of),
        "discount_amounts": totals.summed(of, "discount_amounts", ("discount",)),
        "pretax_credit_amounts": pretax,
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal - inclusive,
        "total": total,
        "total_excluding_tax": total - exclusive - inclusive,
        "total_taxes": totals.taxes_of(of),
    }
