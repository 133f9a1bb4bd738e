"""Taking money: one attempt, and everything that may become of it.

An attempt asks the bank once. Told on success: payment_intent.succeeded, charge.succeeded; on a decline:
charge.failed, payment_intent.payment_failed; where the customer must act: payment_intent.requires_action;
for a bank debit: charge.pending, payment_intent.processing, and days later one of the two pairs above.
When all is told, the same is announced by the intent's event type, with the intent and `off_session`.

Off session nobody can be asked: what needs authentication is declined with `authentication_required`.
Sources: docs.stripe.com/payments/paymentintents/lifecycle, …/payments/3d-secure/authentication-flow,
…/payments/payment-intents/asynchronous-capture, …/payments/place-a-hold-on-a-payment-method.
"""

from __future__ import annotations

from millrace_lab.account import DAY, MINUTE, Step, refuse_unless
from millrace_lab.errors import Body, StripeError, dashed
from millrace_lab.payments import banks, charges, instruments, intents, ledgering, methods
from millrace_lab.payments.declines import DECLINES
from millrace_lab.rendering import shown

ASYNC_SECONDS = MINUTE  # until an asynchronous capture has its balance transaction; ours
CLEARS_AFTER = {"us_bank_account": 4 * DAY, "sepa_debit": 5 * DAY}  # until a bank debit has its end; ours
HOLD_DAYS = 7  # how long a card's authorisation may wait for its capture
DISPUTED_AFTER = MINUTE  # until a card that is made to be disputed is; ours
NEEDS_CUSTOMER = "authentication_required"


def confirm(step: Step, intent_id: str, payment_method: str, *, off_session: bool) -> Body:
    """Try once. Never raises for a decline: look at the status and `last_payment_error`."""
    intent = step.get("payment_intent", intent_id)
    intents.require(intent, intents.OPEN, "confirm")
    method = step.get("payment_method", payment_method, "payment_method")
    asked = banks.asks_customer(method, off_session=off_session)
    word = banks.answer(step, method)
    types = sorted({*intent["payment_method_types"], method["type"]})
    step.change(intent_id, _off_session=off_session, next_action=None, payment_method_types=types)
    if asked or word == NEEDS_CUSTOMER:
        if off_session:
            return _decline(step, intent_id, method, NEEDS_CUSTOMER)
        return _ask_customer(step, intent_id, method, instruments.OK if word == NEEDS_CUSTOMER else word)
    return _conclude(step, intent_id, method, word)


def _conclude(step: Step, intent_id: str, method: Body, word: str) -> Body:
    if method["type"] != "card":
        return _debit(step, intent_id, method, word)
    if word != instruments.OK:
        return _decline(step, intent_id, method, word)
    intent = step.get("payment_intent", intent_id)
    charge = charges.make(step, intent, method, charges.SUCCEEDED)
    if intent["capture_method"] == "manual":
        return _hold(step, intent, charge)
    return _succeed(step, intent_id, charge)


def _announce(step: Step, what: str, intent: Body) -> Body:
    step.announce(what, intent, off_session=intent["_off_session"])
    found = step.find(intent["id"])
    assert found is not None
    return found


# What may become of it.


def _succeed(step: Step, intent_id: str, charge: Body) -> Body:
    _settle(step, charge)
    intent = step.get("payment_intent", intent_id)
    done = step.change(
        intent_id,
        amount_capturable=0,
        amount_received=step.get("charge", charge["id"])["amount_captured"],
        last_payment_error=None,
        latest_charge=charge["id"],
        next_action=None,
        payment_details=intents.named_order(intent),
        payment_method=charge["payment_method"],
        processing=None,
        status="succeeded",
    )
    _save_method(step, done)
    step.tell("payment_intent.succeeded", done)
    step.tell("charge.succeeded", step.get("charge", charge["id"]))
    _foresee(step, charge)
    return _announce(step, "payment_intent.succeeded", done)


def _save_method(step: Step, intent: Body) -> None:
    """A payment that is set up for later ones saves its method, and a card is set up by it."""
    method = step.get("payment_method", intent["payment_method"])
    if intent["setup_future_usage"] is None or intent["customer"] is None:
        return
    if method["customer"] is None:
        methods.save_for(step, method["id"], intent["customer"])
    step.change(method["id"], _set_up=True)


def _foresee(step: Step, charge: Body) -> None:
    """Test cards that are made to be disputed."""
    if charge["_later"] and not charge["_later"].startswith(("refund_", "available")):
        step.due(charge["id"], "charge.disputed", step.now + DISPUTED_AFTER)


def _hold(step: Step, intent: Body, charge: Body) -> Body:
    """Only authorised: the money waits for its capture."""
    held = step.change(
        intent["id"],
        amount_capturable=charge["amount"],
        last_payment_error=None,
        latest_charge=charge["id"],
        next_action=None,
        payment_method=charge["payment_method"],
        status="requires_capture",
    )
    step.due(charge["id"], "charge.expire", step.now + HOLD_DAYS * DAY)
    step.tell("charge.succeeded", charge)
    step.tell("payment_intent.amount_capturable_updated", held)
    return held


def _decline(step: Step, intent_id: str, method: Body, code: str) -> Body:
    intent = step.get("payment_intent", intent_id)
    charge = charges.make(step, intent, method, charges.FAILED, decline=(code, DECLINES[code]))
    step.tell("charge.failed", charge)
    return _fail(step, intent_id, method, code, charge["id"])


def _fail(step: Step, intent_id: str, method: Body, code: str, charge: str) -> Body:
    failed = step.change(
        intent_id,
        last_payment_error=_error(step, method, code, charge),
        latest_charge=charge,
        next_action=None,
        payment_details=intents.named_order(step.get("payment_intent", intent_id)),
        payment_method=None,
        processing=None,
        status="requires_payment_method",
    )
    step.tell("payment_intent.payment_failed", failed)
    return _announce(step, "payment_intent.payment_failed", failed)


def _error(step: Step, method: Body, code: str, charge: str) -> Body:
    """`last_payment_error`. Its payment method is the whole object, as it was."""
    words = DECLINES[code]
    error: Body = {
        "charge": charge,
        "code": words.code,
        "doc_url": f"https://stripe.com/docs/error-codes/{dashed(words.code)}",
        "message": words.message,
        "payment_method": step.get("payment_method", method["id"]),
        "type": "card_error",
    }
    advice = {"advice_code": words.advice_code, "network_decline_code": words.network_decline_code}
    error |= {name: value for name, value in advice.items() if value is not None}
    return error | ({"decline_code": code} if method["type"] == "card" else {})


def refusal(intent: Body) -> StripeError:
    """The 402 with which the API answers an attempt that failed. What was done stays."""
    error = intent["last_payment_error"]
    rest = {
        name: value for name, value in error.items() if name not in ("type", "message", "code", "doc_url")
    }
    details = shown({**rest, "payment_intent": intent})
    return StripeError(402, error["message"], type=error["type"], code=error["code"], keep=True, **details)


# The customer's act.


def _ask_customer(step: Step, intent_id: str, method: Body, word: str) -> Body:
    intent = step.get("payment_intent", intent_id)
    asked = step.change(
        intent_id,
        next_action=_next_action(intent),
        payment_details=intents.named_order(intent),
        payment_method=method["id"],
        status="requires_action",
        _word=word,
    )
    step.tell("payment_intent.requires_action", asked)
    return _announce(step, "payment_intent.requires_action", asked)


def _next_action(intent: Body) -> Body:
    return_url = intent.get("_return_url")
    if return_url is None:
        return {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": ""},
        }
    url = f"https://hooks.stripe.com/3d_secure_2/hosted?payment_intent={intent['id']}"
    return {"redirect_to_url": {"return_url": return_url, "url": url}, "type": "redirect_to_url"}


def authenticate(step: Step, intent_id: str, succeeds: bool = True) -> Body:
    """The customer answers the bank's challenge; what the bank says then was decided when it was asked."""
    intent = step.get("payment_intent", intent_id)
    intents.require(intent, ("requires_action",), "authenticate")
    method = step.get("payment_method", intent["payment_method"])
    step.change(intent_id, next_action=None)
    if succeeds:
        return _conclude(step, intent_id, method, intent["_word"])
    return _not_authenticated(step, intent_id, method)


def _not_authenticated(step: Step, intent_id: str, method: Body) -> Body:
    code = "payment_intent_authentication_failure"
    error = {
        "code": code,
        "doc_url": f"https://stripe.com/docs/error-codes/{dashed(code)}",
        "message": "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a "
        "new PaymentMethod to attempt to fulfill this PaymentIntent again.",
        "payment_method": method,
        "type": "invalid_request_error",
    }
    failed = step.change(
        intent_id, last_payment_error=error, payment_method=None, status="requires_payment_method"
    )
    step.tell("payment_intent.payment_failed", failed)
    return _announce(step, "payment_intent.payment_failed", failed)


# Bank debits.


def _debit(step: Step, intent_id: str, method: Body, word: str) -> Body:
    intent = step.get("payment_intent", intent_id)
    charge = charges.make(step, intent, method, charges.PENDING)
    sent = step.change(
        intent_id,
        last_payment_error=None,
        latest_charge=charge["id"],
        payment_details=intents.named_order(intent),
        payment_method=method["id"],
        status="processing",
    )
    if word != banks.NEVER:
        step.change(charge["id"], _word=word)
        step.due(charge["id"], "charge.clear", step.now + CLEARS_AFTER[method["type"]])
    _save_method(step, sent)
    step.tell("charge.pending", charge)
    step.tell("payment_intent.processing", sent)
    return _announce(step, "payment_intent.processing", sent)


def clear(step: Step, charge: Body) -> None:
    """What the clockwork does some days later: the debit went through, or it came back."""
    intent = step.get("payment_intent", charge["payment_intent"])
    if intent["status"] != "processing":
        return
    if charge["_word"] == instruments.OK:
        taken = {"amount_captured": charge["amount"], "captured": True, "paid": True}
        _succeed(step, intent["id"], step.change(charge["id"], **taken, status=charges.SUCCEEDED))
    else:
        _bounce(step, intent, charge, charge["_word"])


def _bounce(step: Step, intent: Body, charge: Body, code: str) -> None:
    words = DECLINES[code]
    charges.change(
        step,
        charge["id"],
        "charge.failed",
        failure_code=words.code,
        failure_message=words.message,
        outcome=charges.outcome((words.code, words)),
        status=charges.FAILED,
    )
    _fail(step, intent["id"], step.get("payment_method", charge["payment_method"]), code, charge["id"])


# Capture and settlement.


def capture(step: Step, intent_id: str, amount: int | None = None) -> Body:
    """Take what was held, or a part of it: the rest is let go at once."""
    intent = step.get("payment_intent", intent_id)
    intents.require(intent, ("requires_capture",), "capture")
    taken = intent["amount_capturable"] if amount is None else amount
    refuse_unless(
        0 < taken <= intent["amount_capturable"],
        "The amount to capture must be greater than 0 and at most the amount that can be captured.",
        "amount_to_capture",
        "amount_too_large",
    )
    charge = step.get("charge", intent["latest_charge"])
    step.change(charge["id"], amount_captured=taken, amount_refunded=charge["amount"] - taken, captured=True)
    _settle(step, step.get("charge", charge["id"]))
    step.tell("charge.captured", step.get("charge", charge["id"]))
    done = step.change(
        intent_id,
        amount_capturable=0,
        amount_received=taken,
        payment_details=intents.named_order(intent),
        status="succeeded",
    )
    step.tell("payment_intent.succeeded", done)
    return _announce(step, "payment_intent.succeeded", done)


def expire(step: Step, charge: Body) -> None:
    """What the clockwork does with a hold that nobody captured."""
    intent = step.get("payment_intent", charge["payment_intent"])
    if intent["status"] != "requires_capture":
        return
    charges.change(step, charge["id"], "charge.expired", amount_refunded=charge["amount"], refunded=True)
    canceled = step.change(
        intent["id"],
        amount_capturable=0,
        canceled_at=step.now,
        cancellation_reason="automatic",
        payment_details=intents.named_order(intent),
        status="canceled",
    )
    step.tell("payment_intent.canceled", canceled)
    step.announce("payment_intent.canceled", canceled)


def _settle(step: Step, charge: Body) -> None:
    """Let the money reach the balance: at once, or when the capture is asynchronous or made late."""
    wait = _settles_after(step, charge)
    if wait == 0:
        _record(step, charge)
    else:
        step.change(charge["id"], _settles_at=step.now + wait)
        step.due(charge["id"], "charge.settle", step.now + wait)


def _settles_after(step: Step, charge: Body) -> int:
    method = step.get("payment_method", charge["payment_method"])
    if (asked := banks.seconds(method["metadata"], "lab_settles_after")) is not None:
        return asked
    intent = step.get("payment_intent", charge["payment_intent"])
    return ASYNC_SECONDS if intent["capture_method"] == "automatic_async" and method["type"] == "card" else 0


def settle(step: Step, charge: Body) -> None:
    """What the clockwork does when the balance transaction comes late: charge.updated brings it."""
    if charge["balance_transaction"] is None:
        _record(step, charge)
        step.updated("charge.updated", charge)


def _record(step: Step, charge: Body) -> None:
    currency, settles_in = charge["currency"], charge["_settles_in"]
    rate = ledgering.rate_micro(currency, settles_in, step.now)
    amount = ledgering.converted(charge["amount_captured"], currency, settles_in, rate)
    moved = ledgering.record(
        step,
        type="charge" if charge["id"].startswith("ch_") else "payment",
        source=charge["id"],
        amount=amount,
        fee=ledgering.fee_on(amount, settles_in),
        currency=settles_in,
        pending=charge["_later"] != "available",
        rate=rate,
        description=charge["description"],
    )
    step.change(charge["id"], balance_transaction=moved["id"])
