"""Another plan or another number of seats in the middle of a period: the two proration lines and their invoice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lab.stripe import collection
from lab.stripe.invoicing import credit_of, period_line, proration_line, total_of
from lab.stripe.lifecycle import alive, bind_pending, change_subscription, take_pending
from lab.stripe.model import Customer, Invoice, InvoiceItem, Item, Line, Price, Refused, Subscription, TaxRate
from lab.stripe.world import Outcome, Step, World


def change_item(
    world: World,
    at: int,
    subscription: str,
    *,
    price: str | None = None,
    quantity: int | None = None,
    invoice_now: bool = False,
) -> Outcome:
    """Another plan or another number of seats, prorated to the second.

    `invoice_now` collects the difference at once (`always_invoice`); otherwise the two lines wait for
    the next invoice (`create_prorations`). A trial changes without proration.
    """
    step = Step(world, at)
    sub = alive(step, subscription)
    old = sub.items[0]
    new = replace(old, price=price or old.price, quantity=quantity or old.quantity)
    _may_change(step, sub, old, new)
    items = (new, *sub.items[1:])
    if sub.status == "trialing":
        change_subscription(step, sub.id, items=items)
    elif invoice_now:
        _change_and_collect(step, sub, old, new)
    else:
        _change_and_wait(step, sub, old, new)
    return step.done(sub.id)


def _may_change(step: Step, sub: Subscription, old: Item, new: Item) -> None:
    if new == old:
        raise Refused("nothing would change")
    if sub.status not in ("active", "trialing"):
        raise Refused(f"a subscription that is {sub.status} is not changed here")
    if sub.discount is not None:
        raise Refused("prorations of discounted subscriptions are not modelled")
    before, after = step.get(Price, old.price), step.get(Price, new.price)
    if (before.interval, before.currency) != (after.interval, after.currency):
        raise Refused("a change of interval or currency is not modelled")


def _prorations(step: Step, sub: Subscription, old: Item, new: Item) -> list[Line]:
    billed = _billed_line(step, sub, old)
    was = proration_line(step.new_id, old, step.get(Price, old.price), step.at)
    now = proration_line(step.new_id, new, step.get(Price, new.price), step.at)
    return [credit_of(was, *billed) if billed else credit_of(was, None, ()), now]


def _billed_line(step: Step, sub: Subscription, item: Item) -> tuple[str, tuple[str, ...]] | None:
    """The invoice and line on which the item's present price and quantity were charged."""
    for invoice in reversed(step.of(Invoice, sub.id)):
        for line in invoice.lines:
            same = (line.item, line.price, line.quantity) == (item.id, item.price, item.quantity)
            if same and line.amount > 0 and line.period_end == item.period_end:
                return invoice.id, (line.id,)
    return None


def _add_pending(step: Step, sub: Subscription, lines: Sequence[Line]) -> None:
    for line in lines:
        id_ = step.new_id("ii")
        item = InvoiceItem(id_, step.at, sub.customer, sub.id, sub.currency, replace(line, invoice_item=id_))
        step.add(item)
        step.tell("invoiceitem.created", id_)


def _change_and_collect(step: Step, sub: Subscription, old: Item, new: Item) -> None:
    _add_pending(step, sub, _prorations(step, sub, old, new))
    invoice = collection.draft(
        step, sub, take_pending(step, sub), "subscription_update", (old.period_start, step.at)
    )
    bind_pending(step, sub, invoice.id)
    change_subscription(step, sub.id, items=(new, *sub.items[1:]), latest_invoice=invoice.id)
    step.tell("invoice.created", invoice.id)
    collection.collect_now(step, invoice.id, sub)


def _change_and_wait(step: Step, sub: Subscription, old: Item, new: Item) -> None:
    if sub.cancel_at is not None:
        raise Refused("prorations of a subscription about to end would never be invoiced")
    _add_pending(step, sub, _prorations(step, sub, old, new))
    if _next_total(step, sub, new) < 0:
        raise Refused("the next invoice would be negative, and this account keeps no customer balances")
    change_subscription(step, sub.id, items=(new, *sub.items[1:]))


def _next_total(step: Step, sub: Subscription, new: Item) -> int:
    buyer = step.get(Customer, sub.customer)
    rate = step.get(TaxRate, buyer.tax_rate) if buyer.tax_rate else None
    renewal = period_line(step.new_id, new, step.get(Price, new.price))
    return total_of([*take_pending(step, sub), renewal], rate)
