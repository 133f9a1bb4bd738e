"""Billing credits drawn by invoices, and given back.

What a grant holds is the sum of its transactions, never a number of its own. Credits pay for metered lines
of subscriptions only, after discounts and before taxes.
Source: docs.stripe.com/billing/subscriptions/usage-based/billing-credits.
"""

from __future__ import annotations

from typing import Any

from millrace_lab.account import Step
from millrace_lab.errors import Body

GRANT, TRANSACTION = "billing.credit_grant", "billing.credit_balance_transaction"
NEVER = 1 << 62


def balance(step: Step, grant: Body, at: int | None = None) -> int:
    """What is left of a grant: the transactions that are in effect now, or at a second."""
    moment = step.now if at is None else at
    return sum(
        _signed(transaction)
        for transaction in step.of(TRANSACTION, grant["id"])
        if transaction["effective_at"] <= moment
    )


def _signed(transaction: Body) -> int:
    if transaction["type"] == "credit":
        return int(transaction["credit"]["amount"]["monetary"]["value"])
    return -int(transaction["debit"]["amount"]["monetary"]["value"])


def drawable(step: Step, customer_id: str, currency: str) -> list[Body]:
    """A customer's grants that may be drawn now, in the order in which they are."""
    grants = (grant for grant in step.of(GRANT, customer_id) if _is_open(grant, step.now))
    return sorted((g for g in grants if g["amount"]["monetary"]["currency"] == currency), key=_turn)


def _is_open(grant: Body, now: int) -> bool:
    return (
        grant["voided_at"] is None
        and (grant["effective_at"] or grant["created"]) <= now
        and (grant["expires_at"] is None or grant["expires_at"] > now)
    )


def _turn(grant: Body) -> tuple[Any, ...]:
    """Priority, then the soonest to expire, then promotional before paid, then the earliest.

    Source: docs.stripe.com/billing/subscriptions/usage-based/billing-credits#multiple-credit-grants.
    """
    return (
        grant["priority"],
        grant["expires_at"] or NEVER,
        grant["category"] == "paid",
        grant["effective_at"] or grant["created"],
        grant["created"],
    )


def apply(step: Step, invoice: Body, lines: list[Body]) -> dict[str, list[Body]]:
    """Draw credits for an invoice that is being finalised: line id → entries of `pretax_credit_amounts`.

    Each draw is a transaction, told. Only `id`, `amount`, `discount_amounts`, `pricing` and `parent` of the
    lines are read.
    """
    grants = drawable(step, invoice["customer"], invoice["currency"])
    left = {grant["id"]: balance(step, grant) for grant in grants}
    found: dict[str, list[Body]] = {}
    for line in lines if grants else ():
        entries = _drawn(step, invoice, line, grants, left)
        if entries:
            found[line["id"]] = entries
    return found


def _drawn(step: Step, invoice: Body, line: Body, grants: list[Body], left: dict[str, int]) -> list[Body]:
    entries = []
    owed = _after_discounts(line)
    for grant in grants:
        part = min(owed, left[grant["id"]])
        if part <= 0 or not _pays_for(step, grant, line):
            continue
        detail = {"invoice": invoice["id"], "invoice_line_item": line["id"]}
        drawn = debit(step, grant, part, "credits_applied", detail)
        entries.append(
            {"amount": part, "credit_balance_transaction": drawn["id"], "type": "credit_balance_transaction"}
        )
        owed, left[grant["id"]] = owed - part, left[grant["id"]] - part
    return entries


def _after_discounts(line: Body) -> int:
    off = sum(int(each["amount"]) for each in line.get("discount_amounts") or ())
    return int(line["amount"]) - off


def _pays_for(step: Step, grant: Body, line: Body) -> bool:
    """Whether a line is of a subscription's metered price, and of one that the grant names, if it names any."""
    price = _metered_price(step, line)
    named = grant["applicability_config"]["scope"].get("prices")
    return price is not None and (not named or price in {each["id"] for each in named})


def _metered_price(step: Step, line: Body) -> str | None:
    parent, pricing = line.get("parent") or {}, line.get("pricing") or {}
    id_ = (pricing.get("price_details") or {}).get("price")
    if parent.get("type") != "subscription_item_details" or id_ is None:
        return None
    price = step.get("price", id_)
    return str(id_) if (price.get("recurring") or {}).get("meter") else None


def give_back(step: Step, invoice_id: str) -> None:
    """Return what an invoice drew, because it was voided. What returns to an expired grant expires at once."""
    for drawn in step.of(TRANSACTION, invoice_id):
        if drawn["type"] != "debit":
            continue
        grant = step.get(GRANT, drawn["credit_grant"])
        applied = drawn["debit"]["credits_applied"]
        part = drawn["debit"]["amount"]["monetary"]["value"]
        credit(step, grant, part, "credits_application_invoice_voided", applied)
        if grant["expires_at"] is not None and grant["expires_at"] <= step.now:
            debit(step, grant, part, "credits_expired")


def credit(
    step: Step, grant: Body, amount: int, type_: str, detail: Body | None = None, at: int | None = None
) -> Body:
    """Put credits into a grant: one transaction, told."""
    side = {"amount": _money(grant, amount), "credits_application_invoice_voided": detail, "type": type_}
    return _recorded(step, grant, {"credit": side, "debit": None, "type": "credit"}, detail, at)


def debit(step: Step, grant: Body, amount: int, type_: str, detail: Body | None = None) -> Body:
    """Take credits out of a grant: one transaction, told."""
    side = {"amount": _money(grant, amount), "credits_applied": detail, "type": type_}
    return _recorded(step, grant, {"credit": None, "debit": side, "type": "debit"}, detail, None)


def _recorded(step: Step, grant: Body, sides: Body, detail: Body | None, at: int | None) -> Body:
    transaction = step.add(
        {
            "id": step.new_id("cbtxn_test", 16),
            "object": TRANSACTION,
            "created": step.now,
            "credit_grant": grant["id"],
            "effective_at": step.now if at is None else at,
            "livemode": step.account.livemode,
            "test_clock": grant["test_clock"],
            "_customer": grant["customer"],
            **sides,
        },
        grant["id"],
        grant["customer"],
        detail["invoice"] if detail and sides["type"] == "debit" else None,
    )
    step.tell("billing.credit_balance_transaction.created", transaction)
    return transaction


def _money(grant: Body, amount: int) -> Body:
    currency = grant["amount"]["monetary"]["currency"]
    return {"monetary": {"currency": currency, "value": amount}, "type": "monetary"}
