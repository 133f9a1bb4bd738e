"""Payouts: the Stripe balance leaves for the bank, by hand or every midnight.

    pending → in_transit → paid → failed (within five days, the money returns)
            ↘ canceled (by hand, while it is pending)

Told: payout.created, updated, paid, failed, canceled, and for automatic ones reconciliation_completed. The
transactions that an automatic payout carries are listed by `payout`; a manual one carries none of its own.
Metadata of ours: `lab_fails_after`, seconds after its creation. Automatic payouts run where the account's
setting `payouts` is `daily`; each test clock has midnights of its own.
Sources: docs.stripe.com/payouts, docs.stripe.com/api/payouts, docs.stripe.com/payouts/reconciliation.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import DAY, Step, refuse_unless
from millrace_lab.errors import Body, invalid
from millrace_lab.operations import Operation, Page
from millrace_lab.params import Currency, ListParams, Metadata, NoParams, Params, Text, Times
from millrace_lab.payments import banks, ledgering

ARRIVES_DAYS = 2  # midnights from the payout to the bank account; ours
FAILS_WITHIN_DAYS = 5  # how long a bank may still return it; source: docs.stripe.com/payouts#payout-failures
FAILURES = {
    "account_closed": "The bank account has been closed",
    "could_not_process": "The bank could not process this transfer",
    "no_account": "The bank account details on file are probably incorrect.",
}


class CreatePayout(Params):
    amount: Annotated[int, Field(ge=1)]
    currency: Currency
    description: Text = None
    metadata: Metadata = None
    method: Literal["standard", "instant"] = "standard"
    statement_descriptor: Annotated[str | None, Field(max_length=22)] = None


class UpdatePayout(Params):
    metadata: Metadata = None


class ListPayouts(ListParams):
    arrival_date: Times | None = None
    created: Times | None = None
    status: Literal["pending", "in_transit", "paid", "failed", "canceled"] | None = None


def create(step: Step, params: CreatePayout) -> Body:
    """Pay out by hand, at most what is available."""
    refuse_unless(
        params.amount <= ledgering.available(step, params.currency),
        "You have insufficient funds in your Stripe account for this transfer. Your card balance is too low. You can "
        "use the /v1/balance endpoint to view your Stripe balance (for more details, see stripe.com/docs/api#balance).",
        "amount",
        "balance_insufficient",
    )
    fields = params.changes("description", "method", "statement_descriptor")
    payout, moved = _send(
        step, params.amount, params.currency, automatic=False, metadata=params.metadata or {}, **fields
    )
    step.adopt(ledgering.open_round(step, params.currency), moved)
    step.tell("payout.created", payout)
    _expect_failure(step, payout)
    return payout


def pay_out(step: Step, _: Body) -> None:
    """At the midnight when money became available: everything that waits, one payout a currency."""
    if step.settings["payouts"] != "daily":
        return
    for currency in sorted(ledgering.totals(step)["_available"]):
        waiting = ledgering.waiting(step, currency)
        amount = sum(txn["net"] for txn in waiting)
        if amount > 0:
            _pay_out_all(step, currency, amount, waiting)


def _pay_out_all(step: Step, currency: str, amount: int, waiting: list[Body]) -> None:
    ledgering.close_round(step, currency)
    payout, moved = _send(step, amount, currency, automatic=True, description="STRIPE PAYOUT")
    for txn in [*waiting, moved]:
        step.adopt(ledgering.carried_by(payout["id"]), txn)
    step.tell("payout.created", payout)


def _send(step: Step, amount: int, currency: str, *, automatic: bool, **fields: object) -> tuple[Body, Body]:
    arrival = (step.now // DAY + ARRIVES_DAYS) * DAY
    payout: Body = {
        "id": step.new_id("po"),
        "object": "payout",
        "amount": amount,
        "application_fee": None,
        "application_fee_amount": None,
        "arrival_date": arrival,
        "automatic": automatic,
        "balance_transaction": None,
        "created": step.now,
        "currency": currency,
        "description": None,
        "destination": None,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "livemode": step.account.livemode,
        "metadata": {},
        "method": "standard",
        "original_payout": None,
        "payout_method": None,
        "reconciliation_status": "in_progress" if automatic else "not_applicable",
        "reversed_by": None,
        "source_type": "card",
        "statement_descriptor": None,
        "status": "pending",
        "trace_id": None,
        "type": "bank_account",
        **fields,
    }
    step.add(payout)
    moved = ledgering.record(
        step,
        type="payout",
        source=payout["id"],
        amount=-amount,
        currency=currency,
        description=payout["description"] or "STRIPE PAYOUT",
    )
    step.due(payout["id"], "payout.transit", (step.now // DAY + 1) * DAY)
    return step.change(payout["id"], balance_transaction=moved["id"]), moved


def _expect_failure(step: Step, payout: Body) -> None:
    after = banks.seconds(payout["metadata"], "lab_fails_after")
    if after is not None:
        step.due(payout["id"], "payout.fail", payout["created"] + after)


# Its way to the bank.


def transit(step: Step, before: Body) -> None:
    """It has left: from now on it cannot be canceled, and what it carries can be listed."""
    if before["status"] != "pending":
        return
    changes = {"status": "in_transit"}
    if before["automatic"]:
        changes["reconciliation_status"] = "completed"
    payout = step.change(before["id"], **changes)
    step.updated("payout.updated", before)
    if before["automatic"]:
        step.tell("payout.reconciliation_completed", payout)
    step.due(payout["id"], "payout.arrive", payout["arrival_date"])


def arrive(step: Step, before: Body) -> None:
    if before["status"] != "in_transit":
        return
    trace = {"status": "supported", "value": f"{step.new_id('t', 15)[2:]}"}
    step.tell("payout.paid", step.change(before["id"], status="paid", trace_id=trace))


def fail_as_foreseen(step: Step, payout: Body) -> None:
    """What the clockwork does; a payout that is long paid does not fail any more."""
    if _can_fail(step, payout):
        fail(step, payout["id"])


def _can_fail(step: Step, payout: Body) -> bool:
    late = step.now > payout["arrival_date"] + FAILS_WITHIN_DAYS * DAY
    return payout["status"] in ("pending", "in_transit", "paid") and not late


def fail(step: Step, id_: str, code: str = "could_not_process") -> Body:
    """The bank returns the money, even days after it was paid."""
    before = step.get("payout", id_)
    refuse_unless(_can_fail(step, before), f"A payout that is {before['status']} cannot fail any more.")
    refuse_unless(code in FAILURES, f"No such failure code: {code}", "code")
    back = _return(step, before, "payout_failure")
    payout = step.change(
        id_,
        failure_balance_transaction=back["id"],
        failure_code=code,
        failure_message=FAILURES[code],
        status="failed",
    )
    step.tell("payout.failed", payout)
    return payout


def _return(step: Step, payout: Body, type_: str) -> Body:
    return ledgering.record(
        step,
        type=type_,
        source=payout["id"],
        amount=payout["amount"],
        currency=payout["currency"],
        description="STRIPE PAYOUT",
    )


def cancel(step: Step, _: NoParams, id_: str) -> Body:
    before = step.get("payout", id_)
    refuse_unless(
        before["status"] == "pending" and not before["automatic"],
        "Payouts can only be canceled while they are pending, and only manual ones.",
    )
    back = _return(step, before, "payout_cancel")
    payout = step.change(id_, failure_balance_transaction=back["id"], status="canceled")
    step.tell("payout.canceled", payout)
    return payout


def update(step: Step, params: UpdatePayout, id_: str) -> Body:
    before = step.get("payout", id_)
    payout = step.change(id_, **params.changes_to(before, "metadata"))
    if "metadata" in params.given:
        _expect_failure(step, payout)
    return step.updated("payout.updated", before)


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("payout", id_)


def listing(step: Step, params: ListPayouts) -> Page:
    return lists.page(step, "payout", params, "/v1/payouts", by=("arrival_date", "created", "status"))


def check_listed(step: Step, id_: str) -> None:
    """Only an automatic payout knows what it carries. Raises StripeError 400."""
    if not step.get("payout", id_, "payout")["automatic"]:
        raise invalid(
            "Balance transaction history can only be filtered on automatic transfers, not manual.", "payout"
        )


OPERATIONS = (
    Operation(
        "POST /v1/payouts", create, CreatePayout, frozenset({"destination", "payout_method", "source_type"})
    ),
    Operation("GET /v1/payouts/{payout}", retrieve),
    Operation("POST /v1/payouts/{payout}", update, UpdatePayout),
    Operation("POST /v1/payouts/{payout}/cancel", cancel),
    Operation("GET /v1/payouts", listing, ListPayouts, frozenset({"destination"})),
)
