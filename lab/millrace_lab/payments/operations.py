"""The payments room in four lists, for the composition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace_lab.account import Reaction, Step
from millrace_lab.errors import Body
from millrace_lab.operations import DueAction, Operation
from millrace_lab.payments import (
    charges,
    charging,
    disputes,
    ledgering,
    methods,
    payment_intents,
    payouts,
    refunds,
    setups,
    transactions,
)

OPERATIONS: tuple[Operation, ...] = (
    *methods.OPERATIONS,
    *payment_intents.OPERATIONS,
    *setups.OPERATIONS,
    *charges.OPERATIONS,
    *refunds.OPERATIONS,
    *disputes.OPERATIONS,
    *payouts.OPERATIONS,
    *transactions.OPERATIONS,
)

DUE: dict[str, DueAction] = {
    "payment_method.renew": methods.renew,
    "charge.settle": charging.settle,
    "charge.clear": charging.clear,
    "charge.expire": charging.expire,
    "refund.settle": refunds.settle,
    "refund.fail": refunds.fail,
    "charge.disputed": disputes.begin,
    "dispute.due": disputes.overdue,
    "dispute.decide": disputes.decided,
    "balance.available": ledgering.release,
    "payout.transit": payouts.transit,
    "payout.arrive": payouts.arrive,
    "payout.fail": payouts.fail_as_foreseen,
}

REACTIONS: dict[str, tuple[Reaction, ...]] = {
    "customer.payment_method_given": (methods.given_to_customer,),
    "customer.deleted": (methods.customer_deleted,),
    "balance.available": (payouts.pay_out,),
}

INCLUDED: dict[tuple[str, str], Callable[[Step, Body], Any]] = {
    ("charge", "refunds"): refunds.of_charge,
}
