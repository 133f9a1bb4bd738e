"""Why a payment was declined, and which kind of no that is.

authentication   the bank wants the cardholder to confirm: 3-D Secure
hard             never with this card again
needs_customer   the card could work once the customer corrects or renews it
soft             not now; Stripe's retries may well succeed

Source: docs.stripe.com/declines/codes; Stripe's advice_code; Mastercard's merchant advice codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """The four answers to "would trying again help?"."""

    SOFT = "soft"
    HARD = "hard"
    NEEDS_CUSTOMER = "needs_customer"
    AUTHENTICATION = "authentication"


AUTHENTICATION = frozenset(
    {"authentication_required", "authentication_not_handled", "payment_intent_authentication_failure"}
)
HARD = frozenset(
    {
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
NEEDS_CUSTOMER = frozenset(
    {
        "expired_card",
        "incorrect_address",
        "incorrect_cvc",
        "incorrect_zip",
        "invalid_cvc",
        "invalid_expiry_month",
        "invalid_expiry_year",
        "new_account_information_available",
    }
)
ADVICE = {
    "do_not_try_again": Kind.HARD,
    "confirm_card_data": Kind.NEEDS_CUSTOMER,
    "try_again_later": Kind.SOFT,
}
NETWORK_ADVICE = {"03": Kind.HARD, "21": Kind.HARD, "01": Kind.NEEDS_CUSTOMER, "02": Kind.SOFT}


@dataclass(frozen=True, slots=True, order=True)
class Decline:
    """The answer to one attempt; the newest is the greatest. Codes only, nothing personal."""

    at: datetime
    event: str  # settles a tie within a second, the same way in every order
    code: str
    kind: Kind


def kind_of(*, codes: frozenset[str], advice: str | None, network_advice: str | None) -> Kind:
    """What Stripe's and the network's codes amount to. Unknown codes are soft: Stripe retries them."""
    if codes & AUTHENTICATION:
        return Kind.AUTHENTICATION
    if codes & HARD:
        return Kind.HARD
    if codes & NEEDS_CUSTOMER:
        return Kind.NEEDS_CUSTOMER
    return ADVICE.get(advice or "") or NETWORK_ADVICE.get(network_advice or "") or Kind.SOFT
