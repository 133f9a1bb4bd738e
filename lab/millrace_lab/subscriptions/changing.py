"""Updating a subscription: other items, another cycle, a trial, other terms; and what that costs now.

An update is worked out first (`Change`), as a body that nobody has seen yet; then it is carried out, or it
waits for its payment. Sources: docs.stripe.com/billing/subscriptions/upgrade-downgrade, …/prorations,
…/billing-cycle, …/pending-updates.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.invoices import collection, items
from millrace_lab.invoices.lines import Line
from millrace_lab.periods import period_end
from millrace_lab.subscriptions import (
    asking,
    billing,
    bodies,
    canceling,
    extras,
    pending,
    prorating,
    starting,
    wanting,
)
from millrace_lab.subscriptions.lifecycle import alive, change, told


@dataclass(frozen=True, slots=True)
class Change:
    """What an update comes to. `waiting` lines become invoice items, `ahead` are new periods billed now."""

    fields: Body
    items: list[Body]
    waiting: list[Line] = field(default_factory=list)
    ahead: list[Line] = field(default_factory=list)
    at_once: bool = False


def update(step: Step, params: asking.Update, id_: str) -> Body:
    """One `customer.subscription.updated` for everything that changes, then the invoice if there is one."""
    before = alive(step, id_)
    _check(before, params)
    wanted = wanting.items(step, before, params)
    fields = wanting.terms(step, before, params)
    planned = _planned(step, before, params, fields, wanted)
    if before["_pending"] and "invoice" in before["_pending"] and params.items:
        pending.drop(step, before)
        before = step.get("subscription", id_)
    if params.payment_behavior == "pending_if_incomplete" and planned.at_once:
        return _wait_for_payment(step, before, planned)
    carry_out(step, before, planned, params.payment_behavior, _dates(step, params, id_))
    return step.get("subscription", id_)


PENDING_ALLOWS = {"add_invoice_items", "billing_cycle_anchor", "discounts", "items", "off_session", "payment_behavior",
                  "proration_behavior", "proration_date", "trial_end", "trial_from_plan"}  # fmt: skip
INCOMPLETE_ALLOWS = {"cancel_at", "cancel_at_period_end", "cancellation_details", "default_payment_method",
                     "description", "metadata", "off_session", "payment_settings"}  # fmt: skip


def _check(sub: Body, params: asking.Update) -> None:
    """What is refused whatever it would change."""
    canceling.refuse_dates(sub, params)
    _refuse_what_cannot_wait(params)
    refuse_unless(
        sub["status"] != "incomplete" or not params.given - INCOMPLETE_ALLOWS,
        "This subscription's status is `incomplete`: only its metadata and payment method can be updated.",
    )
    start, end = bodies.period_of(sub)
    refuse_unless(
        params.proration_date is None or start <= params.proration_date <= end,
        "Cannot specify a proration date outside of the current period.",
        "proration_date",
    )
    refuse_unless(
        params.collection_method != "send_invoice"
        or (params.days_until_due or sub["days_until_due"]) is not None,
        "If 'collection_method' is 'send_invoice', then 'days_until_due' is required.",
        "days_until_due",
    )


def _refuse_what_cannot_wait(params: asking.Update) -> None:
    foreign = sorted(params.given - PENDING_ALLOWS)
    refuse_unless(
        params.payment_behavior != "pending_if_incomplete" or not foreign,
        "When `payment_behavior` is set to `pending_if_incomplete`, you can only pass in supported params. "
        f"See https://stripe.com/docs/billing/subscriptions/pending-updates-reference. Unsupported: {foreign}.",
        foreign[0] if foreign else None,
    )


def _dates(step: Step, params: asking.Update, id_: str) -> Body:
    """The end that is scheduled, or taken back."""
    if params.cancel_at is not None or params.cancel_at_period_end:
        fields = canceling.asked(
            step,
            id_,
            params.cancel_at,
            params.cancel_at_period_end,
            prorates=params.proration_behavior != "none",
        )
    elif {"cancel_at", "cancel_at_period_end"} & params.given:
        fields = canceling.kept(step, id_)
    else:
        return {}
    said = params.cancellation_details.changes() if params.cancellation_details else {}
    return {**fields, "cancellation_details": {**fields["cancellation_details"], **said}}


# What it comes to.


def _planned(step: Step, sub: Body, params: asking.Update, fields: Body, wanted: list[Body]) -> Change:
    now = {**sub, **fields}
    if (cycle := _new_cycle(step, sub, params, wanted)) is not None:
        return _from_now_on(step, sub, {**now, **cycle}, {**fields, **cycle}, params, wanted)
    waiting = _differences(step, sub, now, params, wanted)
    ahead = extras.lines(step, now, params.add_invoice_items)
    at_once = bool(params.proration_behavior == "always_invoice" and (waiting or ahead))
    if ahead and not at_once:
        waiting, ahead = [*waiting, *ahead], []
    return Change(fields, wanted, waiting, ahead, at_once)


def _new_cycle(step: Step, sub: Body, params: asking.Update, wanted: list[Body]) -> Body | None:
    """The fields of a cycle that begins anew now: by request, a trial, another interval, or from free to paid."""
    if isinstance(params.trial_end, int):
        refuse_unless(
            params.trial_end > step.now,
            "Invalid timestamp: must be an integer Unix timestamp in the future.",
            "trial_end",
        )
        began = sub["trial_start"] if sub["status"] == "trialing" else step.now
        return {
            "status": "trialing",
            "trial_start": began,
            "trial_end": params.trial_end,
            "billing_cycle_anchor": params.trial_end,
        }
    if params.trial_end == "now" and sub["status"] == "trialing":
        return {"status": "active", "trial_end": step.now, "billing_cycle_anchor": step.now}
    asked = params.billing_cycle_anchor is not None and params.billing_cycle_anchor.type == "now"
    if sub["status"] in ("active", "past_due", "unpaid") and (asked or _moves(sub, wanted, step.now)):
        return {"billing_cycle_anchor": step.now}
    return None


def _moves(sub: Body, wanted: list[Body], now: int) -> bool:
    """Whether the change alone moves the billing date: the one rhythm becomes another, or free becomes paid.

    Where a period ends just now, as with a phase of a schedule, the renewal begins the new one anyway.
    """
    if bodies.period_of(sub)[1] <= now:
        return False
    old, new = ({wanting.rhythm(item["price"]) for item in each} for each in (bodies.items_of(sub), wanted))
    was_free = all(_is_free(sub, item) for item in bodies.items_of(sub))
    return (old != new and len(new) == 1) or (was_free and not all(_is_free(sub, item) for item in wanted))


def _is_free(sub: Body, item: Body) -> bool:
    return not bodies.is_metered(item["price"]) and billing.full_price(sub, item) == 0


def _from_now_on(
    step: Step, sub: Body, now: Body, fields: Body, params: asking.Update, wanted: list[Body]
) -> Change:
    """Everything starts over: what was paid is given back, what was used is billed, new periods begin."""
    items_ = [_starting_now(step, now, item) for item in wanted]
    trialing, was_trialing = now["status"] == "trialing", sub["status"] == "trialing"
    back = params.proration_behavior != "none" and not was_trialing
    at = params.proration_date or step.now
    waiting = [
        line for item in bodies.items_of(sub) if back for line in prorating.credit(step, sub, item, at)
    ]
    ahead = [line for item in bodies.items_of(sub) for line in billing.usage_lines(step, sub, item, step.now)]
    ahead = [line for line in ahead if line.amount]
    if not (trialing and was_trialing):
        ahead += [line for item in items_ for line in billing.period_lines(step, now, item, free=trialing)]
    ahead += extras.lines(step, now, params.add_invoice_items)
    return Change(fields, items_, waiting, ahead, at_once=bool(ahead or waiting))


def _starting_now(step: Step, now: Body, item: Body) -> Body:
    end = (
        now["trial_end"]
        if now["status"] == "trialing"
        else period_end(step.now, step.now, *wanting.rhythm(item["price"]))
    )
    return {**item, "current_period_start": step.now, "current_period_end": end}


def _differences(step: Step, sub: Body, now: Body, params: asking.Update, wanted: list[Body]) -> list[Line]:
    """Credits and debits for the rest of the period, one pair for each item that is not what it was."""
    at = params.proration_date or step.now
    prorates = params.proration_behavior != "none" and sub["status"] in ("active", "past_due", "unpaid")
    cleared = {given.id for given in params.items if given.clear_usage}
    old, new = ({item["id"]: item for item in each} for each in (bodies.items_of(sub), wanted))
    lines: list[Line] = []
    for id_, item in old.items():
        if id_ not in new and id_ not in cleared:
            lines += [line for line in billing.usage_lines(step, sub, item, step.now) if line.amount]
        if prorates and not _same(item, new.get(id_)):
            lines += prorating.credit(step, sub, item, at)
            lines += prorating.debit(step, now, new[id_], at) if id_ in new else []
    for id_, item in new.items():
        if prorates and id_ not in old:
            lines += prorating.debit(step, now, item, at)
    return lines


def _same(old: Body, new: Body | None) -> bool:
    return new is not None and (old["price"]["id"], old.get("quantity")) == (
        new["price"]["id"],
        new.get("quantity"),
    )


# Doing it.


def carry_out(step: Step, before: Body, planned: Change, behavior: str, dates: Body | None = None) -> None:
    """Waiting lines, the change itself in one event, then the invoice and its payment."""
    id_, invoice = before["id"], None
    for line in planned.waiting:
        items.add(step, before["customer"], line, before)
    settle_fields(step, before, planned.fields, planned.items)
    _remember(step, id_, planned.waiting)
    if planned.at_once:
        period = (bodies.period_of(before)[0], step.now)
        invoice = billing.draft(step, id_, planned.ahead, "subscription_update", period)["id"]
    if dates:
        step.change(id_, **dates)
    told(step, before)
    reschedule(step, before, step.get("subscription", id_))
    if invoice is not None:
        step.tell("invoice.created", step.get("invoice", invoice))
        _collect(step, id_, invoice, behavior)


def settle_fields(step: Step, before: Body, fields: Body, items_: list[Body]) -> None:
    """The new values, silently."""
    step.change(before["id"], **fields)
    if items_ != bodies.items_of(before):
        bodies.keep_items(step, before["id"], items_)


def _remember(step: Step, id_: str, lines: list[Line]) -> None:
    """What a waiting proration will debit is the base of the next credit."""
    billed = dict(step.get("subscription", id_)["_billed"])
    for line in lines:
        if line.proration and line.amount >= 0 and line.subscription_item:
            billed[line.subscription_item] = {
                "amount": line.amount,
                "period": line.period,
                "invoice": None,
                "lines": (),
            }
    step.change(id_, _billed=billed)


def reschedule(step: Step, before: Body, now: Body) -> None:
    """What time does to it from now on."""
    if now["status"] != "paused":
        starting.next_renewal(step, now)
    if now["trial_end"] != before["trial_end"] and now["status"] == "trialing":
        starting.announce_trial_end(step, now)
    if now["pending_invoice_item_interval"] != before["pending_invoice_item_interval"]:
        extras.next_collection(step, now)


def _collect(step: Step, id_: str, invoice: str, behavior: str) -> None:
    if step.get("invoice", invoice)["collection_method"] == "send_invoice":
        collection.finalize(step, invoice)
        return
    if behavior == "default_incomplete":
        if collection.finalize(step, invoice)["status"] == "open":
            change(step, id_, status="past_due")
        return
    collection.collect_now(step, invoice)
    starting.refuse_if_unpaid(step, behavior, invoice)


def _wait_for_payment(step: Step, before: Body, planned: Change) -> Body:
    """Invoice the change first; it comes into force when that is paid, at best at once."""
    id_ = before["id"]
    for line in planned.waiting:
        items.add(step, before["customer"], line, before)
    period = (bodies.period_of(before)[0], step.now)
    invoice = billing.draft(step, id_, planned.ahead, "subscription_update", period)["id"]
    step.change(id_, _pending={"invoice": invoice, "fields": planned.fields, "items": planned.items})
    step.tell("invoice.created", step.get("invoice", invoice))
    collection.collect_now(step, invoice)
    sub = step.get("subscription", id_)
    return pending.hold(step, sub) if sub["_pending"] else sub
