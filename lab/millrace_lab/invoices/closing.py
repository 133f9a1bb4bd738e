"""Giving up a claim: voiding an invoice, writing it off, letting a draft lie."""

from __future__ import annotations

from millrace_lab.account import Step, refuse_unless
from millrace_lab.customers import balance
from millrace_lab.errors import Body
from millrace_lab.invoices import invoice_payments
from millrace_lab.usage import credits


def write_off(step: Step, id_: str, why: str) -> Body:
    """Not expected to be paid any more; it still can be. `why` is endive's `status_details` reason."""
    before = step.get("invoice", id_)
    refuse_unless(
        before["status"] == "open",
        f"You can only mark an open invoice as uncollectible. This invoice is {before['status']}.",
    )
    step.change(id_, status_details={"uncollectible": {"reason": why}})
    _ended(step, before, "uncollectible", "marked_uncollectible_at")
    return _told(step, before, "invoice.marked_uncollectible")


def void(step: Step, id_: str) -> Body:
    """As if it had never been: the balance and the credits that it took are given back.

    One that was paid in part cannot be voided: it is collected no further (our reading).
    """
    before = step.get("invoice", id_)
    refuse_unless(
        before["status"] in ("open", "uncollectible"),
        f"You can only void an open or uncollectible invoice. This invoice is {before['status']}.",
    )
    if before["amount_paid"]:
        return stop(step, id_)
    invoice_payments.release(step, before)
    _ended(step, before, "void", "voided_at")
    _give_back(step, before)
    return _told(step, before, "invoice.voided")


def _ended(step: Step, before: Body, status: str, transition: str) -> None:
    transitions = {**before["status_transitions"], transition: step.now}
    step.change(before["id"], status=status, status_transitions=transitions)
    rest(step, before["id"])


def _told(step: Step, before: Body, type_: str) -> Body:
    told = step.updated("invoice.updated", before)
    step.tell(type_, told)
    step.announce(type_, told)
    return step.get("invoice", before["id"])


def rest(step: Step, id_: str) -> Body:
    """Time does nothing more to this invoice; nothing is told."""
    for what in ("invoice.finalize", "invoice.retry", "invoice.overdue", "invoice.will_be_due"):
        step.due(id_, what, None)
    return step.change(id_, auto_advance=False, next_payment_attempt=None, automatically_finalizes_at=None)


def stop(step: Step, id_: str) -> Body:
    """Collect no further on a draft or an open invoice, as when its subscription ends; told if it changes."""
    before = step.get("invoice", id_)
    if before["status"] in ("draft", "open"):
        rest(step, id_)
    return step.updated("invoice.updated", before)


def customer_deleted(step: Step, customer: Body, **_: object) -> None:
    """Nobody is left to collect from: drafts and open invoices lie as they are."""
    for invoice in step.of("invoice", customer["id"]):
        stop(step, invoice["id"])


def _give_back(step: Step, invoice: Body) -> None:
    credits.give_back(step, invoice["id"])
    moved = invoice["ending_balance"] - invoice["starting_balance"]
    if moved:
        balance.move(
            step,
            invoice["customer"],
            -moved,
            invoice["currency"],
            "unapplied_from_invoice",
            invoice=invoice["id"],
        )
