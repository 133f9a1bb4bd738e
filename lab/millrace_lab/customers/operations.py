"""What customers can be asked, what time does to them, to what they react, and what is there when expanded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace_lab.account import Reaction, Step
from millrace_lab.customers import balance, cash, customers, entitlements, paying, tax_ids
from millrace_lab.errors import Body
from millrace_lab.operations import DueAction, Operation

OPERATIONS: tuple[Operation, ...] = (
    *customers.OPERATIONS,
    *balance.OPERATIONS,
    *cash.OPERATIONS,
    *tax_ids.OPERATIONS,
    *entitlements.OPERATIONS,
)
DUE: dict[str, DueAction] = {**tax_ids.DUE}
REACTIONS: dict[str, tuple[Reaction, ...]] = {
    "subscription.changed": (entitlements.follow,),
    "payment_method.detached": (paying.detached,),
}
INCLUDED: dict[tuple[str, str], Callable[[Step, Body], Any]] = {
    ("customer", "cash_balance"): cash.of,
    ("customer", "invoice_credit_balance"): balance.credit_balance_of,
    ("customer", "subscriptions"): customers.subscriptions_of,
    ("customer", "tax"): customers.tax_of,
    ("customer", "tax_ids"): tax_ids.of,
}
