"""What a bank says when it says no. Source: facts behind docs.stripe.com/declines/codes."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    code: str
    message: str
    advice_code: str | None
    network_decline_code: str | None


DECLINES = {
    "insufficient_funds": Words(
        "card_declined", "Your card has insufficient funds.", "try_again_later", "51"
    ),
    "generic_decline": Words("card_declined", "Your card was declined.", "try_again_later", "05"),
    "do_not_honor": Words("card_declined", "Your card was declined.", "try_again_later", "05"),
    "processing_error": Words(
        "processing_error",
        "An error occurred while processing your card. Try again in a little bit.",
        "try_again_later",
        None,
    ),
    "expired_card": Words("expired_card", "Your card has expired.", "confirm_card_data", "54"),
    "incorrect_cvc": Words(
        "incorrect_cvc", "Your card's security code is incorrect.", "confirm_card_data", "N7"
    ),
    "lost_card": Words("card_declined", "Your card was declined.", "do_not_try_again", "41"),
    "stolen_card": Words("card_declined", "Your card was declined.", "do_not_try_again", "43"),
    "transaction_not_allowed": Words(
        "card_declined", "Your card does not support this type of purchase.", "do_not_try_again", "57"
    ),
    "authentication_required": Words(
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
        None,
        "1A",
    ),
}
# After one of these Stripe keeps the retry scheduled but makes no attempt with the same card.
HARD = frozenset({"lost_card", "stolen_card", "transaction_not_allowed", "authentication_required"})
