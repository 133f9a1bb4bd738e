"""Cash balances: money that customers sent by bank transfer and that no payment has taken yet.

Source: docs.stripe.com/payments/customer-balance, docs.stripe.com/api/cash_balance. Payments do not draw on
it by themselves here: our reading of `manual` for every reconciliation mode.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import Step, owned
from millrace_lab.catalog import currencies
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import Currency, ListParams, NoParams, Params

KIND = "customer_cash_balance_transaction"
TRANSFERS = {"eur": "eu_bank_transfer", "gbp": "gb_bank_transfer", "jpy": "jp_bank_transfer",
             "mxn": "mx_bank_transfer", "usd": "us_bank_transfer"}  # fmt: skip


class CashSettings(Params):
    reconciliation_mode: Literal["automatic", "manual", "merchant_default"] = "merchant_default"


class UpdateCashBalance(Params):
    settings: CashSettings = CashSettings()


class Fund(Params):
    amount: Annotated[int, Field(ge=1)]
    currency: Currency
    reference: str | None = None


def of(step: Step, customer: Body) -> Body:
    """The cash balance of a customer; also `cash_balance`, where it is expanded."""
    kept = step.get("customer", customer["id"])
    mode = kept["_reconciliation"]
    return {
        "object": "cash_balance",
        "available": {currency: amount for currency, amount in kept["_cash"].items() if amount} or None,
        "customer": kept["id"],
        "customer_account": None,
        "livemode": kept["livemode"],
        "settings": {
            "reconciliation_mode": "automatic" if mode == "merchant_default" else mode,
            "using_merchant_default": mode == "merchant_default",
        },
    }


def move(step: Step, customer_id: str, net_amount: int, currency: str, type_: str, **details: Any) -> Body:
    """One cash balance transaction, in minor units: positive adds money. Told as created."""
    held = step.get("customer", customer_id)["_cash"]
    ending = held.get(currency, 0) + net_amount
    step.change(customer_id, _cash={**held, currency: ending})
    transaction = step.add(
        {
            "id": step.new_id("ccsbtxn"),
            "object": KIND,
            "created": step.now,
            "currency": currency,
            "customer": customer_id,
            "customer_account": None,
            "ending_balance": ending,
            "livemode": step.account.livemode,
            "net_amount": net_amount,
            "type": type_,
            **details,
        },
        customer_id,
    )
    step.tell("customer_cash_balance_transaction.created", transaction)
    return transaction


def fund(step: Step, params: Fund, customer: str) -> Body:
    """A bank transfer arrives. Which kind of transfer follows from the currency."""
    currencies.check_currency(params.currency)
    kind = TRANSFERS.get(params.currency, "eu_bank_transfer")
    transfer = {"reference": params.reference, "type": kind}
    transaction = move(
        step, customer, params.amount, params.currency, "funded", funded={"bank_transfer": transfer}
    )
    step.tell("cash_balance.funds_available", of(step, {"id": customer}))
    return transaction


def retrieve(step: Step, _: NoParams, customer: str) -> Body:
    return of(step, step.get("customer", customer))


def update(step: Step, params: UpdateCashBalance, customer: str) -> Body:
    step.get("customer", customer)
    step.change(customer, _reconciliation=params.settings.reconciliation_mode)
    return of(step, {"id": customer})


def transaction_of(step: Step, _: NoParams, customer: str, id_: str) -> Body:
    return owned(step, KIND, id_, customer, "customer")


def listing(step: Step, params: ListParams, customer: str) -> Page:
    step.get("customer", customer)
    url = f"/v1/customers/{customer}/cash_balance_transactions"
    return lists.page(step, KIND, params, url, parent=customer)


OPERATIONS = (
    Operation("GET /v1/customers/{customer}/cash_balance", retrieve),
    Operation("POST /v1/customers/{customer}/cash_balance", update, UpdateCashBalance),
    Operation("GET /v1/customers/{customer}/cash_balance_transactions/{transaction}", transaction_of),
    Operation("GET /v1/customers/{customer}/cash_balance_transactions", listing, ListParams),
    Operation("POST /v1/test_helpers/customers/{customer}/fund_cash_balance", fund, Fund),
)
