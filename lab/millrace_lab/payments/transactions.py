"""What can be asked of the Stripe balance. Source: docs.stripe.com/api/balance_transactions, …/api/balance."""

from __future__ import annotations

from millrace_lab import lists
from millrace_lab.account import Step
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import Currency, ListParams, NoParams, Times
from millrace_lab.payments import ledgering, payouts


class ListTransactions(ListParams):
    created: Times | None = None
    currency: Currency | None = None
    payout: str | None = None
    source: str | None = None
    type: str | None = None


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("balance_transaction", id_)


def listing(step: Step, params: ListTransactions) -> Page:
    """Newest first. The members of an automatic payout are found by `payout`, itself included."""
    if params.payout is not None:
        payouts.check_listed(step, params.payout)
    parent = ledgering.carried_by(params.payout) if params.payout else params.source
    by = ("created", "currency", "source", "type")
    return lists.page(step, "balance_transaction", params, "/v1/balance_transactions", parent=parent, by=by)


def retrieve_balance(step: Step, _: NoParams) -> Body:
    return ledgering.balance(step)


OPERATIONS = (
    Operation("GET /v1/balance", retrieve_balance),
    Operation("GET /v1/balance_transactions", listing, ListTransactions),
    Operation("GET /v1/balance_transactions/{transaction}", retrieve),
)
