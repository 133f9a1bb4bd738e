"""What an account owes its customers for later invoices, and the reverse: customer balance transactions.

The sign trap: `balance` and a transaction's `amount` are negative for a credit, `invoice_credit_balance` is
positive for one. Stripe has no event for these transactions; a move shows in `customer.updated`.
Source: docs.stripe.com/billing/customer/balance, docs.stripe.com/api/customer_balance_transactions.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import Step, owned, refuse_unless
from millrace_lab.catalog import currencies
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import Amount, Currency, ListParams, Metadata, NoParams, Params, Times

KIND = "customer_balance_transaction"
Description = Annotated[str | None, Field(max_length=350)]


class CreateTransaction(Params):
    amount: Amount
    currency: Currency
    description: Description = None
    metadata: Metadata = None


class UpdateTransaction(Params):
    description: Description = None
    metadata: Metadata = None


class ListTransactions(ListParams):
    created: Times | None = None
    invoice: str | None = None


def move(
    step: Step,
    customer_id: str,
    amount: int,
    currency: str,
    type_: str,
    *,
    invoice: str | None = None,
    credit_note: str | None = None,
    description: str | None = None,
    metadata: dict[str, str] | None = None,
) -> Body:
    """One transaction, in minor units: negative credits the customer. Told as `customer.updated` only.

    The first currency that a customer is credited in becomes `customer.currency`; `balance` is in it, and
    other currencies are kept beside it.
    """
    before = step.get("customer", customer_id)
    main = before["currency"] or currency
    ending = of(before, currency) + amount
    credit = {**before["_balances"], currency: ending}
    step.change(customer_id, currency=main, balance=credit.get(main, 0), _balances=credit)
    transaction = step.add(
        {
            "id": step.new_id("cbtxn"),
            "object": KIND,
            "amount": amount,
            "checkout_session": None,
            "created": step.now,
            "credit_note": credit_note,
            "currency": currency,
            "customer": customer_id,
            "customer_account": None,
            "description": description,
            "ending_balance": ending,
            "invoice": invoice,
            "livemode": step.account.livemode,
            "metadata": metadata or {},
            "type": type_,
        },
        customer_id,
    )
    step.updated("customer.updated", before)
    return transaction


def of(customer: Body, currency: str) -> int:
    """A customer's balance in a currency, in minor units; negative is a credit."""
    return int(customer["_balances"].get(currency, 0))


def adjust_to(step: Step, customer_id: str, balance: int) -> None:
    """The balance that a request for the customer itself sets, by a transaction of the difference."""
    customer = step.get("customer", customer_id)
    currency = customer["currency"] or "usd"
    if difference := balance - of(customer, currency):
        move(step, customer_id, difference, currency, "adjustment")


def credit_balance_of(step: Step, customer: Body) -> Body:
    """`invoice_credit_balance`, where it is expanded: credits are positive."""
    return {
        currency: -amount for currency, amount in step.get("customer", customer["id"])["_balances"].items()
    }


def create(step: Step, params: CreateTransaction, customer: str) -> Body:
    currencies.check_currency(params.currency)
    refuse_unless(params.amount != 0, "Invalid non-zero integer", "amount", "parameter_invalid_integer")
    return move(
        step,
        customer,
        params.amount,
        params.currency,
        "adjustment",
        description=params.description,
        metadata=params.metadata,
    )


def retrieve(step: Step, _: NoParams, customer: str, id_: str) -> Body:
    return owned(step, KIND, id_, customer, "customer")


def update(step: Step, params: UpdateTransaction, customer: str, id_: str) -> Body:
    before = owned(step, KIND, id_, customer, "customer")
    changes = params.changes_to(before, "description")
    return step.change(id_, **changes)


def listing(step: Step, params: ListTransactions, customer: str) -> Page:
    step.get("customer", customer)
    url = f"/v1/customers/{customer}/balance_transactions"
    return lists.page(step, KIND, params, url, parent=customer, by=("created", "invoice"))


OPERATIONS = (
    Operation("POST /v1/customers/{customer}/balance_transactions", create, CreateTransaction),
    Operation("GET /v1/customers/{customer}/balance_transactions/{transaction}", retrieve),
    Operation("POST /v1/customers/{customer}/balance_transactions/{transaction}", update, UpdateTransaction),
    Operation("GET /v1/customers/{customer}/balance_transactions", listing, ListTransactions),
)
