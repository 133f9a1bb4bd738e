"""Payment methods: saved for a customer, changed, replaced by the card network, taken away.

How one is made is in `making`, what its bank says in `banks`. Metadata keys of ours: `lab_bank` (see `banks`),
`lab_settles_after` (seconds until the balance transaction of a charge exists), `lab_settles_in` (the currency
it settles in), `lab_renews` ("true": the card network replaces the card when it expires).

Told: payment_method.attached, updated, detached, automatically_updated. Announced: payment_method.detached.
Source: docs.stripe.com/api/payment_methods.
"""

from __future__ import annotations

from millrace_lab import lists
from millrace_lab.account import Step, owned, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, Metadata, NoParams, NotHere, Params
from millrace_lab.payments import banks, making
from millrace_lab.payments.declines import DECLINES
from millrace_lab.payments.making import BillingParams, CreateMethod, Redisplay


class CardChange(Params):
    exp_month: int | None = None
    exp_year: int | None = None
    networks: NotHere = None


class UpdateMethod(Params):
    card: CardChange | None = None
    billing_details: BillingParams | None = None
    metadata: Metadata = None
    allow_redisplay: Redisplay | None = None


class AttachMethod(Params):
    customer: str


class ListMethods(ListParams):
    type: str | None = None
    allow_redisplay: Redisplay | None = None


class ListAllMethods(ListMethods):
    customer: str | None = None


def attach(step: Step, params: AttachMethod, id_: str) -> Body:
    customer = step.get("customer", params.customer, "customer")
    return attach_to(step, making.resolve(step, id_, "id")["id"], customer["id"])


def attach_to(step: Step, id_: str, customer: str) -> Body:
    """Save a payment method for a customer. Raises StripeError 402 for the test cards that decline it."""
    before = step.get("payment_method", id_, "payment_method")
    if before["customer"] == customer:
        return before
    refuse_unless(
        before["customer"] is None,
        "The payment method you provided has already been attached to a customer.",
        "payment_method",
    )
    refuse_unless(
        not before["_used"],
        "This PaymentMethod was previously used without being attached to a Customer or was detached from a "
        "Customer, and may not be used again.",
        "payment_method",
    )
    _check_saves(before)
    return save_for(step, id_, customer)


def save_for(step: Step, id_: str, customer: str) -> Body:
    """Attach without asking whether it may be: what a payment or a setup that saves its method does."""
    method = step.change(id_, customer=customer, _clock=step.clock)
    step.adopt(customer, method)
    _await_renewal(step, method)
    step.tell("payment_method.attached", method)
    return method


def _check_saves(method: Body) -> None:
    if not method["_saves"] and "lab_bank" not in method["metadata"]:
        words = DECLINES[method["_bank"]]
        raise banks.card_error(words.code, words.message, decline_code=method["_bank"])


def detach(step: Step, _: NoParams, id_: str) -> Body:
    before = step.get("payment_method", id_)
    refuse_unless(
        before["customer"] is not None,
        "The payment method you provided is not attached to a customer so detachment is impossible.",
        "payment_method",
    )
    detached = step.change(id_, customer=None, _used=True)
    step.due(id_, "payment_method.renew", None)
    step.tell("payment_method.detached", detached, previous={"customer": before["customer"]})
    step.announce("payment_method.detached", before)
    return detached


def update(step: Step, params: UpdateMethod, id_: str) -> Body:
    before = step.get("payment_method", id_)
    refuse_unless(
        before["customer"] is not None,
        "You must save this PaymentMethod to a customer before you can update it.",
        "payment_method",
    )
    banks.check_keys(params.metadata or {})
    changes = params.changes_to(before, "metadata")
    if params.card is not None:
        refuse_unless(before["type"] == "card", "This PaymentMethod is not a card.", "card")
        card = changes["card"] = {**before["card"], **params.card.changes()}
        if params.card.given:
            making.check_expiry(step, card["exp_month"], card["exp_year"])
    if params.billing_details is not None:
        changes["billing_details"] = _billing_changed(before["billing_details"], params.billing_details)
    if params.allow_redisplay:
        changes["allow_redisplay"] = params.allow_redisplay
    if "lab_bank" in (params.metadata or {}):
        changes["_attempts"] = 0
    method = step.change(id_, **changes)
    _await_renewal(step, method)
    step.updated("payment_method.updated", before)
    return method


def _billing_changed(old: Body, params: BillingParams) -> Body:
    changes = params.changes()
    if params.address is not None:
        changes["address"] = {**old["address"], **params.address.changes()}
    return {**old, **changes}


def _await_renewal(step: Step, method: Body) -> None:
    if method["type"] == "card" and method["metadata"].get("lab_renews") == "true":
        step.due(
            method["id"],
            "payment_method.renew",
            banks.end_of(method["card"]["exp_month"], method["card"]["exp_year"]),
        )


def renew(step: Step, method: Body) -> None:
    """The card network replaces the card: a new expiry date, the same payment method.

    Source: docs.stripe.com/payments/cards/overview#automatic-card-updates.
    """
    card = {**method["card"], "exp_year": method["card"]["exp_year"] + making.EXPIRES_AFTER_YEARS}
    renewed = step.change(method["id"], card=card)
    _await_renewal(step, renewed)
    step.updated("payment_method.automatically_updated", method)


# What others announce.


def given_to_customer(step: Step, customer: Body, *, payment_method: str) -> None:
    """A customer is created with a payment method: it is attached to it."""
    attach_to(step, making.resolve(step, payment_method)["id"], customer["id"])


def customer_deleted(step: Step, customer: Body) -> None:
    """A deleted customer's payment methods are detached with it; nothing tells of each."""
    for method in step.of("payment_method", customer["id"]):
        if method["customer"] == customer["id"]:
            step.change(method["id"], customer=None, _used=True)
            step.due(method["id"], "payment_method.renew", None)


# Reading.


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("payment_method", id_)


def retrieve_of(step: Step, _: NoParams, customer: str, id_: str) -> Body:
    step.get("customer", customer)
    return owned(step, "payment_method", id_, customer, "customer")


def listing(step: Step, params: ListAllMethods) -> Page:
    refuse_unless(
        params.customer is not None,
        "You must pass a customer to list payment methods by.",
        "customer",
        "parameter_missing",
    )
    return _page(step, params, params.customer or "", "/v1/payment_methods")


def listing_of(step: Step, params: ListMethods, customer: str) -> Page:
    return _page(step, params, customer, f"/v1/customers/{customer}/payment_methods")


def _page(step: Step, params: ListMethods, customer: str, url: str) -> Page:
    step.get("customer", customer, "customer")

    def attached(method: Body) -> bool:
        return bool(method["customer"] == customer)

    by = ("allow_redisplay", "type")
    return lists.page(step, "payment_method", params, url, attached, customer, by=by)


_OTHERS = (
    "acss_debit affirm afterpay_clearpay alipay alma amazon_pay au_becs_debit bacs_debit bancontact billie bizum "
    "blik boleto cashapp crypto custom customer_balance eps fpx giropay grabpay ideal interac_present kakao_pay "
    "klarna konbini kr_card link mb_way mobilepay multibanco naver_pay nz_bank_account oxxo p24 pay_by_bank payco "
    "paynow paypal payto pix promptpay revolut_pay samsung_pay satispay scalapay sofort sunbit swish twint upi "
    "wechat_pay zip"
)
_OTHER_TYPES = frozenset(_OTHERS.split())
OPERATIONS = (
    Operation(
        "POST /v1/payment_methods",
        making.create,
        CreateMethod,
        _OTHER_TYPES | {"customer", "payment_method", "radar_options"},
    ),
    Operation("GET /v1/payment_methods/{method}", retrieve),
    Operation(
        "POST /v1/payment_methods/{method}", update, UpdateMethod, frozenset({"payto", "us_bank_account"})
    ),
    Operation("GET /v1/payment_methods", listing, ListAllMethods, frozenset({"customer_account"})),
    Operation(
        "POST /v1/payment_methods/{method}/attach", attach, AttachMethod, frozenset({"customer_account"})
    ),
    Operation("POST /v1/payment_methods/{method}/detach", detach),
    Operation("GET /v1/customers/{customer}/payment_methods", listing_of, ListMethods),
    Operation("GET /v1/customers/{customer}/payment_methods/{method}", retrieve_of),
)
