"""The chart of accounts: what money can be, and which accounts must return to zero."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Kind = Literal["asset", "liability", "equity", "income", "contra", "expense"]


class Account(IntEnum):
    """An account by its number; each holds every currency apart."""

    BANK = 1000
    STRIPE_BALANCE = 1010
    PAYOUTS_IN_TRANSIT = 1020
    PAYMENT_CLEARING = 1030
    REFUND_CLEARING = 1040
    OUT_OF_BAND_CLEARING = 1050
    RECEIVABLE = 1100
    UNBILLED_RECEIVABLE = 1110
    DISPUTES_RECEIVABLE = 1200
    TAX_PAYABLE = 2000
    DEFERRED_REVENUE = 2100
    PREPAID_CREDITS = 2150
    CUSTOMER_BALANCE = 2200
    REFUNDS_OWED = 2300
    FX_TRADING = 3900
    REVENUE = 4000
    BREAKAGE = 4100
    VOIDS = 4800
    CREDIT_NOTES = 4850
    REFUNDS = 4900
    PROMO_CREDITS = 4950
    STRIPE_FEES = 6000
    DISPUTE_LOSSES = 6100
    DISPUTE_FEES = 6150
    BAD_DEBT = 6200
    RECOVERIES = 6250
    REALISED_FX = 7000
    SUSPENSE = 9999


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the chart."""

    account: Account
    name: str
    kind: Kind


CHART: tuple[Row, ...] = (
    Row(Account.BANK, "Bank", "asset"),
    Row(Account.STRIPE_BALANCE, "Stripe balance", "asset"),
    Row(Account.PAYOUTS_IN_TRANSIT, "Payouts in transit", "asset"),
    Row(Account.PAYMENT_CLEARING, "Payment clearing", "asset"),
    Row(Account.REFUND_CLEARING, "Refund clearing", "asset"),
    Row(Account.OUT_OF_BAND_CLEARING, "Out-of-band clearing", "asset"),
    Row(Account.RECEIVABLE, "Accounts receivable", "asset"),
    Row(Account.UNBILLED_RECEIVABLE, "Unbilled receivable", "asset"),
    Row(Account.DISPUTES_RECEIVABLE, "Disputes receivable", "asset"),
    Row(Account.TAX_PAYABLE, "Tax payable", "liability"),
    Row(Account.DEFERRED_REVENUE, "Deferred revenue", "liability"),
    Row(Account.PREPAID_CREDITS, "Prepaid credits", "liability"),
    Row(Account.CUSTOMER_BALANCE, "Customer balance", "liability"),
    Row(Account.REFUNDS_OWED, "Refunds owed", "liability"),
    Row(Account.FX_TRADING, "FX trading", "equity"),
    Row(Account.REVENUE, "Revenue", "income"),
    Row(Account.BREAKAGE, "Breakage", "income"),
    Row(Account.VOIDS, "Voids", "contra"),
    Row(Account.CREDIT_NOTES, "Credit notes", "contra"),
    Row(Account.REFUNDS, "Refunds", "contra"),
    Row(Account.PROMO_CREDITS, "Promotional credits", "contra"),
    Row(Account.STRIPE_FEES, "Stripe fees", "expense"),
    Row(Account.DISPUTE_LOSSES, "Dispute losses", "expense"),
    Row(Account.DISPUTE_FEES, "Dispute fees", "expense"),
    Row(Account.BAD_DEBT, "Bad debt", "expense"),
    Row(Account.RECOVERIES, "Recoveries", "expense"),
    Row(Account.REALISED_FX, "Realised FX", "expense"),
    Row(Account.SUSPENSE, "Suspense", "equity"),
)

# Billing and cash meet here from two sides; a balance that stays is a fact that never came.
CLEARING = (Account.PAYMENT_CLEARING, Account.REFUND_CLEARING, Account.OUT_OF_BAND_CLEARING)
