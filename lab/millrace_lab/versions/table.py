"""What each version of the API changed, newest first, as a way back to the one before.

A field is shown from the version on that brought it; where only a release of stripe-python tells, from the
major version of that release on. Sources: docs/lab/behaviours.md; docs.stripe.com/changelog; the typed
objects of stripe-python 10.12, 11.6, 12.5, 13.2 and 16.1, which differ by exactly these fields.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from millrace_lab.versions import basil, clover, dahlia

Body = dict[str, Any]
Find = Callable[[str], Body | None]
Change = Callable[[Body, Find], Body]

ENDIVE, DAHLIA, CLOVER = "2026-09-30.endive", "2026-03-25.dahlia", "2025-09-30.clover"
BASIL, ACACIA = "2025-03-31.basil", "2024-09-30.acacia"
CURRENT = "2026-10-28.endive"

ADDED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    # (version that brought them, object, fields that no older version shows)
    (CURRENT, "subscription_schedule", ("pause_schedules",)),
    (ENDIVE, "subscription", ("status_details",)),
    (ENDIVE, "invoice", ("status_details",)),
    (DAHLIA, "subscription", ("billing_schedules", "customer_account", "managed_payments", "presentment_details")),
    (DAHLIA, "subscription_item", ("billed_until", "current_trial")),
    (DAHLIA, "invoice", ("amount_paid_off_stripe", "customer_account")),
    (DAHLIA, "line_item", ("quantity_decimal", "subtotal")),
    (DAHLIA, "payment_intent", ("allowed_payment_method_types", "customer_account", "hooks", "managed_payments")),
    (DAHLIA, "setup_intent", ("allowed_payment_method_types", "customer_account", "managed_payments")),
    (DAHLIA, "credit_note", ("customer_account",)),
    (DAHLIA, "credit_note_line_item", ("metadata",)),
    (DAHLIA, "customer", ("customer_account",)),
    (DAHLIA, "promotion_code", ("customer_account",)),
    (DAHLIA, "discount", ("customer_account",)),
    (DAHLIA, "invoiceitem", ("customer_account", "frozen_fields", "invoicing_rules", "quantity_decimal")),
    (DAHLIA, "refund", ("customer", "customer_account", "payment_method")),
    (DAHLIA, "subscription_schedule", ("customer_account",)),
    (DAHLIA, "payment_method", ("customer_account",)),
    (DAHLIA, "checkout.session", ("customer_account", "integration_identifier", "managed_payments")),
    (DAHLIA, "billing.credit_grant", ("customer_account",)),
    (DAHLIA, "customer_balance_transaction", ("customer_account",)),
    (CLOVER, "payment_intent", ("payment_details",)),
    (CLOVER, "setup_intent", ("excluded_payment_method_types",)),
    (CLOVER, "customer", ("business_name", "individual_name")),
    (CLOVER, "invoiceitem", ("net_amount", "proration_details")),
    (CLOVER, "checkout.session", ("branding_settings", "excluded_payment_method_types", "name_collection")),
    (BASIL, "subscription", ("billing_mode",)),
    (BASIL, "subscription_schedule", ("billing_mode",)),
    (BASIL, "payment_intent", ("excluded_payment_method_types", "presentment_details")),
    (BASIL, "charge", ("presentment_details",)),
    (BASIL, "refund", ("pending_reason", "presentment_details")),
    (BASIL, "checkout.session", ("optional_items", "origin_context", "permissions", "presentment_details",
                                 "wallet_options")),
    (BASIL, "payout", ("payout_method",)),
    (BASIL, "billing_portal.configuration", ("name",)),
    (BASIL, "balance_transaction", ("balance_type",)),
    (BASIL, "customer_balance_transaction", ("checkout_session",)),
    (ACACIA, "invoice", ("total_pretax_credit_amounts",)),
    (ACACIA, "line_item", ("pretax_credit_amounts",)),
    (ACACIA, "credit_note", ("pretax_credit_amounts",)),
    (ACACIA, "credit_note_line_item", ("pretax_credit_amounts",)),
    (ACACIA, "dispute", ("enhanced_eligibility_types",)),
    (ACACIA, "checkout.session", ("adaptive_pricing", "collected_information", "discounts")),
    (ACACIA, "tax_rate", ("flat_amount", "rate_type")),
    (ACACIA, "payout", ("trace_id",)),
)  # fmt: skip

RESHAPED: tuple[tuple[str, str, Change], ...] = (
    # (version that brought the new shape, object, how it looked before)
    (DAHLIA, "checkout.session", dahlia.session),
    (CLOVER, "discount", clover.discount),
    (CLOVER, "promotion_code", clover.promotion_code),
    (CLOVER, "credit_note", clover.credit_note),
    (BASIL, "subscription", basil.subscription),
    (BASIL, "invoice", basil.invoice),
    (BASIL, "line_item", basil.line_item),
    (BASIL, "invoiceitem", basil.invoiceitem),
    (BASIL, "charge", basil.charge),
    (BASIL, "payment_intent", basil.payment_intent),
    (BASIL, "credit_note", basil.credit_note),
    (BASIL, "credit_note_line_item", basil.credit_note_line_item),
    (BASIL, "checkout.session", basil.session),
)


@functools.cache
def changes_after(version: str) -> dict[str, tuple[Change, ...]]:
    """For a caller of a version: by object, what has to be taken back. New shapes first: they read new fields."""
    found: dict[str, tuple[Change, ...]] = {}
    for since, kind, change in RESHAPED:
        if since > version:
            found[kind] = (*found.get(kind, ()), change)
    for since, kind, names in ADDED:
        if since > version:
            found[kind] = (*found.get(kind, ()), _without(frozenset(names)))
    return found


def _without(names: frozenset[str]) -> Change:
    return lambda body, _: {key: value for key, value in body.items() if key not in names}
