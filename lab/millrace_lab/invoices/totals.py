"""What an invoice comes to: each amount is rounded once, on its line, and the totals are sums of lines.

Order of the arithmetic, for each line: its own discounts, the invoice's discounts, prepaid credits, taxes.
`subtotal` already has the lines' own discounts inside; `total` is `subtotal` less the invoice's
discounts and the prepaid credits, plus exclusive tax.

Source: docs.stripe.com/api/invoices/object; docs/lab/behaviours.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from millrace_lab.account import Step
from millrace_lab.catalog import discounts, tax
from millrace_lab.catalog.currencies import grain
from millrace_lab.customers import balance
from millrace_lab.errors import Body
from millrace_lab.invoices import lines

Off = list[tuple[str, int]]
"""What discounts take off one line: (discount, amount)."""

# The least that is charged. Source: docs.stripe.com/currencies#minimum-and-maximum-charge-amounts.
LEAST = {
    "aed": 200, "aud": 50, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50, "gbp": 30,
    "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50,
    "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000, "usd": 50,
}  # fmt: skip


def counted(step: Step, invoice: Body) -> Body:
    """The fields of an invoice that follow from its lines, its discounts, its taxes and the balance."""
    given = invoice["_lines"]
    own = _own(step, invoice)
    shared = _shared(step, invoice, own)
    counted_lines = [_line(step, invoice, *each) for each in zip(given, own, shared, strict=True)]
    subtotal = sum(line["amount"] for line in given) - sum(amount for off in own for _, amount in off)
    total = subtotal - sum(amount for off in shared for _, amount in off)
    total -= sum(credit["amount"] for line in counted_lines for credit in line["_credits"])
    total += taxed(counted_lines, "exclusive")
    inclusive = taxed(counted_lines, "inclusive")
    return {
        "_lines": counted_lines,
        "lines": lines.embedded(invoice["id"], counted_lines),
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal - inclusive,
        "total": total,
        "total_excluding_tax": total - inclusive - taxed(counted_lines, "exclusive"),
        "total_discount_amounts": summed(counted_lines, "discount_amounts", ("discount",)),
        "total_pretax_credit_amounts": summed(
            counted_lines, "pretax_credit_amounts", ("discount", "credit_balance_transaction")
        ),
        "total_taxes": taxes_of(counted_lines),
        **asked(step, invoice, total),
    }


def asked(step: Step, invoice: Body, total: int) -> Body:
    """What is due, once the customer's balance has been looked at; nothing has moved yet.

    Less than the least charge is not due: it waits on the balance. Below zero is a credit.
    Source: docs.stripe.com/billing/customer/balance.
    """
    starting = balance.of(step.get("customer", invoice["customer"]), invoice["currency"])
    want = total + starting
    due = want if want >= LEAST.get(invoice["currency"], 1) else 0
    return {"starting_balance": starting, "amount_due": due, "amount_remaining": due, "_carried": want - due}


def _own(step: Step, invoice: Body) -> list[Off]:
    """What each line's own discounts take off it."""
    return [_split(step, [line], line["discounts"], invoice)[0] for line in invoice["_lines"]]


def _shared(step: Step, invoice: Body, own: list[Off]) -> list[Off]:
    """What the invoice's discounts take off each line, after the line's own."""
    reduced = [
        {**line, "amount": line["amount"] - sum(amount for _, amount in off)}
        for line, off in zip(invoice["_lines"], own, strict=True)
    ]
    return _split(step, reduced, invoice["discounts"], invoice)


def _split(step: Step, of: list[Body], ids: list[str], invoice: Body) -> list[Off]:
    given = discounts.live(step, ids)
    places = [number for number, line in enumerate(of) if line["discountable"]]
    parts: list[Off] = [[] for _ in of]
    if given and places:
        amounts = [of[place]["amount"] for place in places]
        products = [(of[place]["_price"] or {}).get("product") for place in places]
        off = discounts.split(step, amounts, given, invoice["currency"], products)
        for place, part in zip(places, off, strict=True):
            parts[place] = part
    return parts


def _line(step: Step, invoice: Body, line: Body, own: Off, shared: Off) -> Body:
    off = [{"amount": amount, "discount": discount} for discount, amount in [*own, *shared]]
    before_tax = line["amount"] - sum(each["amount"] for each in [*off, *line["_credits"]])
    return {
        **line,
        "discount_amounts": off,
        "pretax_credit_amounts": [*({**each, "type": "discount"} for each in off), *line["_credits"]],
        "taxes": tax.taxes(before_tax, _rates(step, invoice, line), grain(invoice["currency"])),
    }


def _rates(step: Step, invoice: Body, line: Body) -> list[Body]:
    return tax.rates_of(
        step,
        customer=step.get("customer", invoice["customer"]),
        automatic=invoice["automatic_tax"]["enabled"],
        defaults=invoice["default_tax_rates"],
        own=list(line["_tax_rates"]),
        tax_behavior=(line["_price"] or {}).get("tax_behavior"),
    )


def taxed(of: Iterable[Body], behavior: str) -> int:
    return sum(each["amount"] for line in of for each in line["taxes"] if each["tax_behavior"] == behavior)


def summed(of: Iterable[Body], field: str, names: tuple[str, ...]) -> list[Body]:
    """The entries of all lines, one for each thing that they name."""
    sums: dict[tuple[str | None, ...], Body] = {}
    for line in of:
        for each in line[field]:
            key = tuple(each.get(name) for name in names)
            found = sums.get(key, {**each, "amount": 0})
            sums[key] = {**found, "amount": found["amount"] + each["amount"]}
    return list(sums.values())


def taxes_of(of: Iterable[Body]) -> list[Body]:
    """The taxes of all lines, one entry for each rate and reason."""
    sums: dict[tuple[str, str, str], Body] = {}
    for line in of:
        for each in line["taxes"]:
            rate = (each["tax_rate_details"] or {}).get("tax_rate", "")
            key = (rate, each["tax_behavior"], each["taxability_reason"])
            found = sums.get(key, {**each, "amount": 0, "taxable_amount": 0})
            sums[key] = {
                **found,
                "amount": found["amount"] + each["amount"],
                "taxable_amount": (found["taxable_amount"] or 0) + (each["taxable_amount"] or 0),
            }
    return list(sums.values())
