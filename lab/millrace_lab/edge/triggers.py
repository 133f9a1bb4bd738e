"""What `trigger` does: the calls that bring an event about, under the names that the Stripe CLI knows.

Each call is (what it makes, path, parameters). `{cus}` in a later call stands for the id of what was made as
"cus", `{pi.latest_charge}` for another field of it. A path stands for a POST, unless a word is in front: DELETE,
or DISPUTE, which is no call but what a customer's bank does. A card may refuse: that is what the events of a
failed payment are about.

Source: the names are those of github.com/stripe/stripe-cli, pkg/fixtures/triggers.
"""

from __future__ import annotations

import re
from typing import Any

from millrace_lab.api import Api
from millrace_lab.errors import Body, StripeError, absent
from millrace_lab.payments import disputes

Call = tuple[str, str, Body]


def card(token: str = "pm_card_visa", **metadata: str) -> list[Call]:  # noqa: S107 - the name of a test card
    """A customer with a card that pays by default. `lab_bank` in the metadata says what the bank answers."""
    made: Call = ("pm", f"/v1/payment_methods/{token}/attach", {"customer": "{cus}"})
    if metadata:
        kept: Body = {"type": "card", "card": {"token": "tok_visa"}, "metadata": metadata}
        return [
            CUSTOMER,
            ("pm", "/v1/payment_methods", kept),
            ("pm", "/v1/payment_methods/{pm}/attach", {"customer": "{cus}"}),
            DEFAULT,
        ]
    return [CUSTOMER, made, DEFAULT]


CUSTOMER: Call = ("cus", "/v1/customers", {"name": "Jenny Rosen", "email": "jenny@example.com"})
DEFAULT: Call = (
    "cus",
    "/v1/customers/{cus}",
    {"invoice_settings": {"default_payment_method": "{pm}"}},
)
PRODUCT: Call = ("prod", "/v1/products", {"name": "Made by trigger"})
MONTHLY: Body = {
    "product": "{prod}",
    "currency": "usd",
    "unit_amount": 1500,
    "recurring": {"interval": "month"},
}
PRICE: Call = ("price", "/v1/prices", MONTHLY)
SUBSCRIPTION: Body = {"customer": "{cus}", "items": [{"price": "{price}"}]}
SUBSCRIBED: list[Call] = [*card(), PRODUCT, PRICE, ("sub", "/v1/subscriptions", SUBSCRIPTION)]
INTENT: Body = {"amount": 2000, "currency": "usd"}
CONFIRMED: Body = {
    **INTENT,
    "confirm": True,
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
}


def paid_with(method: str) -> list[Call]:
    return [("pi", "/v1/payment_intents", {**CONFIRMED, "payment_method": method})]


PAID = paid_with("pm_card_visa")
ITEM: Call = ("item", "/v1/invoiceitems", {"customer": "{cus}", "amount": 2000, "currency": "usd"})
INVOICE: Call = (
    "in",
    "/v1/invoices",
    {"customer": "{cus}", "pending_invoice_items_behavior": "include", "auto_advance": False},
)
INVOICED: list[Call] = [*card(), ITEM, INVOICE]
FINALIZED: list[Call] = [*INVOICED, ("in", "/v1/invoices/{in}/finalize", {})]

TRIGGERS: dict[str, list[Call]] = {
    "charge.dispute.created": [*PAID, ("dp", "DISPUTE {pi.latest_charge}", {})],
    "charge.failed": paid_with("pm_card_visa_chargeDeclined"),
    "charge.refunded": [*PAID, ("re", "/v1/refunds", {"payment_intent": "{pi}"})],
    "charge.succeeded": PAID,
    "coupon.created": [("coupon", "/v1/coupons", {"percent_off": 25, "duration": "once"})],
    "credit_note.created": [*FINALIZED, ("cn", "/v1/credit_notes", {"invoice": "{in}", "amount": 500})],
    "customer.created": [CUSTOMER],
    "customer.deleted": [CUSTOMER, ("cus", "DELETE /v1/customers/{cus}", {})],
    "customer.subscription.created": SUBSCRIBED,
    "customer.subscription.deleted": [*SUBSCRIBED, ("sub", "DELETE /v1/subscriptions/{sub}", {})],
    "customer.subscription.updated": [
        *SUBSCRIBED,
        ("sub", "/v1/subscriptions/{sub}", {"cancel_at_period_end": True}),
    ],
    "customer.updated": [CUSTOMER, ("cus", "/v1/customers/{cus}", {"description": "Changed by trigger"})],
    "invoice.created": INVOICED,
    "invoice.finalized": FINALIZED,
    "invoice.marked_uncollectible": [*FINALIZED, ("in", "/v1/invoices/{in}/mark_uncollectible", {})],
    "invoice.paid": [*FINALIZED, ("in", "/v1/invoices/{in}/pay", {})],
    "invoice.payment_failed": [
        *card(lab_bank="generic_decline"), ITEM, INVOICE,
        ("in", "/v1/invoices/{in}/finalize", {}), ("in", "/v1/invoices/{in}/pay", {}),
    ],
    "invoice.payment_succeeded": [*FINALIZED, ("in", "/v1/invoices/{in}/pay", {})],
    "invoice.voided": [*FINALIZED, ("in", "/v1/invoices/{in}/void", {})],
    "invoiceitem.created": [CUSTOMER, ITEM],
    "payment_intent.canceled": [
        ("pi", "/v1/payment_intents", INTENT), ("pi", "/v1/payment_intents/{pi}/cancel", {}),
    ],
    "payment_intent.created": [("pi", "/v1/payment_intents", INTENT)],
    "payment_intent.payment_failed": paid_with("pm_card_visa_chargeDeclined"),
    "payment_intent.requires_action": paid_with("pm_card_threeDSecure2Required"),
    "payment_intent.succeeded": PAID,
    "payment_method.attached": card(),
    "price.created": [PRODUCT, PRICE],
    "price.updated": [PRODUCT, PRICE, ("price", "/v1/prices/{price}", {"nickname": "Changed by trigger"})],
    "product.created": [PRODUCT],
    "product.deleted": [PRODUCT, ("prod", "DELETE /v1/products/{prod}", {})],
    "product.updated": [PRODUCT, ("prod", "/v1/products/{prod}", {"description": "Changed by trigger"})],
    "tax_rate.created": [
        ("txr", "/v1/tax_rates", {"display_name": "VAT", "inclusive": False, "percentage": 19}),
    ],
}  # fmt: skip


def trigger(api: Api, type_: str) -> None:
    """Make the calls of a trigger, in order. Raises StripeError 501 for one that is not in the table."""
    if type_ not in TRIGGERS:
        raise absent(f"trigger {type_}", TRIGGERS)
    made: dict[str, Body] = {}
    for name, where, params in TRIGGERS[type_]:
        try:
            made[name] = _made(api, _filled(where, made), _filled(params, made))
        except StripeError as error:
            if error.type != "card_error":
                raise


def _made(api: Api, where: str, params: Body) -> Body:
    word, _, of = where.rpartition(" ")
    match word:
        case "DISPUTE":
            step = api.account.step(automatic=True)
            dispute = disputes.open_against(step, of)
            step.commit()
            return dispute
        case "DELETE":
            return api.delete(of, **params)
    return api.post(of, **params)


def _filled(value: Any, made: dict[str, Body]) -> Any:
    """A value with what stands in braces replaced by what was made."""
    if isinstance(value, dict):
        return {key: _filled(each, made) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, made) for each in value]
    if isinstance(value, str):
        return re.sub(r"\{(\w+)(?:\.(\w+))?\}", lambda m: str(made[m[1]][m[2] or "id"]), value)
    return value
