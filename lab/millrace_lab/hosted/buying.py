"""Buying in Checkout: who buys, with what, and what comes of it.

A payment makes an intent, a subscription starts incomplete and its first invoice is paid, a setup saves the
card. A declined card leaves the session open, and the next card is tried on the very same intent or invoice.
What came of an attempt is told by `settling`. Source: docs.stripe.com/payments/checkout/how-checkout-works.
"""

from __future__ import annotations

from dataclasses import dataclass

from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog.asking import Address
from millrace_lab.customers import customers
from millrace_lab.customers.customers import CreateCustomer, UpdateCustomer
from millrace_lab.errors import Body
from millrace_lab.hosted import basket, settling
from millrace_lab.hosted.sessions import SESSION
from millrace_lab.invoices import collection
from millrace_lab.payments import charging, intents, making, setups
from millrace_lab.subscriptions import asking, starting


@dataclass(frozen=True, slots=True)
class Buyer:
    """What a customer types into the page."""

    email: str
    name: str | None = None
    country: str | None = None
    state: str | None = None
    postal_code: str | None = None

    @property
    def address(self) -> Body | None:
        if self.country is None:
            return None
        known = {"country": self.country, "state": self.state, "postal_code": self.postal_code}
        return Address().model_dump() | known


def submit(step: Step, id_: str, buyer: Buyer, method_id: str | None) -> Body:
    """The customer presses the button. The session as it is then: complete, or still open with a notice."""
    session = step.get(SESSION, id_)
    refuse_unless(session["status"] == "open", "This Checkout Session is no longer open.")
    step.change(id_, customer_details=_details(buyer))
    session = _counted(step, step.change(id_, _customer=_customer(step, session, buyer)))
    unplaced = session["automatic_tax"]["status"] == "requires_location_inputs"
    refuse_unless(not unplaced, "Choose your country: the tax depends on it.", "country")
    method = None if method_id is None else _method(step, method_id, buyer)["id"]
    match session["mode"]:
        case "payment":
            _pay(step, session, method)
        case "subscription":
            _subscribe(step, session, method)
        case "setup":
            _set_up(step, session, method)
    return settling.settle(step, id_)


def _details(buyer: Buyer) -> Body:
    return {
        "address": buyer.address,
        "business_name": None,
        "email": buyer.email,
        "individual_name": None,
        "name": buyer.name,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }


def _method(step: Step, method_id: str, buyer: Buyer) -> Body:
    method = making.resolve(step, method_id)
    if method["customer"] is not None:
        return method
    details = {"address": buyer.address or Address().model_dump(), "email": buyer.email, "name": buyer.name}
    return step.change(method["id"], billing_details={**method["billing_details"], **details})


# Who.


def _customer(step: Step, session: Body, buyer: Buyer) -> str | None:
    """The customer of the session, made now where there has to be one; None for a guest."""
    known: str | None = session["customer"] or session.get("_customer")
    if known is not None:
        _update(step, session, known, buyer)
        return known
    if session["customer_creation"] != "always" and not _saves(session):
        return None
    address = None if buyer.address is None else Address(**buyer.address)
    made = customers.create(step, CreateCustomer(email=buyer.email, name=buyer.name, address=address))
    return str(made["id"])


def _saves(session: Body) -> bool:
    """Whether the card is kept for later, which needs a customer to keep it for."""
    return bool((session["_given"].get("payment_intent_data") or {}).get("setup_future_usage"))


def _update(step: Step, session: Body, customer: str, buyer: Buyer) -> None:
    """What the customer typed is kept on the customer only where the session asks for it."""
    wanted = session["_given"].get("customer_update") or {}
    changes: Body = {}
    if wanted.get("name") == "auto" and buyer.name:
        changes["name"] = buyer.name
    if wanted.get("address") == "auto" and buyer.address:
        changes["address"] = Address(**buyer.address)
    if changes:
        customers.update(step, UpdateCustomer(**changes), customer)


# What it costs, now that the place is known.


def _counted(step: Step, session: Body) -> Body:
    if session["mode"] == "setup":
        return session
    buyer = _taxed(step, session)
    automatic = session["automatic_tax"]["enabled"]
    off = basket.offered(step, basket.given_of(session), session["_customer"])
    items = basket.counted(
        step, session["_items"], off, trial=session["_trial"], automatic=automatic, buyer=buyer
    )
    status = "complete" if buyer["address"] or buyer["shipping"] else "requires_location_inputs"
    automatic_tax = session["automatic_tax"] | ({"status": status} if automatic else {})
    return step.change(session["id"], _items=items, automatic_tax=automatic_tax, **basket.totals(items))


def _taxed(step: Step, session: Body) -> Body:
    if session["_customer"] is not None:
        return step.get("customer", session["_customer"])
    details = session["customer_details"] or basket.NOWHERE
    return basket.NOWHERE | {"address": details["address"]}


def apply_code(step: Step, id_: str, text: str) -> Body:
    """The customer types a promotion code in, as it is printed. Raises StripeError 400."""
    session = step.get(SESSION, id_)
    allowed = (
        session["status"] == "open" and session["allow_promotion_codes"] and session["_subscription"] is None
    )
    refuse_unless(bool(allowed), "Promotion codes are not accepted here.", "promotion_code")
    codes = (
        code
        for code in step.all("promotion_code")
        if code["active"] and code["code"].lower() == text.strip().lower()
    )
    code = next(codes, None)
    refuse_unless(code is not None, "This code is invalid.", "promotion_code")
    assert code is not None
    given = {"promotion_code": code["id"]}
    all_given = {**session["_given"], "discounts": [given]}
    return _counted(step, step.change(id_, discounts=[{"coupon": None, **given}], _given=all_given))


# A payment.


def _pay(step: Step, session: Body, method: str | None) -> None:
    if session["amount_total"] == 0:
        return
    intent = session["_intent"] or _intent(step, session)
    refuse_unless(method is not None, "Choose how to pay.", "payment_method")
    charging.confirm(step, intent, method or "", off_session=False)


def _intent(step: Step, session: Body) -> str:
    """The intent of a session is made when it is first paid, not when the session is.

    Source: docs.stripe.com/changelog, 2022-08-01.
    """
    data = session["_given"].get("payment_intent_data") or {}
    intent = intents.make(
        step,
        customer=session["_customer"],
        amount=session["amount_total"],
        currency=session["currency"],
        **{name: value for name, value in data.items() if value is not None},
    )
    step.change(session["id"], _intent=intent["id"])
    step.adopt(intent["id"], session)
    return str(intent["id"])


# A subscription.


def _subscribe(step: Step, session: Body, method: str | None) -> None:
    if session["amount_total"] == 0:
        _subscribe_free(step, session, method)
        return
    refuse_unless(method is not None, "Choose how to pay.", "payment_method")
    sub = step.get("subscription", session["_subscription"] or _subscription(step, session))
    collection.pay(step, sub["latest_invoice"], method, off_session=False)


def _subscribe_free(step: Step, session: Body, method: str | None) -> None:
    """Nothing is due today: the card is set up first, and the subscription starts once it is."""
    if method is None:
        refuse_unless(
            session["payment_method_collection"] == "if_required", "Choose a card.", "payment_method"
        )
        _subscription(step, session)
        return
    _keep(step, session, method)
    _after_setup(step, session["id"])


def _after_setup(step: Step, id_: str) -> None:
    """A card that was set up becomes the method of the subscription that waited for it."""
    session = step.get(SESSION, id_)
    intent = step.get("setup_intent", session["_intent"])
    if session["mode"] == "subscription" and intent["status"] == "succeeded":
        _subscription(step, session, default_payment_method=intent["payment_method"])


def _subscription(step: Step, session: Body, **more: str | None) -> str:
    """Start what the session sells. A first invoice of more than nothing waits for the card."""
    data = session["_given"].get("subscription_data") or {}
    items = [_sold(item) for item in session["_items"]]
    asked = {
        "customer": session["_customer"],
        "items": [item for item, recurs in items if recurs],
        "add_invoice_items": [item for item, recurs in items if not recurs],
        "automatic_tax": {"enabled": session["automatic_tax"]["enabled"]},
        "discounts": [each.model_dump(exclude_none=True) for each in basket.given_of(session)],
        "payment_behavior": "default_incomplete",
        "payment_settings": {"save_default_payment_method": "on_subscription"},
        **{name: value for name, value in {**data, **more}.items() if value is not None},
    }
    sub = starting.start(step, asking.Create.model_validate(asked))
    step.change(session["id"], _subscription=sub["id"])
    step.adopt(sub["id"], session)
    return str(sub["id"])


def _sold(item: Body) -> tuple[Body, bool]:
    sold = {"price": item["price"]["id"], "quantity": item["quantity"], "tax_rates": item["_rates"] or None}
    known = {name: value for name, value in sold.items() if value is not None}
    return known, item["price"]["type"] == "recurring"


# A card that is only kept.


def _set_up(step: Step, session: Body, method: str | None) -> None:
    refuse_unless(method is not None, "Choose a card.", "payment_method")
    _keep(step, session, method or "")


def _keep(step: Step, session: Body, method: str) -> None:
    """A setup intent for the card, confirmed while the customer is there. Raises StripeError 402, kept."""
    data = session["_given"].get("setup_intent_data") or {}
    if session["_intent"] is None:
        made = setups.create(step, setups.CreateSetup(customer=session["_customer"], **data))
        step.change(session["id"], _intent=made["id"])
        step.adopt(made["id"], session)
    intent = step.get(SESSION, session["id"])["_intent"]
    setups.confirm(step, setups.ConfirmSetup(payment_method=method), intent)


# The step that a bank may ask of the customer.


def authenticate(step: Step, id_: str, succeeds: bool) -> Body:
    """The customer answers the bank's question. Raises StripeError 400 where nothing was asked."""
    intent = settling.waiting_intent(step, step.get(SESSION, id_))
    asked = intent is not None and intent["status"] == "requires_action"
    refuse_unless(asked, "There is nothing to authenticate.")
    assert intent is not None
    if intent["object"] == "setup_intent":
        setups.authenticate(step, intent["id"], succeeds)
        _after_setup(step, id_)
    else:
        charging.authenticate(step, intent["id"], succeeds)
    return settling.settle(step, id_)
