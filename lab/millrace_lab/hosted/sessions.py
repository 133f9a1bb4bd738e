"""Checkout sessions: what a customer is asked to pay, until it is complete or its time is over.

open → complete | expired. How a session becomes complete is in `settling`.
Told: checkout.session.completed, expired, async_payment_succeeded, async_payment_failed.
Source: docs.stripe.com/api/checkout/sessions, docs.stripe.com/payments/checkout/how-checkout-works.
"""

from __future__ import annotations

from millrace_lab import lists
from millrace_lab.account import DAY, MINUTE, Step, refuse_unless
from millrace_lab.catalog import tax
from millrace_lab.catalog.asking import CodeGiven
from millrace_lab.errors import Body
from millrace_lab.hosted import asking, basket, paying_with
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, NoParams

SESSION = "checkout.session"
LASTS, LASTS_LEAST = DAY, 30 * MINUTE


def create(step: Step, params: asking.Create) -> Body:
    if params.customer is not None:
        step.get("customer", params.customer, "customer")
    _check(step, params)
    id_ = step.new_id("cs_test", 42)
    items = basket.items(step, params)
    trial = bool(params.subscription_data and _trial(params.subscription_data))
    off = basket.offered(step, params.discounts, params.customer)
    counted = basket.counted(
        step, items, off, trial=trial, automatic=params.automatic_tax.enabled, buyer=_buyer(step, params)
    )
    session = step.add(_new(step, params, id_, counted) | {"_trial": trial}, params.customer)
    step.due(id_, "checkout.session.expire", session["expires_at"])
    return session


def _buyer(step: Step, params: asking.Create) -> Body:
    return step.get("customer", params.customer) if params.customer else basket.NOWHERE


def _trial(data: asking.SubscriptionData) -> bool:
    return data.trial_end is not None or data.trial_period_days is not None


def _check(step: Step, params: asking.Create) -> None:
    refuse_unless(
        params.success_url is not None,
        "Missing required param: success_url.",
        "success_url",
        "parameter_missing",
    )
    for name in ("success_url", "cancel_url"):
        check_url(getattr(params, name), name)
    refuse_unless(
        params.customer is None or params.customer_email is None,
        "You may only specify one of these parameters: customer, customer_email.",
    )
    refuse_unless(
        not (params.allow_promotion_codes and params.discounts),
        "You may only specify one of these parameters: allow_promotion_codes, discounts.",
    )
    for name, mode in MODE_OF.items():
        refuse_unless(
            not getattr(params, name) or params.mode == mode,
            f"You can not pass `{name}` in `{params.mode}` mode.",
            name,
        )
    _check_place(step, params)
    if params.expires_at is not None:
        refuse_unless(
            step.now + LASTS_LEAST <= params.expires_at <= step.now + LASTS,
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.",
            "expires_at",
        )


def _check_place(step: Step, params: asking.Create) -> None:
    """Automatic tax needs a customer whose place is known, or may be learned on the page."""
    learns = params.customer_update is not None and params.customer_update.address == "auto"
    known = (
        params.customer is None
        or learns
        or tax.location_of(step.get("customer", params.customer)) is not None
    )
    refuse_unless(
        known or not params.automatic_tax.enabled,
        "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid address to the "
        "Customer or set either `customer_update[address]` to 'auto' or `customer_update[shipping]` to 'auto' to "
        "save the address entered in Checkout to the Customer.",
        code="customer_tax_location_invalid",
    )


def check_url(url: str | None, param: str) -> None:
    """Where a customer is sent: to a page, never to a script."""
    fits = url is None or url.startswith(("https://", "http://"))
    refuse_unless(fits, "Not a valid URL", param, "url_invalid")


MODE_OF = {
    "payment_intent_data": "payment",
    "setup_intent_data": "setup",
    "subscription_data": "subscription",
    "payment_method_collection": "subscription",
}


def _new(step: Step, params: asking.Create, id_: str, items: list[Body]) -> Body:
    currency = items[0]["currency"] if items else params.currency
    automatic = params.automatic_tax.enabled
    return {
        "id": id_,
        "object": SESSION,
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "allow_promotion_codes": params.allow_promotion_codes,
        "automatic_tax": {
            "enabled": automatic,
            "liability": {"type": "self"} if automatic else None,
            "provider": "stripe" if automatic else None,
            "status": "requires_location_inputs" if automatic else None,
        },
        "billing_address_collection": params.billing_address_collection,
        "cancel_url": params.cancel_url,
        "client_reference_id": params.client_reference_id,
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "created": step.now,
        "currency": currency,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": dict.fromkeys(
            ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
        ),
        "customer": params.customer,
        "customer_account": None,
        "customer_creation": _customer_creation(params),
        "customer_details": None,
        "customer_email": params.customer_email,
        "discounts": [_shown_discount(each) for each in params.discounts],
        "expires_at": params.expires_at or step.now + LASTS,
        "invoice": None,
        "livemode": step.account.livemode,
        "locale": params.locale,
        "metadata": params.metadata or {},
        "mode": params.mode,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": _method_collection(params),
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": paying_with.types(params.mode, currency),
        "payment_status": "no_payment_required" if params.mode == "setup" else "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": params.submit_type,
        "subscription": None,
        "success_url": params.success_url,
        "ui_mode": params.ui_mode,
        "url": f"{site(step, 'checkout')}/pay/{id_}",
        "wallet_options": None,
        **(basket.totals(items) if params.mode != "setup" else _NO_TOTALS),
        "_items": items,
        "_given": params.model_dump(exclude_unset=True),
        "_customer": params.customer,
        "_intent": None,
        "_subscription": None,
    }


_NO_TOTALS: Body = {"amount_subtotal": None, "amount_total": None, "total_details": None}


def site(step: Step, part: str) -> str:
    """Where the double serves its own pages; Stripe's address for them where it serves none."""
    return str(step.settings.get("site") or f"https://{part}.stripe.com")


def _customer_creation(params: asking.Create) -> str | None:
    """Who pays once without an account stays a guest, unless the session says otherwise."""
    if params.mode == "subscription" or params.customer is not None:
        return None if params.customer else "always"
    return params.customer_creation or "if_required"


def _method_collection(params: asking.Create) -> str:
    if params.payment_method_collection is not None:
        return params.payment_method_collection
    return "always" if params.mode in ("subscription", "setup") else "if_required"


def _shown_discount(given: CodeGiven) -> Body:
    return {"coupon": given.coupon, "promotion_code": given.promotion_code}


def filled(session: Body, name: str) -> str:
    """`success_url` or `cancel_url` with the session's id where it asks for it."""
    return str(session[name]).replace("{CHECKOUT_SESSION_ID}", session["id"])


# Reading and changing.


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get(SESSION, id_)


def update(step: Step, params: asking.Update, id_: str) -> Body:
    """New metadata; Stripe tells nobody."""
    return step.change(id_, **params.changes_to(step.get(SESSION, id_), "metadata"))


def listing(step: Step, params: asking.Listed) -> Page:
    def wanted(session: Body) -> bool:
        details = session["customer_details"] or {"email": session["customer_email"]}
        return params.customer_details is None or details["email"] == params.customer_details.email

    by = ("created", "payment_intent", "status", "subscription")
    return lists.page(step, SESSION, params, "/v1/checkout/sessions", wanted, params.customer, by=by)


def line_items(step: Step, params: ListParams, id_: str) -> Page:
    session = step.get(SESSION, id_)
    return lists.cut(session["_items"], params, f"/v1/checkout/sessions/{id_}/line_items", "item")


def included_items(step: Step, session: Body) -> Body:
    """`line_items`, where they are expanded: the first ten."""
    items = step.get(SESSION, session["id"])["_items"]
    return lists.listed(items, f"/v1/checkout/sessions/{session['id']}/line_items", most=10)


# Its end, unpaid.


def expire(step: Step, _: NoParams, id_: str) -> Body:
    """The operator takes the offer back."""
    session = step.get(SESSION, id_)
    refuse_unless(
        session["status"] == "open",
        'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of '
        f"{session['status']}.",
    )
    return _expired(step, id_)


def expired(step: Step, session: Body) -> None:
    """Time's act: a day has gone by."""
    if session["status"] == "open":
        _expired(step, session["id"])


def _expired(step: Step, id_: str) -> Body:
    step.due(id_, "checkout.session.expire", None)
    session = step.change(id_, status="expired", url=None)
    step.tell("checkout.session.expired", session)
    return session


OPERATIONS = (
    Operation("POST /v1/checkout/sessions", create, asking.Create, asking.NOT_IN_CREATE),
    Operation("GET /v1/checkout/sessions/{session}", retrieve),
    Operation("POST /v1/checkout/sessions/{session}", update, asking.Update, asking.NOT_IN_UPDATE),
    Operation("POST /v1/checkout/sessions/{session}/expire", expire),
    Operation("GET /v1/checkout/sessions/{session}/line_items", line_items, ListParams),
    Operation("GET /v1/checkout/sessions", listing, asking.Listed, asking.NOT_IN_LIST),
)
