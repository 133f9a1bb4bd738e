"""What a bank says when it says no.

Source: docs.stripe.com/declines/codes; advice codes as on the same page under "advice codes".
"""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """How a decline is told: the error's code and message, the advice, and the network's own number."""

    code: str
    message: str
    advice_code: str | None = None
    network_decline_code: str | None = None


_DECLINED, _LATER, _CHECK, _NEVER = (
    "card_declined",
    "try_again_later",
    "confirm_card_data",
    "do_not_try_again",
)
DECLINES: dict[str, Words] = {
    # cards
    "generic_decline": Words(_DECLINED, "Your card was declined.", _LATER, "05"),
    "do_not_honor": Words(_DECLINED, "Your card was declined.", _LATER, "05"),
    "insufficient_funds": Words(_DECLINED, "Your card has insufficient funds.", _LATER, "51"),
    "card_velocity_exceeded": Words(
        _DECLINED, "Your card was declined for making repeated attempts too frequently.", _LATER, "65"
    ),
    "issuer_not_available": Words(_DECLINED, "Your card was declined.", _LATER, "91"),
    "try_again_later": Words(_DECLINED, "Your card was declined.", _LATER, "19"),
    "processing_error": Words(
        "processing_error",
        "An error occurred while processing your card. Try again in a little bit.",
        _LATER,
    ),
    "expired_card": Words("expired_card", "Your card has expired.", _CHECK, "54"),
    "incorrect_cvc": Words("incorrect_cvc", "Your card's security code is incorrect.", _CHECK, "N7"),
    "incorrect_number": Words("incorrect_number", "Your card number is incorrect.", _CHECK, "14"),
    "fraudulent": Words(_DECLINED, "Your card was declined.", _NEVER, "59"),
    "highest_risk_level": Words(_DECLINED, "Your card was declined.", _NEVER),
    "lost_card": Words(_DECLINED, "Your card was declined.", _NEVER, "41"),
    "stolen_card": Words(_DECLINED, "Your card was declined.", _NEVER, "43"),
    "pickup_card": Words(_DECLINED, "Your card was declined.", _NEVER, "04"),
    "restricted_card": Words(_DECLINED, "Your card was declined.", _NEVER, "62"),
    "revocation_of_authorization": Words(_DECLINED, "Your card was declined.", _NEVER, "R1"),
    "revocation_of_all_authorizations": Words(_DECLINED, "Your card was declined.", _NEVER, "R3"),
    "transaction_not_allowed": Words(
        _DECLINED, "Your card does not support this type of purchase.", _NEVER, "57"
    ),
    "authentication_required": Words(
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
        None,
        "1A",
    ),
    # bank accounts; source: docs.stripe.com/payments/ach-direct-debit and .../sepa-debit
    "account_closed": Words("account_closed", "The customer's bank account has been closed."),
    "no_account": Words("no_account", "The bank account could not be located."),
    "debit_not_authorized": Words(
        "debit_not_authorized", "The debit was not authorized by the account holder."
    ),
    "invalid_currency": Words(
        "invalid_currency", "The bank could not process this payment in this currency."
    ),
    "bank_insufficient_funds": Words("insufficient_funds", "The account has insufficient funds."),
}

# After one of these Stripe keeps a retry scheduled, but makes no attempt with the same payment method.
# Source: docs/lab/behaviours.md, docs.stripe.com/billing/revenue-recovery/smart-retries.
HARD = frozenset(
    {
        "authentication_required",
        "highest_risk_level",
        "incorrect_number",
        "lost_card",
        "pickup_card",
        "revocation_of_all_authorizations",
        "revocation_of_authorization",
        "stolen_card",
        "transaction_not_allowed",
    }
)
