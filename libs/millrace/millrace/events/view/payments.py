"""Money on the move, and who moves it: payments, refunds, disputes, checkouts, customers."""

from __future__ import annotations

from typing import Any

from millrace.events import stripe
from millrace.events.view.catalog import discounts
from millrace.events.view.field import (
    BASIL,
    DAHLIA_JULY,
    LATEST_CHARGE,
    Field,
    View,
    as_money,
    flag,
    identity,
    inherited,
    instant,
    many,
    money,
    references,
    required,
    rule,
    since,
    text,
    until,
)
from millrace.money import Money


def _order(payment: View) -> str | None:
    """Recorded on every invoice payment since basil, documented nowhere; somebody else's order is no invoice."""
    return stripe.invoice_of_payment({"payment_details": payment.body.get("payment_details")})


class InvoicePayment(View):
    """One payment of an invoice, or the try. Stripe has it since basil; before, an invoice named what paid it."""

    id = identity("the invoice payment's id")
    status = text("open, paid, canceled")
    invoice = identity("what it pays")
    currency = inherited()
    amount_paid = money("what was paid")
    amount_requested = money("what is to be paid")
    is_default = flag("whether it is the one that Stripe collects by itself")
    type = text("payment_intent, charge or payment_record", "payment.type")
    payment_intent = identity("the payment intent", "payment.payment_intent")
    charge = identity("the charge", "payment.charge")
    payment_record = identity("the record of a payment outside Stripe", "payment.payment_record")
    paid_at = instant("when it was paid", "status_transitions.paid_at")
    canceled_at = instant("when it was given up", "status_transitions.canceled_at")


class Charge(View):
    """One attempt to take money."""

    id = required("the charge's id")
    status = text("succeeded, pending, failed")
    customer = identity("who pays")
    invoice = identity(
        "the invoice it pays",
        rule("`payment_details.order_reference`, where it names an invoice", _order),
        until(BASIL, "invoice"),
    )
    payment_intent = identity("the payment intent that it tries")
    currency = text("the currency of its amounts")
    amount = money("what is taken")
    amount_captured = money("what has been taken")
    amount_refunded = money("what has been given back")
    captured = flag("whether it has been taken")
    refunded = flag("whether all of it has been given back")
    disputed = flag("whether it is disputed")
    balance_transaction = identity("what it did to the balance; may be told only by `charge.updated`")
    failure_balance_transaction = identity("what its failure did to the balance")
    payment_method = identity("what paid, or was to", "payment_method", "source")
    payment_method_type = text("card, sepa_debit, …", "payment_method_details.type")
    failure_code = text("why it failed, as Stripe's error")
    decline_code = text("why the bank refused; also other reasons of a risk check", "outcome.reason")
    outcome = text("authorized, manual_review, issuer_declined, blocked, invalid", "outcome.type")
    network_status = text("approved_by_network, declined_by_network, …", "outcome.network_status")
    advice_code = text("confirm_card_data, do_not_try_again, try_again_later", "outcome.advice_code")
    network_advice_code = text("the card network's own advice", "outcome.network_advice_code")
    network_decline_code = text("the card network's own reason", "outcome.network_decline_code")
    created_at = instant("when it was made", "created")


class PaymentIntent(View):
    """The intent to take money, over all its attempts."""

    id = required("the payment intent's id")
    status = text("requires_payment_method, requires_action, processing, succeeded, canceled, …")
    customer = identity("who pays")
    customer_account = identity("who pays, as an account; beside or instead of `customer`")
    invoice = identity(
        "the invoice it pays; since basil told once it was tried or canceled",
        rule("`payment_details.order_reference`, where it names an invoice", _order),
        until(BASIL, "invoice"),
    )
    currency = text("the currency of its amounts")
    amount = money("what is to be taken")
    amount_received = money("what has been taken")
    latest_charge = identity(
        "its newest attempt",
        since(LATEST_CHARGE, "latest_charge"),
        rule("the first of `charges`, which are newest first", lambda it: _newest(it), until=LATEST_CHARGE),
    )
    payment_method = identity("what pays", "payment_method", "source")
    failure_code = text("why the last attempt failed, as Stripe's error", "last_payment_error.code")
    decline_code = text("why the bank refused", "last_payment_error.decline_code")
    advice_code = text(
        "confirm_card_data, do_not_try_again, try_again_later", "last_payment_error.advice_code"
    )
    network_advice_code = text("the card network's own advice", "last_payment_error.network_advice_code")
    network_decline_code = text("the card network's own reason", "last_payment_error.network_decline_code")
    failed_charge = identity("the attempt that failed", "last_payment_error.charge")
    failed_payment_method = identity("what failed to pay", "last_payment_error.payment_method")
    canceled_at = instant("when it was given up")
    cancellation_reason = text("why it was given up")
    created_at = instant("when it was made", "created")


def _newest(it: PaymentIntent) -> str | None:
    shown = stripe.dig(it.body, "charges.data")
    return stripe.id_of(shown[0]) if isinstance(shown, list) and shown else None


class Refund(View):
    """Money that goes back."""

    id = required("the refund's id")
    status = text("pending, requires_action, succeeded, failed, canceled")
    customer = identity("who gets it", since(DAHLIA_JULY, "customer"))
    charge = identity("what it gives back")
    payment_intent = identity("the payment intent of what it gives back")
    currency = text("the currency of its amounts")
    amount = money("what goes back")
    balance_transaction = identity("what it did to the balance")
    failure_balance_transaction = identity("what its failure did to the balance")
    failure_reason = text("why it failed")
    reason = text("duplicate, fraudulent, requested_by_customer, …")
    created_at = instant("when it was made", "created")


class BalanceTransaction(View):
    """What happened to the balance at Stripe; its currency is that of the settlement."""

    id = required("the balance transaction's id")
    type = text("charge, refund, adjustment, payout, …")
    reporting_category = text("what it is in Stripe's reports")
    source = identity("what brought it about")
    currency = text("the currency of the settlement")
    amount = money("what came or went, before fees")
    fee = money("what Stripe kept of it")
    net = money("what came or went")
    available_at = instant("when it can be paid out", "available_on")


class Dispute(View):
    """A payer's objection. Money moves only with `balance_transactions`; `warning_…` is an inquiry."""

    id = required("the dispute's id")
    status = text(
        "warning_needs_response, needs_response, under_review, won, lost, warning_closed, prevented; "
        "since 2026-10-28.endive also appeal_needs_response, appeal_under_review: lost may open again"
    )
    charge = identity("what is disputed")
    payment_intent = identity("the payment intent of what is disputed")
    currency = text("the currency of its amounts")
    amount = money("what is disputed; may differ from the charge")
    reason = text("fraudulent, product_not_received, …")
    respond_by = instant("until when it can be answered", "evidence_details.due_by")
    balance_transactions = many("what it took from the balance, and gave back", BalanceTransaction)
    created_at = instant("when it was made", "created")


class Payout(View):
    """Money on its way to the bank. What is paid may fail within five business days."""

    id = required("the payout's id")
    status = text("pending, in_transit, paid, failed, canceled")
    currency = text("the currency of its amounts")
    amount = money("what is paid out")
    automatic = flag("whether Stripe made it by itself")
    balance_transaction = identity("what it did to the balance")
    failure_balance_transaction = identity("what its failure did to the balance")
    failure_code = text("why it failed")
    arrives_at = instant("when it reaches the bank", "arrival_date")


RENAMED = {"hosted": "hosted_page", "embedded": "embedded_page", "custom": "elements"}  # by dahlia


class CheckoutSession(View):
    """A visit of the till. What was bought is theirs once `payment_status` is paid or no_payment_required."""

    id = required("the checkout session's id")
    status = text("open, complete, expired")
    payment_status = text("paid, unpaid, no_payment_required")
    mode = text("payment, setup, subscription")
    ui_mode = text(
        "hosted_page, embedded_page, elements, form: the words of dahlia",
        rule("`ui_mode`: hosted, embedded and custom by their names of today", lambda it: _ui_mode(it)),
    )
    customer = identity("who buys")
    customer_account = identity("who buys, as an account; beside or instead of `customer`")
    client_reference_id = text("who buys, by an id of our own")
    subscription = identity("what came of it")
    invoice = identity("what it is billed by")
    payment_intent = identity("what pays it")
    setup_intent = identity("what sets up a payment method")
    currency = text("the currency of its amounts")
    amount_subtotal = money("what is bought, before discounts and taxes")
    amount_total = money("what is bought, after discounts and taxes")
    created_at = instant("when it was made", "created")
    expires_at = instant("until when it is open")
    recovered_from = identity("the expired one that it takes up again")


def _ui_mode(it: View) -> str | None:
    found = it.body.get("ui_mode")
    return RENAMED.get(found, found) if isinstance(found, str) else None


def _owed(customer: View, found: Any, path: str) -> Money | None:
    """Whoever was never billed has no currency yet, and owes nothing in none."""
    unbilled = found == 0 and customer.body.get("currency") is None
    return None if unbilled else as_money(customer, found, path)


class Customer(View):
    """Who buys. What names them is sealed and not part of the view."""

    id = required("the customer's id")
    customer_account = identity("the same, as an account")
    currency = text("what they are billed in")
    balance = Field[Money | None]("what they owe beside their invoices; a credit is negative", _owed, ())
    delinquent = flag("whether their newest invoice is overdue; not taken back when dunning gives up")
    default_payment_method = identity(
        "what pays their invoices", "invoice_settings.default_payment_method", "default_source"
    )
    tax_exempt = text("none, exempt, reverse")
    discounts = discounts()
    created_at = instant("when it was made", "created")
    deleted = flag("whether it is gone")


class Account(View):
    """An account of /v2, which may be a customer. What names it is sealed and not part of the view."""

    id = required("the account's id")
    roles = references("customer, merchant, recipient", "applied_configurations")
    closed = flag("whether it is closed")
    currency = text("its usual currency", "defaults.currency")
    country = text("where it is at home", "identity.country")
    created_at = instant("when it was made", "created")


class Feature(View):
    """Something that a customer may use."""

    id = identity("the active entitlement's id")
    feature = identity("the feature")
    lookup_key = text("the name by which a company finds it")


class EntitlementSummary(View):
    """What a customer may use, as Stripe knows it. More than ten are cut short: ask Stripe for the list."""

    customer = identity("who may use it")
    features = many("what they may use", Feature, "entitlements")
