"""What must be true at the end: read from what the account keeps, never from the events it told."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from millrace_lab.account import Account
from millrace_lab.errors import Body

PERSONAL = (  # fields of a customer that say who somebody is, or where
    "name", "email", "phone", "description", "metadata.contact", "shipping.name",
    "address.line1", "address.line2", "address.postal_code", "address.city",
)  # fmt: skip
LINKS: dict[str, tuple[str, ...]] = {  # whoever has one may look or act
    "invoice": ("hosted_invoice_url", "invoice_pdf"),
    "charge": ("receipt_url",),
    "payment_intent": ("client_secret",),
    "credit_note": ("pdf",),
}


@dataclass(frozen=True, slots=True)
class SubscriptionTruth:
    customer: str
    status: str
    items: tuple[tuple[str, int], ...]  # price id, quantity
    cancel_at: int | None
    pause_collection: str | None


@dataclass(frozen=True, slots=True)
class Receivable:
    customer: str
    currency: str
    amount_remaining: int


@dataclass(frozen=True, slots=True)
class DunningTruth:
    """An invoice whose payment failed at least once, and how it stands.

    `outcome`: paid, credited (nothing was left to pay), voided, uncollectible or open. `attempts` is the
    count on the invoice; `billing_reason` tells first payments, which are not dunned, from renewals.
    """

    customer: str
    subscription: str
    subscription_status: str
    billing_reason: str
    attempts: int
    last_decline: str | None
    outcome: str
    next_attempt: int | None


@dataclass(frozen=True, slots=True)
class Truth:
    """Units: minor units per currency. `unsettled` is what was charged but has no balance transaction yet."""

    customers: tuple[str, ...]
    subscriptions: dict[str, SubscriptionTruth]
    receivables: dict[str, Receivable]
    receivable: dict[str, int]
    stripe_balance: dict[str, int]
    unsettled: dict[str, int]
    invoices: dict[str, str]  # id -> status
    dunning: dict[str, DunningTruth]


def of(account: Account) -> Truth:
    invoices = list(account.all("invoice"))
    receivables = {
        it["id"]: Receivable(it["customer"], it["currency"], it["amount_remaining"])
        for it in invoices
        if it["status"] == "open"
    }
    failed = _failed(account)
    return Truth(
        customers=tuple(customer["id"] for customer in account.all("customer")),
        subscriptions={sub["id"]: _subscription(sub) for sub in account.all("subscription")},
        receivables=receivables,
        receivable=_sums((one.currency, one.amount_remaining) for one in receivables.values()),
        stripe_balance=_sums((it["currency"], it["net"]) for it in account.all("balance_transaction")),
        unsettled=_sums((it["currency"], it["amount"]) for it in account.all("charge") if _waits(it)),
        invoices={it["id"]: it["status"] for it in invoices},
        dunning={it["id"]: _dunning(account, it, failed[it["id"]]) for it in invoices if it["id"] in failed},
    )


def personal(account: Account) -> dict[str, frozenset[str]]:
    """By customer, every personal value that the account knows; a card's last digits as JSON writes them."""
    return {it["id"]: frozenset(_personal(account, it)) for it in account.all("customer")}


def _personal(account: Account, customer: Body) -> Iterator[str]:
    yield from _values(customer, PERSONAL)
    for method in account.of("payment_method", customer["id"]):
        yield f'"last4":"{method["card"]["last4"]}"'
        yield method["card"]["fingerprint"]
    for kind, names in LINKS.items():
        for owned in account.all(kind):
            if owned["customer"] == customer["id"]:
                yield from _values(owned, names)


def _values(body: Body, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        outer, _, inner = name.partition(".")
        value = body[outer][inner] if inner else body[outer]
        if value:
            yield value


def _sums(amounts: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for currency, amount in amounts:
        sums[currency] += amount
    return dict(sorted(sums.items()))


def _waits(charge: Body) -> bool:
    return charge["status"] == "succeeded" and charge["balance_transaction"] is None


def _subscription(sub: Body) -> SubscriptionTruth:
    items = tuple((item["price"]["id"], item["quantity"]) for item in sub["items"]["data"])
    paused = sub["pause_collection"]
    return SubscriptionTruth(
        sub["customer"], sub["status"], items, sub["cancel_at"], paused["behavior"] if paused else None
    )


def _failed(account: Account) -> dict[str, list[Body]]:
    """By invoice, the charges that failed, oldest first; none where the bank wanted to ask the customer first."""
    failed: dict[str, list[Body]] = defaultdict(list)
    for charge in account.all("charge"):
        if charge["status"] == "failed":
            failed[charge["_invoice"]].append(charge)
    for intent in account.all("payment_intent"):
        if "_word" in intent:
            failed[intent["_invoice"]] += []
    return failed


def _dunning(account: Account, invoice: Body, failed: list[Body]) -> DunningTruth:
    sub = account.objects[invoice["_subscription"]]
    return DunningTruth(
        customer=invoice["customer"],
        subscription=sub["id"],
        subscription_status=sub["status"],
        billing_reason=invoice["billing_reason"],
        attempts=invoice["attempt_count"],
        last_decline=failed[-1]["outcome"]["reason"] if failed else None,
        outcome=_outcome(invoice),
        next_attempt=invoice["next_payment_attempt"],
    )


def _outcome(invoice: Body) -> str:
    status = str(invoice["status"])
    if status == "paid" and invoice["amount_paid"] == 0:
        return "credited"
    return {"void": "voided"}.get(status, status)
