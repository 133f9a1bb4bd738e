"""Stripe's hosted pages as plain HTML: Checkout, the customer portal, an invoice.

Each function reads through a step and returns the whole page; `clicking` does what its forms ask. Nothing
here changes anything, and everything that anybody typed is escaped.
"""

from __future__ import annotations

from millrace_lab.account import Step
from millrace_lab.errors import Body, missing
from millrace_lab.hosted import parts, paying_with, sessions, settling
from millrace_lab.hosted import portal as portals
from millrace_lab.hosted.parts import button, field, form, hidden, money, radios, select
from millrace_lab.markup import Html, Piece, el, joined

ALIVE = ("active", "trialing", "past_due", "unpaid", "paused", "incomplete")
STATUS = {
    "active": "Active",
    "trialing": "Trial",
    "past_due": "Past due: your last payment failed",
    "unpaid": "Unpaid",
    "paused": "Paused",
    "incomplete": "Waiting for its first payment",
}
REASONS = {
    "": "I would rather not say",
    "too_expensive": "It is too expensive",
    "missing_features": "It lacks something I need",
    "switched_service": "I use something else now",
    "unused": "I do not use it",
    "customer_service": "The support",
    "too_complex": "It is too complicated",
    "low_quality": "The quality",
    "other": "Another reason",
}


def _merchant(step: Step) -> str:
    return str(step.settings["name"])


def _link(text: str, url: str | None) -> Html | None:
    return None if url is None else el("p", el("a", text, href=url))


# Checkout.


HEADINGS = {"payment": "Pay", "subscription": "Subscribe", "setup": "Save a card"}
ENDED = {
    "complete": ("Thank you", "This checkout is complete.", "Go on", "success_url"),
    "expired": (
        "Expired",
        "The time for this checkout is over. Nothing was charged.",
        "Go back",
        "cancel_url",
    ),
}


def checkout(step: Step, id_: str, notice: str | None = None) -> str:
    """The page of a Checkout session. Raises StripeError 404."""
    session = step.get(sessions.SESSION, id_)
    if session["status"] in ENDED:
        heading, text, label, url = ENDED[session["status"]]
        link = sessions.filled(session, url) if session[url] else None
        return parts.page(_merchant(step), heading, el("p", text), _link(label, link))
    intent = settling.waiting_intent(step, session)
    content = _authenticating(id_, session) if _is_asked(intent) else _offer(step, session)
    cancel = _link("Go back without paying", session["cancel_url"])
    heading = HEADINGS[session["mode"]]
    return parts.page(_merchant(step), heading, content, cancel, notice=notice or _declined(intent))


def _is_asked(intent: Body | None) -> bool:
    return intent is not None and intent["status"] == "requires_action"


def _declined(intent: Body | None) -> str | None:
    """What the bank said to the last try, in words for the customer."""
    if intent is None or intent["status"] != "requires_payment_method":
        return None
    error = intent.get("last_payment_error") or intent.get("last_setup_error")
    return str(error["message"]) if error else None


def _authenticating(id_: str, session: Body) -> Html:
    return joined(_basket(session), parts.authentication(f"/pay/{id_}"))


def _offer(step: Step, session: Body) -> Html:
    customer = session["_customer"]
    debits = session["currency"] if session["mode"] == "payment" else None
    ways = paying_with.choices(step, customer, debits)
    if session["payment_method_collection"] == "if_required" and session["amount_total"] == 0:
        ways = {"": "Nothing to pay today"} | ways
    return joined(
        _basket(session),
        _code(session),
        form(
            f"/pay/{session['id']}",
            *_about(step, session),
            radios("Pay with", "payment_method", ways),
            button(_label(session), "pay"),
        ),
    )


def _label(session: Body) -> str:
    if session["mode"] == "setup":
        return "Save"
    amount = money(session["amount_total"], session["currency"])
    return f"{'Subscribe and pay' if session['mode'] == 'subscription' else 'Pay'} {amount}"


def _basket(session: Body) -> Html | None:
    if session["mode"] == "setup":
        return None
    currency, totals = session["currency"], session["total_details"]
    rows = [
        (
            item["description"],
            parts.priced(item["price"]),
            item["quantity"],
            money(item["amount_subtotal"], currency),
        )
        for item in session["_items"]
    ]
    foot: list[tuple[Piece, ...]] = [
        (label, "", "", money(amount, currency))
        for label, amount in (("Discount", -totals["amount_discount"]), ("Tax", totals["amount_tax"]))
        if amount
    ]
    foot.append(("Due today", "", "", money(session["amount_total"], currency)))
    return parts.table("What you buy", ("Product", "Price", "Quantity", "Amount"), rows, foot)


def _code(session: Body) -> Html | None:
    if not session["allow_promotion_codes"]:
        return None
    return form(
        f"/pay/{session['id']}",
        field("Promotion code", "promotion_code", required=True),
        button("Apply", "code", plain=True),
    )


def _about(step: Step, session: Body) -> list[Html | None]:
    """The fields about the customer, filled with what is known."""
    details = session["customer_details"] or {}
    buyer = step.get("customer", session["_customer"]) if session["_customer"] else {}
    known = {name: details.get(name) or buyer.get(name) for name in ("email", "name", "address")}
    address = known["address"] or {}
    return [
        field("Email", "email", known["email"] or session["customer_email"], type="email", required=True),
        field("Name", "name", known["name"]),
        select("Country", "country", parts.COUNTRIES, address.get("country") or ""),
        field("State or region", "state", address.get("state")),
        field("Postal code", "postal_code", address.get("postal_code")),
    ]


# An invoice.


def invoice(step: Step, id_: str, notice: str | None = None) -> str:
    """The page of an invoice that was sent or is due. A draft has none. Raises StripeError 404."""
    found = _sent(step, id_)
    intent = step.find(found["_payment_intent"]) if found["_payment_intent"] else None
    heading = f"Invoice {found['number']}"
    content = joined(_facts(found), _lines(found), _payment(step, found, intent))
    wrong = notice or (_declined(intent) if found["status"] == "open" else None)
    return parts.page(_merchant(step), heading, content, notice=wrong)


def printed(step: Step, id_: str, notice: str | None = None) -> str:
    """An invoice to print or to keep, where Stripe has a PDF: nothing to click. Raises StripeError 404."""
    found = _sent(step, id_)
    heading = f"Invoice {found['number']}"
    footer = el("p", found["footer"]) if found["footer"] else None
    return parts.page(
        _merchant(step), heading, _facts(found), _addressee(found), _lines(found), footer, notice=notice
    )


def _sent(step: Step, id_: str) -> Body:
    found = step.get("invoice", id_)
    if found["status"] == "draft":
        raise missing("invoice", id_)
    return found


def _addressee(found: Body) -> Html:
    address = found["customer_address"] or {}
    town = " ".join(filter(None, (address.get("postal_code"), address.get("city"))))
    street = (address.get("line1"), address.get("line2"), town, address.get("state"), address.get("country"))
    written = (found["customer_name"], *street, found["customer_email"])
    return el("address", *(el("div", line) for line in written if line))


def _facts(found: Body) -> Html:
    due = f", due {parts.day(found['due_date'])}" if found["due_date"] else ""
    return el("p", f"{found['status'].capitalize()}, {parts.day(found['created'])}{due}")


def _lines(found: Body) -> Html:
    currency = found["currency"]
    rows = [
        (line["description"], line["quantity"], money(line["amount"], currency)) for line in found["_lines"]
    ]
    taxed = sum(tax["amount"] for tax in found["total_taxes"] or ())
    amounts = {
        "Subtotal": found["subtotal"],
        "Tax": taxed,
        "Total": found["total"],
        "Paid": found["amount_paid"],
        "To pay": found["amount_remaining"],
    }
    foot = [(label, "", money(amount, currency)) for label, amount in amounts.items()]
    return parts.table("Lines", ("Description", "Quantity", "Amount"), rows, foot)


def _payment(step: Step, found: Body, intent: Body | None) -> Html | None:
    if found["status"] not in ("open", "uncollectible") or found["amount_remaining"] == 0:
        return None
    if _is_asked(intent):
        return parts.authentication(f"/invoice/{found['id']}")
    return form(
        f"/invoice/{found['id']}",
        radios("Pay with", "payment_method", paying_with.choices(step, found["customer"])),
        button(f"Pay {money(found['amount_remaining'], found['currency'])}", "pay"),
    )


# The customer portal.


def portal(step: Step, id_: str, notice: str | None = None) -> str:
    """The portal of one customer, or the one thing of it that the session is about. Raises StripeError 404."""
    session = step.get(portals.SESSION, id_)
    features = step.get(portals.CONFIGURATION, session["configuration"])["features"]
    buyer = step.get("customer", session["customer"])
    flow = session["flow"]
    content = (
        _whole(step, session, features, buyer)
        if flow is None
        else _flow(step, session, features, flow, buyer)
    )
    back = _link(f"Return to {_merchant(step)}", session["return_url"])
    heading = "Your account" if flow is None else FLOWS[flow["type"]]
    return parts.page(_merchant(step), heading, content, back, notice=notice)


FLOWS = {
    "customer_update": "Your details",
    "payment_method_update": "Change your card",
    "subscription_cancel": "Cancel your subscription",
    "subscription_pause": "Pause your subscription",
    "subscription_update": "Change your plan",
    "subscription_update_confirm": "Confirm the change of your plan",
}


def _whole(step: Step, session: Body, features: Body, buyer: Body) -> Html:
    subs = [sub for sub in step.of("subscription", buyer["id"]) if sub["status"] in ALIVE]
    return joined(
        el("h2", "Subscriptions"),
        *(_subscription(step, session, features, sub) for sub in subs),
        None if subs else el("p", "You have none.", class_="none"),
        _cards(step, session, buyer) if features["payment_method_update"]["enabled"] else None,
        _details(session, features, buyer) if features["customer_update"]["enabled"] else None,
        _history(step, buyer) if features["invoice_history"]["enabled"] else None,
    )


def _flow(step: Step, session: Body, features: Body, flow: Body, buyer: Body) -> Html | None:
    kind = flow["type"]
    if kind == "payment_method_update":
        return _cards(step, session, buyer)
    if kind == "customer_update":
        return _details(session, features, buyer)
    sub = step.get("subscription", flow[kind]["subscription"])
    if sub["status"] not in ALIVE:
        return el("p", "This subscription has ended.")
    match kind:
        case "subscription_cancel":
            return joined(_named(step, sub), _cancel(session, features, sub))
        case "subscription_pause":
            return joined(_named(step, sub), _pause(session, sub))
        case "subscription_update":
            return joined(_named(step, sub), *_switch(step, session, features, sub))
    return joined(_named(step, sub), _confirm(step, session, flow[kind], sub))


def _subscription(step: Step, session: Body, features: Body, sub: Body) -> Html:
    return el(
        "section",
        _named(step, sub),
        *(_switch(step, session, features, sub) if features["subscription_update"]["enabled"] else ()),
        _pause(session, sub)
        if features["subscription_pause"]["enabled"] or sub["status"] == "paused"
        else None,
        _cancel(session, features, sub) if features["subscription_cancel"]["enabled"] else None,
    )


def _named(step: Step, sub: Body) -> Html:
    items = sub["items"]["data"]
    names = ", ".join(_item(step, item) for item in items)
    end = f"Ends on {parts.day(sub['cancel_at'])}." if sub["cancel_at"] else ""
    renews = f"Renews on {parts.day(min(item['current_period_end'] for item in items))}."
    return joined(el("h3", names), el("p", f"{STATUS[sub['status']]}. {end or renews}"))


def _item(step: Step, item: Body) -> str:
    product = step.get("product", item["price"]["product"])["name"]
    count = f"{item['quantity']} x " if item.get("quantity", 1) != 1 and item.get("quantity") else ""
    return f"{count}{product}, {parts.priced(item['price'])}"


def _own(session: Body, sub: Body | None = None) -> Html:
    return hidden(subscription=sub["id"]) if sub else hidden()


def _post(session: Body, sub: Body | None, *content: Piece) -> Html:
    return form(f"/portal/{session['id']}", _own(session, sub), *content)


def _cancel(session: Body, features: Body, sub: Body) -> Html:
    if sub["cancel_at"] is not None:
        return _post(session, sub, button("Do not cancel", "keep"))
    asks = features["subscription_cancel"]["cancellation_reason"]
    options = {name: REASONS[name] for name in ("", *asks["options"])}
    reason = f"reason-{sub['id']}"
    why = select("Why do you leave?", "feedback", options, id_=reason) if asks["enabled"] else None
    return _post(session, sub, why, button("Cancel the subscription", "cancel", plain=True))


def _pause(session: Body, sub: Body) -> Html:
    if sub["status"] == "paused":
        return _post(session, sub, button("Resume", "resume"))
    return _post(session, sub, button("Pause the subscription", "pause", plain=True))


def _switch(step: Step, session: Body, features: Body, sub: Body) -> list[Html]:
    """A form for each price that this subscription may move to."""
    current = {item["price"]["id"] for item in sub["items"]["data"]}
    offered = [id_ for product in features["subscription_update"]["products"] for id_ in product["prices"]]
    return [_to(step, session, sub, step.get("price", id_)) for id_ in offered if id_ not in current]


def _to(step: Step, session: Body, sub: Body, price: Body) -> Html:
    product = step.get("product", price["product"])["name"]
    label = f"Switch to {product}, {parts.priced(price)}"
    return _post(session, sub, hidden(price=price["id"]), button(label, "switch", plain=True))


def _confirm(step: Step, session: Body, asked: Body, sub: Body) -> Html:
    if not {item["id"] for item in asked["items"]} <= {item["id"] for item in sub["items"]["data"]}:
        return el("p", "This subscription has changed since: there is nothing to confirm.")
    rows = [_row(step, item, sub) for item in asked["items"]]
    return joined(
        parts.table("From now on", ("Product", "Price", "Quantity"), rows),
        _post(session, sub, button("Confirm", "confirm")),
    )


def _row(step: Step, item: Body, sub: Body) -> tuple[Piece, ...]:
    current = next(each for each in sub["items"]["data"] if each["id"] == item["id"])
    price = step.get("price", item["price"] or current["price"]["id"])
    quantity = item.get("quantity", current.get("quantity"))
    return step.get("product", price["product"])["name"], parts.priced(price), quantity


def _cards(step: Step, session: Body, buyer: Body) -> Html:
    default = buyer["invoice_settings"]["default_payment_method"]
    now = paying_with.named(step.get("payment_method", default)) if default else "none"
    return joined(
        el("h2", "Card"),
        el("p", f"Used by default: {now}."),
        _post(
            session,
            None,
            radios("Use from now on", "payment_method", paying_with.choices(step, buyer["id"])),
            button("Use this card", "card"),
        ),
    )


def _details(session: Body, features: Body, buyer: Body) -> Html:
    allowed = features["customer_update"]["allowed_updates"]
    fields = {"name": ("Name", "text"), "email": ("Email", "email"), "phone": ("Phone", "tel")}
    shown = [
        field(label, name, buyer[name], type=type_)
        for name, (label, type_) in fields.items()
        if name in allowed
    ]
    if "address" in allowed:
        country = (buyer["address"] or {}).get("country") or ""
        shown.append(select("Country", "country", parts.COUNTRIES, country))
    return joined(el("h2", "Details"), _post(session, None, *shown, button("Save", "details", plain=True)))


def _history(step: Step, buyer: Body) -> Html:
    invoices = [each for each in step.of("invoice", buyer["id"]) if each["status"] != "draft"][::-1]
    rows = [
        (
            el("a", each["number"] or each["id"], href=f"/invoice/{each['id']}"),
            parts.day(each["created"]),
            each["status"],
            money(each["total"], each["currency"]),
        )
        for each in invoices
    ]
    return parts.table("Invoices", ("Number", "Date", "Status", "Total"), rows)
