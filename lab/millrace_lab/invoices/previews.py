"""Invoices that do not exist yet: what would be billed, with the totals that it would have.

Source: docs.stripe.com/api/invoices/create_preview,
docs.stripe.com/billing/subscriptions/webhooks (`invoice.upcoming`).
"""

from __future__ import annotations

from collections.abc import Iterable

from millrace_lab.account import Step
from millrace_lab.errors import Body
from millrace_lab.invoices import drafting
from millrace_lab.invoices import lines as line_bodies
from millrace_lab.invoices.lines import Line, Period


def preview(
    step: Step,
    *,
    customer: str,
    currency: str,
    lines: Iterable[Line],
    subscription: Body | None = None,
    period: Period,
    terms: drafting.Terms,
) -> Body:
    """A draft that is not kept: items stay where they wait, nothing is told."""
    return drafting.draft(
        step.aside(),
        customer=customer,
        currency=currency,
        lines=lines,
        subscription=subscription,
        billing_reason="upcoming",
        period=period,
        terms=terms,
    )


def as_draft(invoice: Body) -> Body:
    """An invoice as it would be before its finalisation; its id says that it does not exist."""
    id_ = f"upcoming_{invoice['id']}"
    shown = [{**line, "invoice": id_} for line in invoice["_lines"]]
    return {
        **invoice,
        "id": id_,
        "_lines": shown,
        "lines": line_bodies.embedded(id_, shown),
        **dict.fromkeys(NOT_YET),
        "amount_paid": 0,
        "amount_remaining": invoice["amount_due"],
        "attempt_count": 0,
        "attempted": False,
        "billing_reason": "upcoming"
        if invoice["billing_reason"] == "subscription_cycle"
        else invoice["billing_reason"],
        "status": "draft",
        "status_transitions": dict.fromkeys(invoice["status_transitions"]),
    }


NOT_YET = ("effective_at", "ending_balance", "hosted_invoice_url", "invoice_pdf", "number", "status_details")
