"""Disputes: a customer's bank takes a charge back, or asks about it first.

    warning_needs_response → warning_under_review → warning_closed      an inquiry: no money moves
            ↓ escalated
    needs_response → under_review → won | lost                          the amount and a fee leave the balance

Told: charge.dispute.created, funds_withdrawn, updated, funds_reinstated, closed. Evidence text decides, as with
Stripe's test cards: `winning_evidence`, `losing_evidence`, `escalate_inquiry_evidence`; anything else is
decided after 60 days by the metadata key `lab_outcome` (ours: won or lost), lost without one.
Sources: docs.stripe.com/disputes/how-disputes-work, docs.stripe.com/testing#disputes,
docs.stripe.com/api/disputes.
"""

from __future__ import annotations

from millrace_lab import lists
from millrace_lab.account import DAY, Step, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, Metadata, NoParams, Params, Times
from millrace_lab.payments import charges, ledgering

RESPOND_DAYS, DECIDED_DAYS, INQUIRY_DAYS = 20, 60, 120  # ours, but for the last
INQUIRY = "inquiry"
NEEDS_RESPONSE = ("needs_response", "warning_needs_response")
ENDED = ("won", "lost", "warning_closed")
NETWORK_REASONS = {"fraudulent": "10.4", "product_not_received": "13.1", "subscription_canceled": "13.2"}
TEXTS = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_tracking_number",
    "uncategorized_text",
)
FILES = (
    "cancellation_policy",
    "customer_communication",
    "customer_signature",
    "duplicate_charge_documentation",
    "receipt",
    "refund_policy",
    "service_documentation",
    "shipping_documentation",
    "uncategorized_file",
)


class UpdateDispute(Params):
    evidence: dict[str, str] | None = None
    metadata: Metadata = None
    submit: bool = True


class ListDisputes(ListParams):
    charge: str | None = None
    created: Times | None = None
    payment_intent: str | None = None


# Its beginning.


def begin(step: Step, charge: Body) -> None:
    """What the clockwork does with the charge of a test card that is made to be disputed."""
    if charge["disputed"] or charge["refunded"]:
        return
    inquiry = charge["_later"] == INQUIRY
    open_against(step, charge["id"], reason="fraudulent" if inquiry else charge["_later"], inquiry=inquiry)


def open_against(
    step: Step,
    charge_id: str,
    *,
    amount: int | None = None,
    reason: str = "fraudulent",
    inquiry: bool = False,
) -> Body:
    """The customer's bank disputes a charge: what has not been refunded of it, or an amount of its own."""
    charge = step.get("charge", charge_id, "charge")
    _check(charge)
    disputed = charge["amount"] - charge["amount_refunded"] if amount is None else amount
    refuse_unless(0 < disputed <= charge["amount"], "The charge is not as large as that.", "amount")
    dispute = step.add(_body(step, charge, disputed, reason, inquiry), charge_id, charge["payment_intent"])
    step.change(charge_id, disputed=True, _refundable=inquiry)
    step.due(dispute["id"], "dispute.due", dispute["evidence_details"]["due_by"])
    if not inquiry:
        dispute = _withdraw(step, dispute)
    step.tell("charge.dispute.created", dispute)
    if not inquiry:
        step.tell("charge.dispute.funds_withdrawn", dispute)
    return dispute


def _check(charge: Body) -> None:
    refuse_unless(
        charge["status"] == charges.SUCCEEDED and charge["captured"] and not charge["disputed"],
        f"Charge {charge['id']} cannot be disputed.",
        "charge",
    )


def _body(step: Step, charge: Body, amount: int, reason: str, inquiry: bool) -> Body:
    return {
        "id": step.new_id("du"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": step.now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys([*TEXTS, *FILES]), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": _last_second(step, INQUIRY_DAYS if inquiry else RESPOND_DAYS),
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": inquiry,
        "livemode": step.account.livemode,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        **_card_of(charge, reason, inquiry),
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }


def _last_second(step: Step, days: int) -> int:
    """The end of a day, so many days from now: until then an answer counts."""
    return (step.now // DAY + days) * DAY + DAY - 1


def _card_of(charge: Body, reason: str, inquiry: bool) -> Body:
    used = charge["payment_method_details"]
    if used["type"] != "card":
        return {}
    case = {"brand": used["card"]["brand"], "case_type": INQUIRY if inquiry else "chargeback"}
    case |= {"network": used["card"]["network"], "network_reason_code": NETWORK_REASONS.get(reason)}
    return {"payment_method_details": {"card": case, "type": "card"}}


# Its money.


def _withdraw(step: Step, dispute: Body) -> Body:
    """The amount and the fee leave the balance."""
    fee = ledgering.DISPUTE_FEES.get(step.get("charge", dispute["charge"])["_settles_in"], 1500)
    return _move(step, dispute, -1, fee, "dispute", "Chargeback withdrawal for")


def _reinstate(step: Step, dispute: Body) -> Body:
    """The amount comes back, without the fee."""
    return _move(step, dispute, 1, 0, "dispute_reversal", "Chargeback reversal for")


def _move(step: Step, dispute: Body, sign: int, fee: int, category: str, what: str) -> Body:
    charge = step.get("charge", dispute["charge"])
    currency, settles_in = charge["currency"], charge["_settles_in"]
    rate = ledgering.rate_micro(currency, settles_in, step.now)
    moved = ledgering.record(
        step,
        type="adjustment",
        source=dispute["id"],
        amount=sign * ledgering.converted(dispute["amount"], currency, settles_in, rate),
        fee=fee,
        currency=settles_in,
        rate=rate,
        category=category,
        description=f"{what} {charge['id']}",
        fee_description="Dispute fee",
    )
    return step.change(dispute["id"], balance_transactions=[*dispute["balance_transactions"], moved])


# What the merchant does.


def update(step: Step, params: UpdateDispute, id_: str) -> Body:
    """Give evidence, and submit it unless told not to: a bank is answered once."""
    before = step.get("dispute", id_)
    changes = params.changes_to(before, "metadata")
    if params.evidence is not None:
        changes |= _evidence(before, params.evidence)
    submits = params.evidence is not None and params.submit
    if submits:
        changes |= _submitted(before, changes)
    step.change(id_, **changes)
    dispute = step.updated("charge.dispute.updated", before)
    return _answered(step, dispute) if submits else dispute


def _evidence(dispute: Body, given: dict[str, str]) -> Body:
    refuse_unless(
        dispute["status"] in NEEDS_RESPONSE, "This dispute's evidence can no longer be changed.", "evidence"
    )
    for name in given:
        refuse_unless(
            name in TEXTS or name in FILES,
            f"Received unknown parameter: evidence[{name}]",
            f"evidence[{name}]",
            "parameter_unknown",
        )
    details = {**dispute["evidence_details"], "has_evidence": True}
    evidence = {**dispute["evidence"], **{name: value or None for name, value in given.items()}}
    return {"evidence": evidence, "evidence_details": details}


def _submitted(dispute: Body, changes: Body) -> Body:
    details = changes["evidence_details"]
    warning = "warning_" if dispute["status"].startswith("warning_") else ""
    return {
        "evidence_details": {**details, "submission_count": details["submission_count"] + 1},
        "status": f"{warning}under_review",
    }


def _answered(step: Step, dispute: Body) -> Body:
    """Stripe's test texts are decided at once; a real answer takes its time."""
    match dispute["evidence"]["uncategorized_text"]:
        case "winning_evidence":
            return decide(step, dispute["id"], won=True)
        case "losing_evidence":
            return decide(step, dispute["id"], won=False)
        case "escalate_inquiry_evidence":
            return escalate(step, dispute["id"])
    wait = INQUIRY_DAYS if dispute["status"].startswith("warning_") else DECIDED_DAYS
    step.due(dispute["id"], "dispute.decide", step.now + wait * DAY)
    return dispute


def close(step: Step, _: NoParams, id_: str) -> Body:
    """Accept the dispute as lost. Source: docs.stripe.com/api/disputes/close."""
    dispute = step.get("dispute", id_)
    refuse_unless(dispute["status"] in NEEDS_RESPONSE, "This dispute is already closed.")
    return decide(step, id_, won=False)


# How it ends.


def escalate(step: Step, id_: str) -> Body:
    """The bank is not content with the answer: the inquiry becomes a dispute, and the money goes."""
    before = step.get("dispute", id_)
    refuse_unless(before["status"].startswith("warning_"), "Only an inquiry can be escalated.")
    due_by = _last_second(step, RESPOND_DAYS)
    details = {**before["evidence_details"], "due_by": due_by}
    step.change(id_, status="needs_response", is_charge_refundable=False, evidence_details=details)
    step.change(before["charge"], _refundable=False)
    step.due(id_, "dispute.due", due_by)
    dispute = _withdraw(step, step.get("dispute", id_))
    step.updated("charge.dispute.updated", before)
    step.tell("charge.dispute.funds_withdrawn", dispute)
    return dispute


def decide(step: Step, id_: str, *, won: bool) -> Body:
    """The end: the money comes back, or stays away; an inquiry only closes."""
    dispute = step.get("dispute", id_)
    refuse_unless(dispute["status"] not in ENDED, "This dispute is already closed.")
    if dispute["status"].startswith("warning_"):
        step.change(dispute["charge"], disputed=False)
        return _close(step, dispute, "warning_closed")
    if not won:
        return _close(step, dispute, "lost")
    step.change(dispute["charge"], _refundable=True)
    dispute = _reinstate(step, step.change(id_, status="won"))
    step.tell("charge.dispute.funds_reinstated", dispute)
    return _close(step, dispute, "won")


def _close(step: Step, dispute: Body, status: str) -> Body:
    closed = step.change(dispute["id"], status=status)
    step.tell("charge.dispute.closed", closed)
    return closed


def overdue(step: Step, dispute: Body) -> None:
    """What the clockwork does when nobody answered in time: lost, or an inquiry that goes quiet."""
    if dispute["status"] in NEEDS_RESPONSE:
        step.change(dispute["id"], evidence_details={**dispute["evidence_details"], "past_due": True})
        decide(step, dispute["id"], won=False)


def decided(step: Step, dispute: Body) -> None:
    """What the clockwork does when the bank has read the evidence."""
    if dispute["status"] not in ENDED:
        decide(step, dispute["id"], won=dispute["metadata"].get("lab_outcome") == "won")


# Reading.


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("dispute", id_)


def listing(step: Step, params: ListDisputes) -> Page:
    return lists.page(step, "dispute", params, "/v1/disputes", by=("charge", "created", "payment_intent"))


OPERATIONS = (
    Operation("GET /v1/disputes", listing, ListDisputes),
    Operation("GET /v1/disputes/{dispute}", retrieve),
    Operation("POST /v1/disputes/{dispute}", update, UpdateDispute),
    Operation("POST /v1/disputes/{dispute}/close", close),
)
