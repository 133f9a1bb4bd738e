"""What the forms of the hosted pages do. Each function answers the URL to go to next.

A refusal is raised, as anywhere; the caller shows the page again with its message. A declined card is none:
the page tells it.
"""

from __future__ import annotations

from collections.abc import Callable

from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog.asking import Address
from millrace_lab.customers import customers
from millrace_lab.customers.customers import InvoiceSettings as Settings
from millrace_lab.customers.customers import UpdateCustomer
from millrace_lab.errors import Body, invalid
from millrace_lab.hosted import buying, paying_with, sessions
from millrace_lab.hosted import portal as portals
from millrace_lab.invoices import collection
from millrace_lab.payments import charging, making, methods
from millrace_lab.subscriptions import asking, canceling, changing, pausing

Form = dict[str, str]


def checkout(step: Step, id_: str, form: Form) -> str:
    """Pay, authenticate or type a promotion code in; on to the shop when the session is complete."""
    session = step.get(sessions.SESSION, id_)
    if "authenticate" in form:
        session = buying.authenticate(step, id_, form["authenticate"] == "yes")
    elif form.get("do") == "code":
        buying.apply_code(step, id_, form.get("promotion_code", ""))
    else:
        debits = session["currency"] if session["mode"] == "payment" else None
        method = paying_with.chosen(step, form, session["_customer"], debits)
        session = buying.submit(step, id_, _buyer(form), method)
    return sessions.filled(session, "success_url") if session["status"] == "complete" else f"/pay/{id_}"


def _buyer(form: Form) -> buying.Buyer:
    given = {
        name: (form.get(name) or "").strip() or None
        for name in ("email", "name", "country", "state", "postal_code")
    }
    email = given.pop("email")
    refuse_unless(email is not None and "@" in email, "Type your email address in.", "email")
    return buying.Buyer(email=str(email), **given)


def invoice(step: Step, id_: str, form: Form) -> str:
    """Pay an open invoice, or answer the bank's question about it."""
    found = step.get("invoice", id_)
    if "authenticate" in form:
        charging.authenticate(step, found["_payment_intent"], form["authenticate"] == "yes")
        return f"/invoice/{id_}"
    refuse_unless(found["status"] in ("open", "uncollectible"), "This invoice is not open.")
    method = paying_with.chosen(step, form, found["customer"])
    refuse_unless(method is not None, "Choose how to pay.", "payment_method")
    collection.pay(step, id_, making.resolve(step, method or "")["id"], off_session=False)
    return f"/invoice/{id_}"


# The customer portal.


def portal(step: Step, id_: str, form: Form) -> str:
    """One act of a customer. A session about one thing leads on as it was told to."""
    session = step.get(portals.SESSION, id_)
    act, feature = ACTS.get(form.get("do", ""), (None, ""))
    if act is None:
        raise invalid("The portal does not know this button.", "do")
    configuration = step.get(portals.CONFIGURATION, session["configuration"])
    refuse_unless(
        configuration["features"][feature]["enabled"], "This is not possible here. Ask the shop.", "do"
    )
    act(step, session, configuration["features"][feature], form)
    after = (session["flow"] or {}).get("after_completion") or {}
    return after["redirect"]["return_url"] if after.get("type") == "redirect" else f"/portal/{id_}"


def _own_subscription(step: Step, session: Body, form: Form) -> str:
    """A customer touches no other customer's subscription, and in a flow no other than the flow's."""
    sub = step.get("subscription", form.get("subscription", ""), "subscription")
    flow = session["flow"] or {}
    only = (flow.get(flow.get("type", "")) or {}).get("subscription", sub["id"])
    refuse_unless(
        sub["customer"] == session["customer"] and only == sub["id"], "This is not your subscription."
    )
    return str(sub["id"])


def _card(step: Step, session: Body, _: Body, form: Form) -> None:
    """The card becomes the customer's default, and that of subscriptions which have one of their own."""
    customer = session["customer"]
    chosen = paying_with.chosen(step, form, customer)
    refuse_unless(chosen is not None, "Choose a card.", "payment_method")
    method = methods.attach_to(step, making.resolve(step, chosen or "")["id"], customer)["id"]
    customers.update(step, UpdateCustomer(invoice_settings=Settings(default_payment_method=method)), customer)
    for sub in step.of("subscription", customer):
        if sub["default_payment_method"] and sub["status"] not in ("canceled", "incomplete_expired"):
            changing.update(step, asking.Update(default_payment_method=method), sub["id"])


def _details(step: Step, session: Body, feature: Body, form: Form) -> None:
    wanted = [
        name for name in ("name", "email", "phone") if name in feature["allowed_updates"] and name in form
    ]
    changes: Body = {name: form[name] for name in wanted}
    if "address" in feature["allowed_updates"] and form.get("country"):
        changes["address"] = Address(country=form["country"])
    customers.update(step, UpdateCustomer(**changes), session["customer"])


def _cancel(step: Step, session: Body, feature: Body, form: Form) -> None:
    id_ = _own_subscription(step, session, form)
    said = asking.CancellationDetails.model_validate({"feedback": form.get("feedback", "")})
    if feature["mode"] == "at_period_end":
        canceling.in_portal(step, id_, said.feedback)
        return
    behavior = feature["proration_behavior"]
    params = asking.Cancel(
        cancellation_details=said, prorate=behavior != "none", invoice_now=behavior == "always_invoice"
    )
    canceling.cancel(step, params, id_)


def _keep(step: Step, session: Body, _: Body, form: Form) -> None:
    id_ = _own_subscription(step, session, form)
    changing.update(step, asking.Update.model_validate({"cancel_at": ""}), id_)


def _switch(step: Step, session: Body, feature: Body, form: Form) -> None:
    id_, price = _own_subscription(step, session, form), form.get("price", "")
    offered = {each for product in feature["products"] for each in product["prices"]}
    refuse_unless(price in offered, "This plan is not offered.", "price")
    item = step.get("subscription", id_)["items"]["data"][0]
    _update(step, id_, feature, [{"id": item["id"], "price": price}])


def _confirm(step: Step, session: Body, feature: Body, form: Form) -> None:
    asked: Body = (session["flow"] or {}).get("subscription_update_confirm") or {"items": []}
    refuse_unless(bool(asked["items"]), "There is nothing to confirm.")
    items = [{name: value for name, value in item.items() if value is not None} for item in asked["items"]]
    _update(step, _own_subscription(step, session, form), feature, items)


def _update(step: Step, id_: str, feature: Body, items: list[Body]) -> None:
    asked = {"items": items, "proration_behavior": feature["proration_behavior"]}
    changing.update(step, asking.Update.model_validate(asked), id_)


def _pause(step: Step, session: Body, _: Body, form: Form) -> None:
    pausing.pause(step, asking.Pause(), _own_subscription(step, session, form))


def _resume(step: Step, session: Body, _: Body, form: Form) -> None:
    pausing.resume(step, asking.Resume(), _own_subscription(step, session, form))


Act = Callable[[Step, Body, Body, Form], None]
ACTS: dict[str, tuple[Act, str]] = {
    # the button → what it does, and the feature that has to be on
    "card": (_card, "payment_method_update"),
    "details": (_details, "customer_update"),
    "cancel": (_cancel, "subscription_cancel"),
    "keep": (_keep, "subscription_cancel"),
    "switch": (_switch, "subscription_update"),
    "confirm": (_confirm, "subscription_update"),
    "pause": (_pause, "subscription_pause"),
    "resume": (_resume, "subscription_pause"),
}
