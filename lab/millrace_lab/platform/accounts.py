"""The account itself, as its owner reads it. Source: docs.stripe.com/api/accounts/object."""

from __future__ import annotations

from millrace_lab.account import Step
from millrace_lab.errors import Body, StripeError
from millrace_lab.operations import Operation
from millrace_lab.params import NoParams

CURRENCIES = {"US": "usd", "GB": "gbp", "JP": "jpy", "CH": "chf", "CA": "cad", "AU": "aud"}


def account(step: Step, _: NoParams) -> Body:
    country = str(step.settings["country"])
    return {
        "id": step.account.id,
        "object": "account",
        "business_profile": None,
        "business_type": None,
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": country,
        "default_currency": CURRENCIES.get(country, "eur"),
        "details_submitted": True,
        "email": None,
        "payouts_enabled": True,
        "settings": {
            "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
            "card_payments": {
                "statement_descriptor_prefix": None,
                "statement_descriptor_prefix_kana": None,
                "statement_descriptor_prefix_kanji": None,
            },
            "dashboard": {"display_name": step.settings["name"], "timezone": "Etc/UTC"},
            "payments": {
                "statement_descriptor": None,
                "statement_descriptor_kana": None,
                "statement_descriptor_kanji": None,
            },
        },
        "type": "standard",
    }


def retrieve(step: Step, params: NoParams, id_: str) -> Body:
    """One's own account. There are no connected ones, so any other is out of reach."""
    if id_ != step.account.id:
        raise StripeError(
            403,
            f"The provided key does not have access to account '{id_}' (or that account does not exist). "
            "Application access may have been revoked.",
            code="account_invalid",
        )
    return account(step, params)


OPERATIONS = (
    Operation("GET /v1/account", account, permission="account_read"),
    Operation("GET /v1/accounts/{account}", retrieve, permission="account_read"),
)
