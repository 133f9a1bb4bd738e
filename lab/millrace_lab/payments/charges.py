"""Charges: each attempt to take money leaves one, succeeded, pending or failed.

Told: charge.succeeded, pending, failed, captured, expired, refunded, updated. A charge does not name its
invoice any more; the hidden `_invoice` does, for the renderings of older versions.
Source: docs.stripe.com/api/charges, docs/lab/behaviours.md.
"""

from __future__ import annotations

from millrace_lab import lists, searching
from millrace_lab.account import Step
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, Metadata, NoParams, Params, Text, Times
from millrace_lab.payments import ledgering
from millrace_lab.payments.declines import Words

PENDING, SUCCEEDED, FAILED = "pending", "succeeded", "failed"


class FraudDetails(Params):
    user_report: str | None = None


class UpdateCharge(Params):
    description: Text = None
    fraud_details: FraudDetails | None = None
    metadata: Metadata = None
    receipt_email: Text = None


class ListCharges(ListParams):
    created: Times | None = None
    customer: str | None = None
    payment_intent: str | None = None


def make(
    step: Step, intent: Body, method: Body, status: str, *, decline: tuple[str, Words] | None = None
) -> Body:
    """The charge of one attempt, not told yet. `decline` is the decline's code and its words."""
    captured = status == SUCCEEDED and intent["capture_method"] != "manual"
    id_ = step.new_id("ch" if method["type"] == "card" else "py")
    return step.add(
        {
            "id": id_,
            "object": "charge",
            "amount": intent["amount"],
            "amount_captured": intent["amount"] if captured else 0,
            "amount_refunded": 0,
            "application": None,
            "application_fee": None,
            "application_fee_amount": None,
            "balance_transaction": None,
            "billing_details": method["billing_details"],
            "calculated_statement_descriptor": step.settings["name"].upper()[:22],
            "captured": captured,
            "created": step.now,
            "currency": intent["currency"],
            "customer": intent["customer"],
            "description": intent["description"],
            "disputed": False,
            "failure_balance_transaction": None,
            "failure_code": decline[1].code if decline else None,
            "failure_message": decline[1].message if decline else None,
            "fraud_details": {},
            "livemode": step.account.livemode,
            "metadata": intent["metadata"],
            "on_behalf_of": None,
            "outcome": outcome(decline),
            "paid": status == SUCCEEDED,
            "payment_intent": intent["id"],
            "payment_method": method["id"],
            "payment_method_details": details(method),
            "radar_options": {},
            "receipt_email": intent["receipt_email"],
            "receipt_number": None,
            "receipt_url": None if status == FAILED else f"https://pay.stripe.com/receipts/payment/{id_}",
            "refunded": False,
            "review": None,
            "shipping": None,
            "source_transfer": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": status,
            "transfer_data": None,
            "transfer_group": None,
            "_invoice": intent["_invoice"],
            "_later": method["_later"],
            "_settles_in": _settles_in(intent, method),
            "_settles_at": None,
        },
        intent["id"],
        intent["customer"],
    )


def _settles_in(intent: Body, method: Body) -> str:
    """The currency of the balance it reaches; one without an exchange rate keeps its own."""
    currency: str = intent["currency"]
    return (
        str(method["metadata"].get("lab_settles_in", currency))
        if currency in ledgering.DOLLARS_MICRO
        else currency
    )


def outcome(decline: tuple[str, Words] | None) -> Body:
    """How it went, with the network's words. Source: docs.stripe.com/api/charges/object, `outcome`."""
    if decline is None:
        return AUTHORIZED
    code, words = decline
    said = {"advice_code": words.advice_code, "network_decline_code": words.network_decline_code}
    if code == "highest_risk_level":
        return AUTHORIZED | said | BLOCKED | {"reason": code}
    message = f"The bank returned the decline code `{code}`."
    return AUTHORIZED | said | DECLINED | {"reason": code, "seller_message": message}


AUTHORIZED: Body = {
    "advice_code": None,
    "network_advice_code": None,
    "network_decline_code": None,
    "network_status": "approved_by_network",
    "reason": None,
    "risk_level": "normal",
    "risk_score": 17,
    "seller_message": "Payment complete.",
    "type": "authorized",
}
DECLINED: Body = {"network_status": "declined_by_network", "type": "issuer_declined"}
BLOCKED: Body = {
    "network_status": "not_sent_to_network",
    "risk_level": "highest",
    "risk_score": 92,
    "seller_message": "Stripe blocked this payment as too risky.",
    "type": "blocked",
}
# what a charge repeats of a saved payment method
_CARD_SHOWS = [
    "brand",
    "country",
    "exp_month",
    "exp_year",
    "fingerprint",
    "funding",
    "last4",
    "regulated_status",
    "wallet",
]
_SEPA_SHOWS = ["bank_code", "branch_code", "country", "fingerprint", "last4"]
_ACH_SHOWS = ["account_holder_type", "account_type", "bank_name", "fingerprint", "last4", "routing_number"]


def details(method: Body) -> Body:
    """What a charge says of the payment method it used, as it was then."""
    type_ = method["type"]
    used = method[type_]
    match type_:
        case "card":
            checks = {**used["checks"], "cvc_check": None}
            shows = {name: used[name] for name in _CARD_SHOWS} | {"checks": checks, "installments": None}
            shows |= {"mandate": None, "network": used["brand"], "three_d_secure": None}
        case "sepa_debit":
            shows = {name: used[name] for name in _SEPA_SHOWS} | {"mandate": None}
        case _:
            shows = {name: used[name] for name in _ACH_SHOWS} | {"payment_reference": None}
    return {type_: shows, "type": type_}


def change(step: Step, id_: str, type_: str | None = None, **fields: object) -> Body:
    """New values, told as `type_` where one is given; charge.updated names what it changed."""
    before = step.get("charge", id_)
    after = step.change(id_, **fields)
    if type_ == "charge.updated":
        step.updated(type_, before)
    elif type_ is not None:
        step.tell(type_, after)
    return after


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("charge", id_)


def update(step: Step, params: UpdateCharge, id_: str) -> Body:
    before = step.get("charge", id_)
    changes = params.changes_to(before, "description", "fraud_details", "receipt_email")
    return change(step, id_, "charge.updated", **changes)


def listing(step: Step, params: ListCharges) -> Page:
    parent = params.payment_intent or params.customer
    by = ("created", "customer", "payment_intent")
    return lists.page(step, "charge", params, "/v1/charges", parent=parent, by=by)


SEARCHED = ("amount", "created", "currency", "customer", "disputed", "metadata", "refunded", "status")
OPERATIONS = (
    searching.operation("charge", "/v1/charges", *SEARCHED),
    Operation("GET /v1/charges", listing, ListCharges, frozenset({"transfer_group"})),
    Operation("GET /v1/charges/{charge}", retrieve),
    Operation(
        "POST /v1/charges/{charge}",
        update,
        UpdateCharge,
        frozenset({"customer", "shipping", "transfer_group"}),
    ),
)
