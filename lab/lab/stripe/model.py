"""The objects of a Stripe account, each once, as frozen facts; bodies are rendered from these alone.

Fields carry Stripe's names where Stripe has one. Fields without a Stripe name (a card's `outcomes`, a
subscription's `dunning`) belong to the world around the API and are never rendered.

Units: times are unix seconds, amounts are minor units of the currency beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Product:
    id: str
    created: int
    name: str
    unit_label: str | None = None


@dataclass(frozen=True, slots=True)
class Price:
    id: str
    created: int
    product: str
    currency: str
    unit_amount: int
    interval: str  # month | year
    lookup_key: str


@dataclass(frozen=True, slots=True)
class TaxRate:
    id: str
    created: int
    display_name: str
    country: str
    percent: int
    inclusive: bool


@dataclass(frozen=True, slots=True)
class Customer:
    id: str
    created: int
    name: str
    email: str
    country: str
    currency: str
    tax_rate: str | None
    invoice_prefix: str
    default_payment_method: str | None = None
    invoices: int = 0  # how many were numbered so far
    delinquent: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """A payment method and what its bank will say.

    `outcomes` are consumed one per attempt and the last one stays: "ok" or a decline code.
    `settles_after` seconds pass before a charge gets its balance transaction; 0 means at once.
    """

    id: str
    created: int
    customer: str
    brand: str
    last4: str
    outcomes: tuple[str, ...] = ("ok",)
    settles_after: int = 0
    settles_in: str | None = None  # another settlement currency than the charge's own


@dataclass(frozen=True, slots=True)
class Dunning:
    """What the account's settings say about failing renewals: when to retry, and how to end."""

    retry_after: tuple[int, ...] = (3 * DAY, 5 * DAY, 7 * DAY)
    subscription: str = "canceled"  # or unpaid, past_due, paused
    invoice: str = "open"  # or uncollectible


@dataclass(frozen=True, slots=True)
class Discount:
    id: str
    coupon: str
    percent_off: int
    start: int


@dataclass(frozen=True, slots=True)
class Item:
    id: str
    created: int
    price: str
    quantity: int
    period_start: int
    period_end: int


@dataclass(frozen=True, slots=True)
class Cancellation:
    reason: str | None = None
    feedback: str | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    id: str
    created: int
    customer: str
    currency: str
    status: str
    items: tuple[Item, ...]
    billing_cycle_anchor: int
    default_payment_method: str | None = None
    latest_invoice: str | None = None
    trial_start: int | None = None
    trial_end: int | None = None
    trial_warned: bool = False
    missing_payment_method: str = "create_invoice"  # or cancel, pause
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    canceled_at: int | None = None
    ended_at: int | None = None
    cancellation: Cancellation = Cancellation()
    pause_collection: str | None = None
    pause_resumes_at: int | None = None
    paused_at: int | None = None
    paused_why: str | None = None
    discount: Discount | None = None
    dunning: Dunning = Dunning()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice; a proration also says what it was computed from."""

    id: str
    amount: int
    quantity: int
    price: str
    product: str
    unit_amount: int
    description: str
    period_start: int
    period_end: int
    item: str
    proration: bool = False
    invoice_item: str | None = None
    credited_invoice: str | None = None
    credited_lines: tuple[str, ...] = ()
    discount_amount: int = 0
    tax: int = 0
    taxable: int = 0


@dataclass(frozen=True, slots=True)
class InvoiceItem:
    """A proration that waits for the next invoice."""

    id: str
    created: int
    customer: str
    subscription: str
    currency: str
    line: Line
    invoice: str | None = None


@dataclass(frozen=True, slots=True)
class Invoice:
    id: str
    created: int
    customer: str
    subscription: str
    currency: str
    billing_reason: str
    lines: tuple[Line, ...]
    period_start: int
    period_end: int
    tax_rate: str | None
    discount: str | None
    status: str = "draft"
    auto_advance: bool = True
    number: str | None = None
    finalizes_at: int | None = None
    payment_intent: str | None = None
    payment: str | None = None  # its InvoicePayment
    attempt_count: int = 0
    attempted: bool = False
    retries: int = 0  # how far the retry schedule has gone; a retry may be skipped
    next_payment_attempt: int | None = None
    amount_paid: int = 0
    pre_payment_credit: int = 0
    post_payment_credit: int = 0
    finalized_at: int | None = None
    paid_at: int | None = None
    voided_at: int | None = None
    uncollectible_at: int | None = None
    uncollectible_why: str | None = None
    subtotal: int = 0
    discounted: int = 0
    tax: int = 0
    tax_inclusive: bool = False
    total: int = 0

    @property
    def amount_due(self) -> int:
        return self.total - self.pre_payment_credit

    @property
    def amount_remaining(self) -> int:
        return self.amount_due - self.amount_paid


@dataclass(frozen=True, slots=True)
class InvoicePayment:
    id: str
    created: int
    invoice: str
    currency: str
    payment_intent: str
    amount_requested: int
    status: str = "open"  # paid | canceled
    amount_paid: int | None = None
    paid_at: int | None = None
    canceled_at: int | None = None


@dataclass(frozen=True, slots=True)
class Decline:
    code: str
    decline_code: str
    message: str
    advice_code: str | None
    network_decline_code: str | None
    charge: str
    payment_method: str


@dataclass(frozen=True, slots=True)
class PaymentIntent:
    id: str
    created: int
    customer: str
    invoice: str
    currency: str
    amount: int
    status: str = "requires_payment_method"
    payment_method: str | None = None
    latest_charge: str | None = None
    amount_received: int = 0
    error: Decline | None = None
    canceled_at: int | None = None
    cancellation_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    id: str
    created: int
    customer: str
    currency: str
    amount: int
    payment_intent: str
    invoice: str  # not rendered: the API no longer says
    payment_method: str
    status: str = "succeeded"
    balance_transaction: str | None = None
    settles_at: int | None = None
    settles_in: str | None = None
    amount_refunded: int = 0
    decline: Decline | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    id: str
    created: int
    charge: str
    payment_intent: str
    currency: str
    amount: int
    reason: str | None
    status: str = "succeeded"
    balance_transaction: str | None = None
    failure_balance_transaction: str | None = None
    failure_reason: str | None = None
    settles_at: int | None = None
    fails_at: int | None = None


@dataclass(frozen=True, slots=True)
class BalanceTransaction:
    """One movement of the Stripe balance, in settlement currency.

    Units: `rate_micro` is the exchange rate times 1,000,000, so that no float stands beside the amounts.
    """

    id: str
    created: int
    type: str  # charge | refund | refund_failure
    source: str
    currency: str
    amount: int
    fee: int
    rate_micro: int | None = None

    @property
    def net(self) -> int:
        return self.amount - self.fee


@dataclass(frozen=True, slots=True)
class CreditNote:
    id: str
    created: int
    customer: str
    invoice: str
    currency: str
    number: str
    reason: str | None
    amount: int
    tax: int
    tax_rate: str | None
    tax_inclusive: bool
    line: str
    invoice_line: str | None
    pre_payment_amount: int = 0
    post_payment_amount: int = 0
    refund: str | None = None
    status: str = "issued"
    voided_at: int | None = None


Object = (
    Product
    | Price
    | TaxRate
    | Customer
    | Card
    | Subscription
    | InvoiceItem
    | Invoice
    | InvoicePayment
    | PaymentIntent
    | Charge
    | Refund
    | BalanceTransaction
    | CreditNote
)


class Refused(Exception):
    """The account does not allow this now; Stripe would answer 400 with this sentence."""
