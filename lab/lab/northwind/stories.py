"""Short true stories for tests of order: the same events in any order must end in one state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lab.northwind import plans
from lab.northwind.quarter import START, delivered
from lab.northwind.shop import Buyer, Shop
from millrace_lab.account import DAY, HOUR
from millrace_lab.errors import Body

OPENS = int(START.timestamp())
LINKS = ("invoice", "payment_intent", "charge")  # how a body names the invoice that it is about, or its money


class Teller(Buyer):
    """One German customer, who pays in euros, with a card whose bank answers as it is told."""

    def __init__(self, *bank: str, settles_after: int = 0) -> None:
        super().__init__(Shop(7, OPENS, twins=0.0), 1)
        self.currency = "eur"
        self.arrives()
        self.brings_card(*bank, settles_after=settles_after)

    def _tax_rate(self) -> str:
        return plans.VAT_EXCLUSIVE

    def subscribes(self, plan: str | None = "team", quantity: int | None = 5, **params: Any) -> None:
        super().subscribes(plan, quantity, **params)

    def waits(self, seconds: int) -> None:
        self.shop.wait(self.shop.now + seconds)

    def told(self) -> list[Body]:
        """Everything so far, as it is delivered."""
        return [event for _, event in delivered(self.shop.account)]

    def about(self, types: Iterable[str]) -> list[Body]:
        """What was told about the latest invoice and its money, of the given types, in order."""
        wanted, invoice = set(types), self.invoice()
        names = {invoice["id"], invoice["_payment_intent"]}
        names |= {it["id"] for it in self.shop.account.all("charge") if it["_invoice"] == invoice["id"]}
        return [it for it in self.told() if it["type"] in wanted and _names(it["data"]["object"]) & names]


def _names(told: Body) -> set[str]:
    return {told["id"], *(value for name in LINKS if isinstance(value := told.get(name), str))}


def subscription_lifecycle() -> list[Body]:
    """Six events of one subscription, with two ties: born and active in one second; seats and a
    scheduled cancellation in one second; then the feedback, and the end."""
    teller = Teller("ok")
    teller.subscribes()
    teller.waits(10 * DAY)
    teller.changes_seats(3, how="always_invoice")
    teller.cancels_in_portal("unused")
    teller.waits(25 * DAY)
    return [event for event in teller.told() if event["data"]["object"].get("id") == teller.subscription]


def invoice_lifecycle() -> list[Body]:
    """Six events of one renewal invoice that fails once and is paid on the retry."""
    teller = Teller("ok", "insufficient_funds", "ok")
    teller.subscribes()
    teller.waits(40 * DAY)
    return teller.about(RECOVERY)


RECOVERY = (
    "invoice.finalized",
    "payment_intent.payment_failed",
    "invoice.payment_failed",
    "charge.succeeded",
    "invoice_payment.paid",
    "invoice.paid",
)
MONEY = (
    "invoice.finalized",
    "invoice_payment.paid",
    "charge.succeeded",
    "charge.updated",
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "credit_note.created",
    "credit_note.voided",
)


def refund_lifecycle(*, fails: bool = False) -> list[Body]:
    """Billed, paid, settled later, refunded in part, the refund settled later; perhaps it comes back."""
    teller = Teller("ok", settles_after=90)
    teller.subscribes()
    teller.waits(3 * DAY)
    later = {"lab_settles_after": str(HOUR)} | ({"lab_fails_after": str(2 * DAY)} if fails else {})
    teller.post("/v1/refunds", charge=teller.charge(), amount=2500, metadata=later)
    teller.waits(5 * DAY)
    return teller.about(MONEY)


def void_lifecycle() -> list[Body]:
    """A renewal that fails and is voided: finalized, failed twice over, voided."""
    teller = Teller("ok", "do_not_honor")
    teller.subscribes()
    teller.waits(33 * DAY)
    teller.post(f"/v1/invoices/{teller.invoice()['id']}/void")
    return teller.about((*MONEY, "payment_intent.payment_failed", "invoice.payment_failed"))


def credit_note_lifecycle() -> list[Body]:
    """A failing renewal is credited in part, the retry collects the rest, and part of that is refunded
    by a second credit note."""
    teller = Teller("ok", "insufficient_funds", "ok")
    teller.subscribes()
    teller.waits(32 * DAY)
    teller.is_credited(1500)
    teller.waits(4 * DAY)
    teller.is_credited(1000, refund_amount=1000)
    return teller.about((*MONEY, "invoice.payment_failed"))
