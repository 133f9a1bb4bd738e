"""The account itself, as its owner reads it, and the accounts that are connected to it.

A platform makes connected accounts (express or custom ones) and asks for them with the header
Stripe-Account: each has its own objects and events. Nothing else of Connect is here: no onboarding, no
transfers, no fees. Source: docs.stripe.com/api/accounts/object, docs.stripe.com/connect/authentication.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import Step
from millrace_lab.errors import Body, StripeError
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, Metadata, NoParams, Params, Text, Times

CURRENCIES = {"US": "usd", "GB": "gbp", "JP": "jpy", "CH": "chf", "CA": "cad", "AU": "aud"}
KIND, URL = "account", "/v1/accounts"
NOT_ON_BEHALF = frozenset(
    # what a connected account does not have of its own here
    {("POST", URL), ("POST", "/v1/webhook_endpoints"), ("POST", "/v2/core/event_destinations")}
)


class CreateAccount(Params):
    type: Literal["custom", "express"]
    country: Annotated[str, Field(min_length=2, max_length=2)] | None = None
    email: Text = None
    metadata: Metadata = None


class ListAccounts(ListParams):
    created: Times | None = None


def create(step: Step, params: CreateAccount) -> Body:
    """It can do business at once: what Stripe asks of its owner is taken as answered."""
    country = params.country or str(step.settings["country"])
    about = {"created": step.now, "email": params.email, "metadata": params.metadata or {}}
    return step.add(
        _account(step, step.new_id("acct", 16), country) | about | {"type": params.type, "country": country}
    )


def account(step: Step, _: NoParams) -> Body:
    """One's own."""
    platform = step.account.platform
    if platform is not None:
        return platform.objects[step.account.id]
    return _account(step, step.account.id, str(step.settings["country"]))


def _account(step: Step, id_: str, country: str) -> Body:
    return {
        "id": id_,
        "object": KIND,
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
    """One's own account, or one that is connected to it; any other is out of reach."""
    if id_ == step.account.id:
        return account(step, params)
    found = step.find(id_)
    if found is None or found["object"] != KIND:
        raise out_of_reach(id_)
    return found


def out_of_reach(id_: str) -> StripeError:
    return StripeError(
        403,
        f"The provided key does not have access to account '{id_}' (or that account does not exist). "
        "Application access may have been revoked.",
        code="account_invalid",
    )


def listing(step: Step, params: ListAccounts) -> Page:
    def wanted(body: Body) -> bool:
        return params.created is None or params.created.holds(body["created"])

    return lists.page(step, KIND, params, URL, wanted)


NOT_HERE = frozenset(
    {
        "account_token", "bank_account", "business_profile", "business_type", "capabilities", "company", "controller",
        "default_currency", "documents", "external_account", "groups", "individual", "settings", "tos_acceptance",
    }
)  # fmt: skip
OPERATIONS = (
    Operation("GET /v1/account", account, permission="account_read"),
    Operation(f"POST {URL}", create, CreateAccount, NOT_HERE, permission="account_write"),
    Operation(f"GET {URL}", listing, ListAccounts, permission="account_read"),
    Operation(f"GET {URL}/{{account}}", retrieve, permission="account_read"),
)
