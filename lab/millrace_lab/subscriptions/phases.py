"""The phases of a schedule: what is asked for, the shape that is kept, and the update that entering one is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import tax_rates
from millrace_lab.catalog.asking import AutomaticTax, Rates, Rhythm
from millrace_lab.customers import paying
from millrace_lab.errors import Body
from millrace_lab.params import (
    Count,
    Currency,
    ListParams,
    Metadata,
    NotHere,
    Params,
    Second,
    Text,
    Times,
    Unset,
)
from millrace_lab.periods import period_end
from millrace_lab.subscriptions import asking, bodies
from millrace_lab.subscriptions.lifecycle import flexible

LONGEST = {"day": 36_500, "week": 5_200, "month": 1_200, "year": 100}  # a phase; our reading


class PhaseItem(Params):
    price: str
    quantity: Count | None = None
    metadata: Metadata = None
    tax_rates: Rates = None
    discounts: NotHere = None
    billing_thresholds: NotHere = None
    price_data: NotHere = None


class Defaults(Params):
    """What a schedule says for all its phases, and each of them for itself."""

    automatic_tax: AutomaticTax | None = None
    collection_method: asking.CollectionMethod | None = None
    default_payment_method: str | None = None
    description: Text = None
    application_fee_percent: NotHere = None
    billing_thresholds: NotHere = None
    invoice_settings: NotHere = None
    on_behalf_of: NotHere = None
    transfer_data: NotHere = None


class Phase(Defaults):
    items: Annotated[list[PhaseItem], Field(min_length=1, max_length=20)]
    end_date: Second | Literal["now"] | None = None
    duration: Rhythm | None = None
    add_invoice_items: list[asking.InvoiceItemGiven] = []
    billing_cycle_anchor: Literal["automatic", "phase_start"] | None = None
    default_tax_rates: Rates = None
    metadata: Metadata = None
    proration_behavior: asking.ProrationBehavior = "create_prorations"
    trial: bool = False
    trial_end: Second | Literal["now"] | None = None
    discounts: NotHere = None


class NewPhase(Phase):
    currency: Currency | None = None


class ChangedPhase(Phase):
    start_date: Second | Literal["now"] | None = None


class DefaultSettings(Defaults):
    billing_cycle_anchor: Literal["automatic", "phase_start"] = "automatic"


EndBehavior = Literal["release", "cancel"]


class Create(Params):
    billing_mode: asking.BillingMode = asking.BillingMode(type="flexible")
    customer: str | None = None
    default_settings: DefaultSettings | None = None
    end_behavior: EndBehavior = "release"
    from_subscription: str | None = None
    metadata: Metadata = None
    phases: Annotated[list[NewPhase], Field(max_length=10)] = []
    start_date: Second | Literal["now"] = "now"


class Update(Params):
    default_settings: DefaultSettings | None = None
    end_behavior: EndBehavior | None = None
    metadata: Metadata = None
    phases: Annotated[list[ChangedPhase], Field(max_length=10)] | None = None
    proration_behavior: asking.ProrationBehavior = "create_prorations"


class Cancel(Params):
    invoice_now: bool = True
    prorate: bool = True


class Release(Params):
    preserve_cancel_date: bool = False


class Listed(ListParams):
    canceled_at: Times | None = None
    completed_at: Times | None = None
    created: Times | None = None
    customer: str | None = None
    released_at: Times | None = None
    scheduled: Annotated[bool | None, Unset] = None


# The shape.


def bodies_of(step: Step, given: Sequence[Phase], start: int) -> list[Body]:
    """The phases one after the other, each beginning where the one before ends."""
    found: list[Body] = []
    for phase in given:
        begins = found[-1]["end_date"] if found else start
        found.append(_body(step, phase, begins, _end(step, phase, begins)))
    return found


def _end(step: Step, phase: Phase, begins: int) -> int:
    """An end that is given, one after a duration, or one period of the first price."""
    refuse_unless(
        phase.end_date is None or phase.duration is None,
        "You may only specify one of these parameters: duration, end_date.",
        "phases[0][duration]",
    )
    if phase.end_date is not None:
        end = step.now if phase.end_date == "now" else int(phase.end_date)
        refuse_unless(
            end > begins, "The `end_date` of a phase must be after its `start_date`.", "phases[0][end_date]"
        )
        return end
    if phase.duration is not None:
        asked = phase.duration
        refuse_unless(
            asked.interval_count <= LONGEST[asked.interval],
            "A phase can last a hundred years at most.",
            "phases[0][duration][interval_count]",
        )
        return period_end(begins, begins, asked.interval, asked.interval_count)
    recurring = bodies.price_of(step, phase.items[0].price)["recurring"]
    return period_end(begins, begins, recurring["interval"], recurring["interval_count"])


def check_method(step: Step, given: Defaults) -> None:
    """Raises StripeError 400 for a default payment method that is none."""
    if given.default_payment_method is not None:
        step.get("payment_method", given.default_payment_method, "default_payment_method")


def _body(step: Step, phase: Phase, start: int, end: int) -> Body:
    check_method(step, phase)
    currency = phase.currency if isinstance(phase, NewPhase) else None
    prices = [bodies.price_of(step, each.price, currency) for each in phase.items]
    trial_end = end if phase.trial else None
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "automatic_tax": bodies.automatic_tax(phase.automatic_tax),
        "billing_cycle_anchor": phase.billing_cycle_anchor,
        "billing_thresholds": None,
        "collection_method": phase.collection_method,
        "currency": currency or prices[0]["currency"],
        "default_payment_method": phase.default_payment_method,
        "default_tax_rates": tax_rates.named(step, phase.default_tax_rates),
        "description": phase.description,
        "discounts": [],
        "end_date": end,
        "invoice_settings": None,
        "items": [_item(step, *each) for each in zip(phase.items, prices, strict=True)],
        "metadata": phase.metadata or {},
        "on_behalf_of": None,
        "proration_behavior": phase.proration_behavior,
        "start_date": start,
        "transfer_data": None,
        "trial_end": step.now if phase.trial_end == "now" else phase.trial_end or trial_end,
        "_asked": phase.model_dump(exclude_unset=True, include=set(Phase.model_fields)),
    }


def _item(step: Step, given: PhaseItem, price: Body) -> Body:
    quantity = (
        {} if bodies.is_metered(price) else {"quantity": 1 if given.quantity is None else given.quantity}
    )
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": given.metadata or {},
        "price": given.price,
        "tax_rates": tax_rates.named(step, given.tax_rates),
        **quantity,
    }


def of_subscription(sub: Body) -> NewPhase:
    """The running period of a subscription, as the phase that a schedule made from it begins with."""
    _, end = bodies.period_of(sub)
    items = [_item_of(item) for item in bodies.items_of(sub)]
    return NewPhase(items=items, end_date=end, currency=sub["currency"])


def _item_of(item: Body) -> PhaseItem:
    given: Body = {"price": item["price"]["id"], "metadata": item["metadata"]}
    return PhaseItem(**given) if "quantity" not in item else PhaseItem(**given, quantity=item["quantity"])


# Entering one.


def as_creation(
    step: Step, customer: str, phase: Body, settings: Body, mode: asking.BillingMode
) -> asking.Create:
    """The request that the beginning of a schedule is. Without anything to charge it begins incomplete."""
    asked = Phase(**phase["_asked"])
    given = {
        "customer": customer,
        "items": [_as_given(each) for each in asked.items],
        "add_invoice_items": asked.add_invoice_items,
        "billing_mode": mode,
        "days_until_due": 30 if _method(phase, settings) == "send_invoice" else None,
        "collection_method": _method(phase, settings),
        "default_payment_method": phase["default_payment_method"] or settings["default_payment_method"],
        "default_tax_rates": asked.default_tax_rates,
        "description": phase["description"] or settings["description"],
        "automatic_tax": asked.automatic_tax,
        "metadata": asked.metadata,
        "trial_end": phase["trial_end"],
    }
    own = given["default_payment_method"]
    if paying.method_for(step, customer, {"default_payment_method": own}) is None:
        given["payment_behavior"] = "default_incomplete"
    return asking.Create(**{name: value for name, value in given.items() if value is not None})


def _method(phase: Body, settings: Body) -> str:
    return str(phase["collection_method"] or settings["collection_method"] or "charge_automatically")


def _as_given(item: PhaseItem) -> asking.ItemGiven:
    names = ("price", "quantity", "metadata", "tax_rates")
    return asking.ItemGiven(**{name: getattr(item, name) for name in names if name in item.given})


def as_update(sub: Body, phase: Body, proration: str, now: int) -> asking.Update:
    """The update that entering a phase is: its items take the place of the present ones."""
    asked = Phase(**phase["_asked"])
    given: Body = {"items": _changes(sub, asked.items), "proration_behavior": proration}
    given |= {
        name: getattr(asked, name)
        for name in ("add_invoice_items", "automatic_tax", "collection_method", "default_payment_method",
                     "default_tax_rates", "description", "metadata")
        if name in asked.given
    }  # fmt: skip
    if phase["billing_cycle_anchor"] == "phase_start":
        given["billing_cycle_anchor"] = asking.Anchor(type="now")
    if phase["trial_end"] is not None and phase["trial_end"] > now:
        given["trial_end"] = phase["trial_end"]
    return asking.Update(**given)


def _changes(sub: Body, items: list[PhaseItem]) -> list[asking.ItemChange]:
    """One item for one item stays itself; of several, those with the same price do."""
    old, new = bodies.items_of(sub), list(items)
    if len(old) == len(new) == 1:
        return [_change(new[0], old[0]["id"])]
    by_price = {item["price"]["id"]: item["id"] for item in old}
    kept = [_change(item, by_price.pop(item.price, None)) for item in new]
    gone = [
        asking.ItemChange(id=id_, deleted=True, clear_usage=not flexible(sub)) for id_ in by_price.values()
    ]
    return [*kept, *gone]


def _change(item: PhaseItem, id_: str | None) -> asking.ItemChange:
    given: Body = {
        name: getattr(item, name) for name in ("price", "metadata", "tax_rates") if name in item.given
    }
    if item.quantity is not None:
        given["quantity"] = item.quantity
    return asking.ItemChange(**given) if id_ is None else asking.ItemChange(id=id_, **given)
