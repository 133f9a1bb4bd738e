"""What came of a purchase in Checkout: read off the intent or the subscription, here or days later.

A session is complete when its intent succeeded or is under way, or when its subscription runs; it is paid when
the money is there. Told: checkout.session.completed, async_payment_succeeded, async_payment_failed.
Source: docs.stripe.com/checkout/fulfillment.
"""

from __future__ import annotations

from dataclasses import dataclass

from millrace_lab.account import Reaction, Step
from millrace_lab.catalog import coupons, promotion_codes
from millrace_lab.errors import Body
from millrace_lab.hosted import basket
from millrace_lab.hosted.sessions import SESSION


def settle(step: Step, id_: str) -> Body:
    """Read the state of things off what was bought, and move the session accordingly."""
    session = step.get(SESSION, id_)
    return _settled(step, session, OUTCOME[session["mode"]](step, session))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the session sees of what was bought: done or not, paid or not, and the ids to show."""

    done: bool
    payment_status: str = "unpaid"
    shows: Body | None = None


def _of_payment(step: Step, session: Body) -> Outcome:
    if session["_intent"] is None:
        return Outcome(session["amount_total"] == 0, "no_payment_required")
    intent = step.get("payment_intent", session["_intent"])
    done = intent["status"] in ("succeeded", "processing", "requires_capture")
    paid = "paid" if intent["status"] == "succeeded" else "unpaid"
    return Outcome(done, paid, {"payment_intent": intent["id"]})


def _of_subscription(step: Step, session: Body) -> Outcome:
    sub = step.find(session["_subscription"]) if session["_subscription"] else None
    if sub is None or sub["status"] not in ("active", "trialing"):
        return Outcome(False)
    invoice = _first_invoice(step, sub["id"])
    shows = {"subscription": sub["id"], "setup_intent": session["_intent"]}
    if invoice is None:
        return Outcome(True, "no_payment_required", shows)
    shows |= {"invoice": invoice["id"]}
    if invoice["status"] != "paid":
        return Outcome(True, "unpaid", shows)
    return Outcome(True, "paid" if invoice["amount_paid"] else "no_payment_required", shows)


def _first_invoice(step: Step, sub: str) -> Body | None:
    return next(iter(step.of("invoice", sub)), None)


def _of_setup(step: Step, session: Body) -> Outcome:
    intent = step.find(session["_intent"]) if session["_intent"] else None
    done = intent is not None and intent["status"] == "succeeded"
    return Outcome(done, "no_payment_required", {"setup_intent": session["_intent"]})


OUTCOME = {"payment": _of_payment, "subscription": _of_subscription, "setup": _of_setup}


def _settled(step: Step, session: Body, outcome: Outcome) -> Body:
    if session["status"] == "open" and outcome.done:
        return _completed(step, session, outcome)
    if (
        session["status"] == "complete"
        and session["payment_status"] == "unpaid"
        and outcome.payment_status == "paid"
    ):
        paid = step.change(session["id"], payment_status="paid")
        step.tell("checkout.session.async_payment_succeeded", paid)
        return paid
    return step.get(SESSION, session["id"])


def _completed(step: Step, session: Body, outcome: Outcome) -> Body:
    id_ = session["id"]
    step.due(id_, "checkout.session.expire", None)
    if session["mode"] == "payment":
        _redeem(step, session)
    if session["customer"] is None and session["_customer"] is not None:
        step.adopt(session["_customer"], session)
    done = step.change(
        id_,
        customer=session["_customer"],
        payment_status=outcome.payment_status,
        status="complete",
        url=None,
        **(outcome.shows or {}),
    )
    step.tell("checkout.session.completed", done)
    return done


def _redeem(step: Step, session: Body) -> None:
    """A discount on a payment is redeemed once it was paid; a subscription redeems its own."""
    for given in basket.given_of(session):
        id_ = given.coupon
        if given.promotion_code is not None:
            code = step.get("promotion_code", given.promotion_code)
            promotion_codes.redeemed(step, code)
            id_ = code["promotion"]["coupon"]
        coupons.redeemed(step, step.get("coupon", id_ or ""))


# What is heard from the rooms below.


def intent_moved(step: Step, intent: Body, **_: object) -> None:
    """An intent of a session succeeded, perhaps days after the session was complete."""
    for session in step.of(SESSION, intent["id"]):
        settle(step, session["id"])


def intent_failed(step: Step, intent: Body, **_: object) -> None:
    """A bank debit came back after the session was complete."""
    for session in step.of(SESSION, intent["id"]):
        _failed_late(step, session)


def invoice_paid(step: Step, invoice: Body, **_: object) -> None:
    for session in step.of(SESSION, invoice["_subscription"] or ""):
        settle(step, session["id"])


def invoice_failed(step: Step, invoice: Body, **_: object) -> None:
    for session in step.of(SESSION, invoice["_subscription"] or ""):
        if session["invoice"] == invoice["id"]:
            _failed_late(step, session)


def _failed_late(step: Step, session: Body) -> None:
    if session["status"] == "complete" and session["payment_status"] == "unpaid":
        step.tell("checkout.session.async_payment_failed", session)


def waiting_intent(step: Step, session: Body) -> Body | None:
    """The intent of a session that waits for the customer to authenticate, or failed; None before the first try."""
    if session["_subscription"] is not None and session["_intent"] is None:
        invoice = _first_invoice(step, session["_subscription"])
        return step.find(invoice["_payment_intent"]) if invoice and invoice["_payment_intent"] else None
    return step.find(session["_intent"]) if session["_intent"] else None


REACTIONS: dict[str, tuple[Reaction, ...]] = {
    "payment_intent.succeeded": (intent_moved,),
    "payment_intent.payment_failed": (intent_failed,),
    "invoice.paid": (invoice_paid,),
    "invoice.payment_failed": (invoice_failed,),
}
