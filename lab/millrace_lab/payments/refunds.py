"""Refunds: money given back, and what happens when the customer's bank will not have it.

Told: refund.created and charge.refunded; refund.updated with charge.refund.updated; refund.failed.
A refund takes its whole amount from the balance, at the day's rate; the fee of the charge is not returned.
Metadata keys of ours: `lab_settles_after` (seconds until the refund leaves the balance; it is pending until
then), `lab_fails_after` (seconds until the customer's bank returns it).
Sources: docs.stripe.com/refunds, docs.stripe.com/api/refunds,
docs.stripe.com/changelog/acacia/2024-10-28/refund-webhook-update.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import DAY, Step, refuse_unless
from millrace_lab.errors import Body, invalid
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, Metadata, NoParams, Params, Times
from millrace_lab.payments import banks, charges, ledgering

Reason = Literal["duplicate", "fraudulent", "requested_by_customer"]
PENDING_DAYS, FAILS_DAYS = 3, 5  # what the test cards that are made for it need; ours


class CreateRefund(Params):
    amount: Annotated[int, Field(ge=1)] | None = None
    charge: str | None = None
    metadata: Metadata = None
    payment_intent: str | None = None
    reason: Reason | None = None


class UpdateRefund(Params):
    metadata: Metadata = None


class ListRefunds(ListParams):
    charge: str | None = None
    created: Times | None = None
    payment_intent: str | None = None


def create(step: Step, params: CreateRefund) -> Body:
    """Refund a charge, named itself or by its intent; without an amount, all that is left of it."""
    charge = step.get("charge", _charge_named(step, params), "charge")
    left = _left(charge)
    amount = left if params.amount is None else params.amount
    return make(step, charge=charge["id"], amount=amount, reason=params.reason, metadata=params.metadata)


def _charge_named(step: Step, params: CreateRefund) -> str:
    if params.charge is not None:
        return params.charge
    if params.payment_intent is None:
        raise invalid(
            "One of the following params should be provided for this request: payment_intent or charge."
        )
    intent = step.get("payment_intent", params.payment_intent, "payment_intent")
    refuse_unless(
        intent["latest_charge"] is not None,
        f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
        "payment_intent",
    )
    return str(intent["latest_charge"])


def _left(charge: Body) -> int:
    """What can still be refunded. Of a partly captured charge, the rest counts as refunded already."""
    return int(charge["amount"] - charge["amount_refunded"])


def make(
    step: Step,
    *,
    charge: str,
    amount: int,
    reason: str | None = None,
    metadata: dict[str, str] | None = None,
) -> Body:
    """Give money back. Raises StripeError 400 where the charge does not have that much left."""
    paid = step.get("charge", charge, "charge")
    _check(paid, amount)
    made = step.add(_body(step, paid, amount, reason, metadata or {}), charge, paid["payment_intent"])
    waits = _waits(step, paid, made)
    if waits == 0:
        made = _take(step, made, paid)
    else:
        step.due(made["id"], "refund.settle", step.now + waits)
        made = step.change(made["id"], status="pending")
    returned = paid["amount_refunded"] + amount
    refunded = step.change(charge, amount_refunded=returned, refunded=returned == paid["amount"])
    step.tell("refund.created", made)
    step.tell("charge.refunded", refunded)
    _expect_failure(step, made, paid, waits)
    return made


def _check(charge: Body, amount: int) -> None:
    refuse_unless(
        charge["status"] == charges.SUCCEEDED and charge["captured"],
        f"Charge {charge['id']} has not been captured, or did not succeed, and cannot be refunded.",
        "charge",
    )
    refuse_unless(
        not charge["refunded"],
        f"Charge {charge['id']} has already been refunded.",
        "charge",
        "charge_already_refunded",
    )
    refuse_unless(
        not charge["disputed"] or charge.get("_refundable", False),
        f"Charge {charge['id']} has been charged back; cannot issue a refund.",
        "charge",
        "charge_disputed",
    )
    refuse_unless(
        0 < amount <= _left(charge),
        f"Refund amount ({amount}) is greater than unrefunded amount on charge ({_left(charge)}).",
        "amount",
    )


def _body(step: Step, charge: Body, amount: int, reason: str | None, metadata: dict[str, str]) -> Body:
    type_ = charge["payment_method_details"]["type"]
    details: Body = {"card": {"reference_status": "pending", "reference_type": "acquirer_reference_number"}}
    details["card"]["type"] = "refund"
    return {
        "id": step.new_id("re" if type_ == "card" else "pyr"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": step.now,
        "currency": charge["currency"],
        "customer": charge["customer"],
        "customer_account": None,
        "destination_details": {**(details if type_ == "card" else {}), "type": type_},
        "metadata": metadata,
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }


def _waits(step: Step, charge: Body, made: Body) -> int:
    """Seconds until the money leaves the balance: never before the charge itself has reached it."""
    asked = banks.seconds(made["metadata"], "lab_settles_after")
    if asked is None:
        asked = PENDING_DAYS * DAY if charge["_later"] == "refund_pending" else 0
    arrives = charge["_settles_at"] if charge["balance_transaction"] is None else step.now
    return max(asked, (arrives or step.now) - step.now)


def _expect_failure(step: Step, made: Body, charge: Body, waits: int) -> None:
    after = banks.seconds(made["metadata"], "lab_fails_after")
    if after is None and charge["_later"] == "refund_fails":
        after = FAILS_DAYS * DAY
    if after is not None:
        step.due(made["id"], "refund.fail", step.now + max(after, waits + 1))


def _take(step: Step, made: Body, charge: Body) -> Body:
    """Take the refund from the balance."""
    currency, settles_in = charge["currency"], charge["_settles_in"]
    rate = ledgering.rate_micro(currency, settles_in, step.now)
    moved = ledgering.record(
        step,
        type="refund" if charge["id"].startswith("ch_") else "payment_refund",
        source=made["id"],
        amount=-ledgering.converted(made["amount"], currency, settles_in, rate),
        currency=settles_in,
        rate=rate,
        description=f"REFUND FOR CHARGE ({charge['description']})" if charge["description"] else None,
    )
    return step.change(made["id"], balance_transaction=moved["id"], _rate=rate, status="succeeded")


def settle(step: Step, made: Body) -> None:
    """What the clockwork does when a pending refund leaves the balance."""
    _take(step, made, step.get("charge", made["charge"]))
    _updated(step, made)


def _updated(step: Step, before: Body) -> None:
    """Both spellings of one change: charge.refund.updated is the older one."""
    step.updated("refund.updated", before)
    step.updated("charge.refund.updated", before)


def fail(step: Step, made: Body) -> None:
    """The customer's bank returns it, exactly as it went; the customer is still owed it."""
    if made["balance_transaction"] is None or made["status"] == "failed":
        return
    went = step.get("balance_transaction", made["balance_transaction"])
    back = ledgering.record(
        step,
        type="refund_failure",
        source=made["id"],
        amount=-went["amount"],
        currency=went["currency"],
        rate=made["_rate"],
    )
    after = step.change(
        made["id"],
        status="failed",
        failure_reason="lost_or_stolen_card",
        failure_balance_transaction=back["id"],
    )
    charge = step.get("charge", made["charge"])
    step.change(charge["id"], amount_refunded=charge["amount_refunded"] - made["amount"], refunded=False)
    _updated(step, made)
    step.tell("refund.failed", after)


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("refund", id_)


def update(step: Step, params: UpdateRefund, id_: str) -> Body:
    before = step.get("refund", id_)
    if "metadata" in params.given:
        step.change(id_, **params.changes_to(before, "metadata"))
        _updated(step, before)
    return step.get("refund", id_)


def cancel(step: Step, _: NoParams, id_: str) -> Body:
    """Only refunds that wait for the customer can be canceled, and no payment method here has those."""
    made = step.get("refund", id_)
    raise invalid(
        f"Refund {id_} has a status of {made['status']}. Only a refund with a status of requires_action can be "
        "canceled.",
    )


def listing(step: Step, params: ListRefunds) -> Page:
    parent = params.charge or params.payment_intent
    by = ("charge", "created", "payment_intent")
    return lists.page(step, "refund", params, "/v1/refunds", parent=parent, by=by)


def of_charge(step: Step, charge: Body) -> Body:
    """`charge.refunds`, which is there only when it is expanded."""
    found = step.of("refund", charge["id"])[::-1]
    return lists.listed(found, f"/v1/charges/{charge['id']}/refunds", most=10)


OPERATIONS = (
    Operation(
        "POST /v1/refunds",
        create,
        CreateRefund,
        frozenset({"currency", "customer", "instructions_email", "origin", "refund_application_fee"})
        | {"reverse_transfer"},
    ),
    Operation("GET /v1/refunds/{refund}", retrieve),
    Operation("POST /v1/refunds/{refund}", update, UpdateRefund),
    Operation("POST /v1/refunds/{refund}/cancel", cancel),
    Operation("GET /v1/refunds", listing, ListRefunds),
)
