"""What the account refuses, in Stripe's own words and numbers.

StripeError
├── invalid_request_error   400, 404: the request cannot be done as asked
├── card_error              402: the bank, or a step that the customer has to take
├── idempotency_error       400, 409: one key, two requests
├── rate limit              429: with `Stripe-Rate-Limited-Reason`
├── permission              401, 403: no key, or one that may not
└── absent                  501: Stripe has this, the double does not; it says what it has
Anything else is our own bug and answers 500.

Source: docs.stripe.com/api/errors, docs.stripe.com/error-codes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Body = dict[str, Any]


class StripeError(Exception):
    """An answer that is not a success.

    `details` are further fields of the error object, such as `payment_intent` or `decline_code`.
    `keep` says that what the request did before it failed stays done, as a declined payment does.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
        keep: bool = False,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.type = status, message, type
        self.code, self.param, self.details = code, param, details
        self.headers, self.keep = headers or {}, keep

    def body(self) -> Body:
        error: Body = {"type": self.type, "message": self.message}
        if self.code:
            error |= {
                "code": self.code,
                "doc_url": f"https://stripe.com/docs/error-codes/{dashed(self.code)}",
            }
        if self.param:
            error["param"] = self.param
        return {"error": error | self.details}


def dashed(code: str) -> str:
    return code.replace("_", "-")


def invalid(message: str, param: str | None = None, code: str | None = None) -> StripeError:
    """400: the request cannot be done as asked."""
    return StripeError(400, message, param=param, code=code)


def missing(kind: str, id_: str, param: str | None = None) -> StripeError:
    """There is no such object: 404 where the path named it, 400 where a parameter did."""
    noun = NOUNS.get(kind, kind.replace("_", " "))
    status = 404 if param in (None, "id") else 400
    return StripeError(status, f"No such {noun}: '{id_}'", param=param or "id", code="resource_missing")


NOUNS = {
    # what the messages call it, where it is not the object's name with spaces
    "checkout.session": "checkout.session",
    "payment_intent": "payment_intent",
    "payment_method": "PaymentMethod",
    "setup_intent": "setupintent",
    "subscription_item": "subscription_item",
    "test_helpers.test_clock": "test clock",
    "v2.core.event_destination": "event destination",
}


def absent(what: str, there: Iterable[str]) -> StripeError:
    """501: a part of Stripe that the double does not have. It never makes an answer up."""
    have = sorted(there)
    return StripeError(
        501,
        f"This double of Stripe has no {what}. It has: {', '.join(have)}.",
        type="api_error",
        code="not_in_the_double",
        has=have,
    )
