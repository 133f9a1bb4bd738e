"""Credit grants: credits promised to a customer, their end, and what is left of them.

Source: docs.stripe.com/billing/subscriptions/usage-based/billing-credits; docs.stripe.com/api/billing/credit-grant.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import Currency, ListParams, Metadata, NoParams, Params, Second, Unset
from millrace_lab.usage import credits
from millrace_lab.usage.credits import GRANT, TRANSACTION

UNUSED_MOST = 100  # grants with something left in them, of one customer


class Monetary(Params):
    currency: Currency
    value: Annotated[int, Field(gt=0)]


class GrantAmount(Params):
    type: Literal["monetary"]
    monetary: Monetary


class PriceRef(Params):
    id: str


class Scope(Params):
    price_type: Literal["metered"] | None = None
    prices: list[PriceRef] | None = None


class Applicability(Params):
    scope: Scope


class CreateGrant(Params):
    amount: GrantAmount
    applicability_config: Applicability
    customer: str
    category: Literal["paid", "promotional"] = "paid"
    effective_at: Second | None = None
    expires_at: Second | None = None
    metadata: Metadata = None
    name: Annotated[str, Field(max_length=100)] | None = None
    priority: Annotated[int, Field(ge=0, le=100)] = 50


class UpdateGrant(Params):
    expires_at: Annotated[Second | None, Unset] = None
    metadata: Metadata = None


class ListGrants(ListParams):
    customer: str | None = None


class ListTransactions(ListParams):
    customer: str
    credit_grant: str | None = None


class SummaryFilter(Params):
    type: Literal["applicability_scope", "credit_grant"]
    applicability_scope: Scope | None = None
    credit_grant: str | None = None


class Summarise(Params):
    customer: str
    filter: SummaryFilter


# Granting.


def create(step: Step, params: CreateGrant) -> Body:
    customer = step.get("customer", params.customer, "customer")
    _check(step, params)
    effective_at = params.effective_at or step.now
    grant = step.add(
        {
            "id": step.new_id("credgr_test", 22),
            "object": GRANT,
            "amount": params.amount.model_dump(),
            "applicability_config": params.applicability_config.model_dump(exclude_none=True),
            "category": params.category,
            "created": step.now,
            "customer": customer["id"],
            "customer_account": None,
            "effective_at": effective_at,
            "expires_at": params.expires_at,
            "livemode": step.account.livemode,
            "metadata": params.metadata or {},
            "name": params.name,
            "priority": params.priority,
            "test_clock": customer.get("test_clock"),
            "updated": step.now,
            "voided_at": None,
        },
        customer["id"],
    )
    step.tell("billing.credit_grant.created", grant)
    credits.credit(step, grant, params.amount.monetary.value, "credits_granted", at=effective_at)
    step.due(grant["id"], "credit_grant.expire", params.expires_at)
    return grant


def _check(step: Step, params: CreateGrant) -> None:
    scope = params.applicability_config.scope
    refuse_unless(
        (scope.price_type is None) != (scope.prices is None),
        "You must provide exactly one of price_type or prices in applicability_config[scope].",
        "applicability_config[scope]",
    )
    for price in scope.prices or ():
        recurring = step.get("price", price.id, "applicability_config[scope][prices]")["recurring"] or {}
        refuse_unless(
            bool(recurring.get("meter")),
            f"The price {price.id} is not metered: credit grants apply to prices with a meter only.",
            "applicability_config[scope][prices]",
        )
    start, end = params.effective_at or step.now, params.expires_at
    refuse_unless(
        end is None or end > max(start, step.now), "expires_at must be after effective_at.", "expires_at"
    )
    unused = sum(1 for grant in step.of(GRANT, params.customer) if _is_unused(step, grant))
    refuse_unless(unused < UNUSED_MOST, f"A customer may have at most {UNUSED_MOST} unused credit grants.")


def _is_unused(step: Step, grant: Body) -> bool:
    return credits.balance(step, grant, credits.NEVER) > 0


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get(GRANT, id_)


def update(step: Step, params: UpdateGrant, id_: str) -> Body:
    before = _open_grant(step, id_)
    changes = params.changes_to(before)
    if "expires_at" in changes:
        future = params.expires_at is None or params.expires_at > step.now
        refuse_unless(future, "expires_at must be in the future.", "expires_at")
        step.due(id_, "credit_grant.expire", params.expires_at)
    step.change(id_, **changes, updated=step.now)
    return step.updated("billing.credit_grant.updated", before)


def _open_grant(step: Step, id_: str) -> Body:
    grant = step.get(GRANT, id_)
    refuse_unless(grant["voided_at"] is None, "This credit grant has been voided.")
    ended = grant["expires_at"] is not None and grant["expires_at"] <= step.now
    refuse_unless(not ended, "This credit grant has expired.")
    return grant


def listing(step: Step, params: ListGrants) -> Page:
    return lists.page(step, GRANT, params, "/v1/billing/credit_grants", parent=params.customer)


# Ending.


def expire(step: Step, _: NoParams, id_: str) -> Body:
    """End a grant now; what is left of it is gone."""
    before = _open_grant(step, id_)
    return _ended(step, before, "credits_expired", expires_at=step.now)


def void(step: Step, _: NoParams, id_: str) -> Body:
    """Take a grant back that was never drawn."""
    before = _open_grant(step, id_)
    untouched = credits.balance(step, before, credits.NEVER) == before["amount"]["monetary"]["value"]
    refuse_unless(
        untouched, "This credit grant can't be voided because its credits have been applied. Expire it."
    )
    return _ended(step, before, "credits_voided", voided_at=step.now)


def _ended(step: Step, before: Body, why: str, **times: int) -> Body:
    step.due(before["id"], "credit_grant.expire", None)
    _empty(step, before, why)
    step.change(before["id"], **times, updated=step.now)
    return step.updated("billing.credit_grant.updated", before)


def expired(step: Step, grant: Body) -> None:
    """Time's act: the grant's last second has come. The grant itself does not change."""
    if grant["voided_at"] is None and grant["expires_at"] is not None and grant["expires_at"] <= step.now:
        _empty(step, grant, "credits_expired")


def _empty(step: Step, grant: Body, why: str) -> None:
    if left := credits.balance(step, grant, credits.NEVER):
        credits.debit(step, grant, left, why)


# What is left.


def summary(step: Step, params: Summarise) -> Body:
    """One balance for each currency, of one grant or of the grants that a scope reaches."""
    step.get("customer", params.customer, "customer")
    totals: dict[str, int] = {}
    for grant in _asked(step, params):
        currency = grant["amount"]["monetary"]["currency"]
        totals[currency] = totals.get(currency, 0) + credits.balance(step, grant)
    return {
        "object": "billing.credit_balance_summary",
        "balances": [_balance(currency, value) for currency, value in sorted(totals.items())],
        "customer": params.customer,
        "customer_account": None,
        "livemode": step.account.livemode,
    }


def _asked(step: Step, params: Summarise) -> list[Body]:
    filtered = params.filter
    if filtered.type == "credit_grant":
        refuse_unless(filtered.credit_grant is not None, "Missing required param: filter[credit_grant].")
        return [step.get(GRANT, filtered.credit_grant or "", "filter[credit_grant]")]
    scope = filtered.applicability_scope
    refuse_unless(scope is not None, "Missing required param: filter[applicability_scope].")
    wanted = {price.id for price in (scope.prices or ())} if scope else set()
    return [grant for grant in step.of(GRANT, params.customer) if _reaches(grant, wanted)]


def _reaches(grant: Body, prices: set[str]) -> bool:
    """Whether a grant may pay for all of some prices; for any metered price, where none is named."""
    named = grant["applicability_config"]["scope"].get("prices")
    return not named or bool(prices and prices <= {each["id"] for each in named})


def _balance(currency: str, value: int) -> Body:
    amount = {"monetary": {"currency": currency, "value": value}, "type": "monetary"}
    return {"available_balance": amount, "ledger_balance": amount}


def transactions(step: Step, params: ListTransactions) -> Page:
    step.get("customer", params.customer, "customer")
    url = "/v1/billing/credit_balance_transactions"
    return lists.page(step, TRANSACTION, params, url, parent=params.customer, by=("credit_grant",))


def transaction(step: Step, _: NoParams, id_: str) -> Body:
    return step.get(TRANSACTION, id_)


ACCOUNTS = frozenset({"customer_account"})
OPERATIONS = (
    Operation("POST /v1/billing/credit_grants", create, CreateGrant, ACCOUNTS),
    Operation("GET /v1/billing/credit_grants/{id}", retrieve),
    Operation("POST /v1/billing/credit_grants/{id}", update, UpdateGrant),
    Operation("POST /v1/billing/credit_grants/{id}/expire", expire),
    Operation("POST /v1/billing/credit_grants/{id}/void", void),
    Operation("GET /v1/billing/credit_grants", listing, ListGrants, ACCOUNTS),
    Operation("GET /v1/billing/credit_balance_summary", summary, Summarise, ACCOUNTS),
    Operation("GET /v1/billing/credit_balance_transactions", transactions, ListTransactions, ACCOUNTS),
    Operation("GET /v1/billing/credit_balance_transactions/{id}", transaction),
)
