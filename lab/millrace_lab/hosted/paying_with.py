"""With what a page lets people pay: Stripe's test cards by what they do, bank debits, and cards kept before.

No number is ever typed or shown in full. Source: docs.stripe.com/testing.
"""

from __future__ import annotations

from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body

# payment method of Stripe's testing page → what a person reads beside it
CARDS = {
    "pm_card_visa": "Visa ending 4242: succeeds",
    "pm_card_mastercard": "Mastercard ending 4444: succeeds",
    "pm_card_authenticationRequired": "Visa ending 3184: asks you to authenticate",
    "pm_card_visa_chargeDeclined": "Visa ending 0002: is declined",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "Visa ending 9995: insufficient funds",
    "pm_card_chargeDeclinedExpiredCard": "Visa ending 0069: has expired",
    "pm_card_chargeCustomerFail": "Visa ending 0341: can be saved, declines every charge",
    "pm_card_createDispute": "Visa ending 0259: succeeds, is disputed afterwards",
}
DEBITS = {
    "eur": {
        "pm_success_de": "SEPA debit ending 3000: succeeds after some days",
        "pm_failed_de": "SEPA debit ending 3001: fails after some days",
    },
    "usd": {
        "pm_usBankAccount_success": "US bank account ending 6789: succeeds after some days",
        "pm_usBankAccount_insufficientFunds": "US bank account ending 2227: fails after some days",
    },
}

TYPES = {"eur": "sepa_debit", "usd": "us_bank_account"}  # currency → the bank debit that it is paid by


def types(mode: str, currency: str | None) -> list[str]:
    """A session's `payment_method_types`: debits for payments only, where a currency has one."""
    return ["card", TYPES[currency]] if mode == "payment" and currency in TYPES else ["card"]


def choices(step: Step, customer: str | None, debits_in: str | None = None) -> dict[str, str]:
    """What may be chosen: the customer's own cards first, then the test cards, then debits in a currency."""
    return kept(step, customer) | CARDS | DEBITS.get(debits_in or "", {})


def kept(step: Step, customer: str | None) -> dict[str, str]:
    """The payment methods of a customer, newest first."""
    if customer is None:
        return {}
    own = [method for method in step.of("payment_method", customer) if method["customer"] == customer]
    return {method["id"]: f"{named(method)}, saved" for method in reversed(own)}


def named(method: Body) -> str:
    """A payment method in a person's words."""
    details = method[method["type"]]
    if method["type"] != "card":
        return f"{method['type'].replace('_', ' ')} ending {details['last4']}"
    return f"{details['brand'].title()} ending {details['last4']}"


def chosen(
    step: Step, form: dict[str, str], customer: str | None, debits_in: str | None = None
) -> str | None:
    """What a form chose; nothing, if the page asked for nothing. Raises StripeError for what was not offered."""
    given = form.get("payment_method") or None
    offered = given is None or given in choices(step, customer, debits_in)
    refuse_unless(offered, "Choose one of the ways to pay that are offered.", "payment_method")
    return given
