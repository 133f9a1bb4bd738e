"""Drafts: how an invoice begins, and the window in which it may still be changed.

A renewal's draft is finalized an hour after it was made; while an endpoint that wants `invoice.created` has
not accepted it, for up to 72 hours. Source: docs.stripe.com/billing/subscriptions/webhooks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from millrace_lab.account import DAY, HOUR, Account, Step
from millrace_lab.catalog import discounts, tax
from millrace_lab.errors import Body
from millrace_lab.invoices import lines, totals
from millrace_lab.invoices.lines import Line, Period

ACKNOWLEDGED_WITHIN = 72 * HOUR
SELF: Body = {"type": "self"}


@dataclass(frozen=True, slots=True)
class Terms:
    """How a draft is asked for. What is None follows the subscription, where there is one."""

    discounts: tuple[str, ...] | None = None
    default_tax_rates: tuple[Body, ...] | None = None
    automatic_tax: bool | None = None
    collection_method: str | None = None
    days_until_due: int | None = None
    due_date: int | None = None
    auto_advance: bool = True
    finalizes_at: int | None = None
    default_payment_method: str | None = None
    description: str | None = None
    footer: str | None = None
    metadata: Body | None = None
    custom_fields: list[Body] | None = None
    number: str | None = None
    statement_descriptor: str | None = None
    effective_at: int | None = None
    payment_settings: Body | None = None


def draft(
    step: Step,
    *,
    customer: str,
    currency: str,
    lines: Iterable[Line],
    subscription: Body | None = None,
    billing_reason: str,
    period: Period,
    terms: Terms | None = None,
) -> Body:
    """Add a draft with its totals, and put its finalisation on the agenda. Tells nothing.

    The caller first points its subscription at it and then tells `invoice.created`. Invoice items among the
    lines are on this invoice from now on.
    """
    asked = terms or Terms()
    buyer = step.get("customer", customer)
    body = _blank(step, buyer, currency, subscription, billing_reason, period, asked)
    id_ = body["id"]
    given = list(lines)
    step.add(body, customer, subscription["id"] if subscription else None)
    fill(step, id_, given)
    if body["automatically_finalizes_at"] is not None:
        step.due(id_, "invoice.finalize", body["automatically_finalizes_at"])
    return step.get("invoice", id_)


def fill(step: Step, id_: str, given: Iterable[Line]) -> Body:
    """Put lines at the end of a draft and count again; nothing is told."""
    made = []
    for line in given:
        made.append(lines.body(step, line, id_))
        if line.invoice_item is not None and step.find(line.invoice_item) is not None:
            step.change(line.invoice_item, invoice=id_)
            step.adopt(id_, step.get("invoiceitem", line.invoice_item))
    return recount(step, id_, [*step.get("invoice", id_)["_lines"], *made])


def recount(step: Step, id_: str, of: list[Body] | None = None) -> Body:
    """Work a draft out again, with other lines if they are given; nothing is told."""
    invoice = step.get("invoice", id_)
    if of is not None:
        invoice = {**invoice, "_lines": of}
    return step.change(id_, **totals.counted(step, invoice))


def acknowledged(account: Account, invoice_id: str) -> None:
    """Every endpoint that wants `invoice.created` has accepted it: the draft need not wait any longer."""
    step = account.step(automatic=True)
    invoice = step.find(invoice_id)
    if invoice is None or invoice.get("deleted") or invoice["webhooks_delivered_at"] is not None:
        return
    step.change(invoice_id, webhooks_delivered_at=step.now)
    at = invoice["automatically_finalizes_at"]
    if invoice["status"] == "draft" and at is not None:
        step.due(invoice_id, "invoice.finalize", max(at, step.now))
    step.commit()


def waits(step: Step, invoice: Body) -> bool:
    """Whether a draft whose hour is over still waits for an endpoint."""
    return invoice["webhooks_delivered_at"] is None and step.now < invoice["created"] + ACKNOWLEDGED_WITHIN


def _listened_to(step: Step) -> bool:
    """Whether an endpoint wants to hear of the draft; of a connected account's, one that its platform made for it."""
    account = step.account
    return any(
        endpoint["status"] == "enabled"
        and bool(endpoint.get("_connect")) == bool(account.platform)
        and {"*", "invoice.created"} & set(endpoint["enabled_events"])
        for endpoint in (account.platform or account).all("webhook_endpoint")
    )


def _blank(
    step: Step,
    buyer: Body,
    currency: str,
    subscription: Body | None,
    billing_reason: str,
    period: Period,
    terms: Terms,
) -> Body:
    """A draft without lines, every field of Stripe's in its place."""
    follows = subscription or {}
    method = terms.collection_method or follows.get("collection_method") or "charge_automatically"
    days = terms.days_until_due if terms.days_until_due is not None else follows.get("days_until_due")
    return {
        "id": step.new_id("in"),
        "object": "invoice",
        "account_country": step.settings["country"],
        "account_name": step.settings["name"],
        "account_tax_ids": None,
        **dict.fromkeys(NOTHING_YET, 0),
        "application": None,
        "attempted": False,
        "auto_advance": terms.auto_advance,
        "automatic_tax": automatic_tax(_automatic(terms, follows), buyer),
        "automatically_finalizes_at": _finalizes_at(step, terms),
        "billing_reason": billing_reason,
        "collection_method": method,
        "created": step.now,
        "currency": currency,
        "custom_fields": terms.custom_fields or _settings_of(buyer).get("custom_fields"),
        "customer": buyer["id"],
        "customer_account": None,
        **_billed_to(step, buyer),
        "default_payment_method": terms.default_payment_method,
        "default_source": None,
        "default_tax_rates": list(_first(terms.default_tax_rates, follows.get("default_tax_rates"))),
        "description": terms.description if terms.description is not None else follows.get("description"),
        "discounts": _discounts(step, terms, follows, buyer),
        "due_date": _due_date(step, method, terms.due_date, days),
        "effective_at": terms.effective_at,
        "ending_balance": None,
        "footer": terms.footer or _settings_of(buyer).get("footer"),
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": SELF,
        "last_finalization_error": None,
        "latest_revision": None,
        "livemode": step.account.livemode,
        "metadata": terms.metadata or {},
        "next_payment_attempt": _next_attempt(step, method, terms),
        "number": terms.number,
        "on_behalf_of": None,
        "parent": _parent(subscription),
        "payment_settings": _payment_settings(terms, follows),
        "period_end": period[1],
        "period_start": period[0],
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "statement_descriptor": terms.statement_descriptor,
        "status": "draft",
        "status_details": None,
        "status_transitions": dict.fromkeys(
            ("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")
        ),
        "test_clock": buyer.get("test_clock"),
        "webhooks_delivered_at": None if _listened_to(step) else step.now,
        "_lines": [],
        "_days_until_due": None if terms.due_date is not None else 30 if days is None else days,
        "_subscription": subscription["id"] if subscription else None,
        "_payment_intent": None,
        "_charge": None,
        "_paid_out_of_band": False,
        "_retries": 0,
        "_trying": None,
    }


NOTHING_YET = (
    "amount_due",
    "amount_overpaid",
    "amount_paid",
    "amount_paid_off_stripe",
    "amount_remaining",
    "amount_shipping",
    "attempt_count",
    "post_payment_credit_notes_amount",
    "pre_payment_credit_notes_amount",
)


def automatic_tax(enabled: bool, buyer: Body) -> Body:
    """What an invoice says about automatic tax."""
    return {
        "disabled_reason": None,
        "enabled": enabled,
        "liability": SELF if enabled else None,
        "provider": "stripe" if enabled else None,
        "status": tax.location_status(buyer) if enabled else None,
    }


def _automatic(terms: Terms, follows: Body) -> bool:
    if terms.automatic_tax is not None:
        return terms.automatic_tax
    return bool((follows.get("automatic_tax") or {}).get("enabled"))


def _first(*given: Iterable[Any] | None) -> Iterable[Any]:
    return next((each for each in given if each is not None), ())


def _discounts(step: Step, terms: Terms, follows: Body, buyer: Body) -> list[str]:
    """Those asked for, else the subscription's, else the customer's: only what still acts."""
    if terms.discounts is not None:
        return list(terms.discounts)
    own = discounts.live(step, follows.get("discounts") or ())
    held = [buyer["discount"]["id"]] if not own and buyer.get("discount") else []
    return [discount["id"] for discount in [*own, *discounts.live(step, held)]]


def _finalizes_at(step: Step, terms: Terms) -> int | None:
    if not terms.auto_advance:
        return None
    return terms.finalizes_at or step.now + int(step.settings["draft_seconds"])


def _next_attempt(step: Step, method: str, terms: Terms) -> int | None:
    return None if method == "send_invoice" else _finalizes_at(step, terms)


def _due_date(step: Step, method: str, at: int | None, days: int | None) -> int | None:
    """Thirty days unless asked otherwise; an invoice that is charged has none."""
    if method != "send_invoice":
        return None
    return at if at is not None else step.now + (30 if days is None else days) * DAY


def _settings_of(buyer: Body) -> Body:
    return buyer.get("invoice_settings") or {}


def _billed_to(step: Step, buyer: Body) -> Body:
    """The customer as the invoice will remember them."""
    tax_ids = [{"type": each["type"], "value": each["value"]} for each in step.of("tax_id", buyer["id"])]
    return {
        "customer_address": buyer.get("address"),
        "customer_email": buyer.get("email"),
        "customer_name": buyer.get("name"),
        "customer_phone": buyer.get("phone"),
        "customer_shipping": buyer.get("shipping"),
        "customer_tax_exempt": buyer.get("tax_exempt") or "none",
        "customer_tax_ids": tax_ids,
    }


def _parent(subscription: Body | None) -> Body | None:
    if subscription is None:
        return None
    details = {"metadata": subscription.get("metadata") or {}, "subscription": subscription["id"]}
    return {"quote_details": None, "subscription_details": details, "type": "subscription_details"}


def _payment_settings(terms: Terms, follows: Body) -> Body:
    given = terms.payment_settings or follows.get("payment_settings") or {}
    return {
        "default_mandate": None,
        "payment_method_options": None,
        "payment_method_types": given.get("payment_method_types"),
    }
