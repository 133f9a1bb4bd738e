"""Schedules: a subscription's changes, planned in phases.

not_started → active → released | completed | canceled. A phase that begins where a period ends is entered
before that period is billed, without proration; one that begins within a period prorates as it asks.
Sources: docs.stripe.com/billing/subscriptions/subscription-schedules, docs.stripe.com/api/subscription_schedules.
"""

from __future__ import annotations

from typing import Any

from millrace_lab import lists
from millrace_lab.account import DAY, Step, refuse_unless
from millrace_lab.errors import Body, StripeError
from millrace_lab.operations import Page
from millrace_lab.params import NoParams
from millrace_lab.subscriptions import asking, bodies, canceling, changing, phases, starting
from millrace_lab.subscriptions.lifecycle import ENDED, alive, change

WARNED = 7 * DAY  # how long before its end a schedule is told to expire
OPEN = ("not_started", "active")


def create(step: Step, params: phases.Create) -> Body:
    refuse_unless(
        (params.customer is None) != (params.from_subscription is None),
        "You must provide exactly one of `customer` and `from_subscription`.",
    )
    if params.from_subscription is not None:
        return _from_subscription(step, params, params.from_subscription)
    refuse_unless(bool(params.phases), "Missing required param: phases.", "phases", "parameter_missing")
    customer = step.get("customer", str(params.customer), "customer")
    start = step.now if params.start_date == "now" else int(params.start_date)
    refuse_unless(start >= step.now, "The `start_date` of a schedule can't be in the past.", "start_date")
    schedule = _made(step, params, customer["id"], phases.bodies_of(step, params.phases, start))
    step.tell("subscription_schedule.created", schedule)
    if start > step.now:
        step.due(schedule["id"], "schedule.turn", start)
    else:
        _begin(step, schedule)
    return step.get("subscription_schedule", schedule["id"])


def _from_subscription(step: Step, params: phases.Create, id_: str) -> Body:
    """A schedule around a running subscription: its first phase is the present period."""
    refuse_unless(not params.phases, "You cannot set `phases` if `from_subscription` is set.", "phases")
    sub = alive(step, id_)
    refuse_unless(
        sub["schedule"] is None,
        f"The subscription is already managed by the subscription schedule `{sub['schedule']}`.",
    )
    running = phases.of_subscription(sub)
    schedule = _made(
        step, params, sub["customer"], phases.bodies_of(step, [running], bodies.period_of(sub)[0])
    )
    current = _current(schedule["phases"][0])
    mode = {
        key: sub["billing_mode"].get(key)
        for key in ("flexible", "type", "updated_at")
        if key in sub["billing_mode"]
    }
    schedule = step.change(
        schedule["id"], subscription=id_, status="active", current_phase=current, billing_mode=mode
    )
    step.adopt(id_, schedule)
    step.tell("subscription_schedule.created", schedule)
    change(step, id_, schedule=schedule["id"])
    _next(step, schedule)
    return schedule


def _made(step: Step, params: phases.Create, customer: str, phases_: list[Body]) -> Body:
    return step.add(
        {
            "id": step.new_id("sub_sched"),
            "object": "subscription_schedule",
            "application": None,
            "billing_mode": bodies.billing_mode(params.billing_mode, step.now),
            "canceled_at": None,
            "completed_at": None,
            "created": step.now,
            "current_phase": None,
            "customer": customer,
            "customer_account": None,
            "default_settings": default_settings(step, params.default_settings),
            "end_behavior": params.end_behavior,
            "livemode": step.account.livemode,
            "metadata": params.metadata or {},
            "pause_schedules": [],
            "phases": phases_,
            "released_at": None,
            "released_subscription": None,
            "status": "not_started",
            "subscription": None,
            "test_clock": step.clock,
            "_mode": params.billing_mode.model_dump(exclude_unset=True),
        },
        customer,
    )


def default_settings(step: Step, given: phases.DefaultSettings | None) -> Body:
    asked = given or phases.DefaultSettings()
    phases.check_method(step, asked)
    return {
        "application_fee_percent": None,
        "automatic_tax": bodies.automatic_tax(asked.automatic_tax),
        "billing_cycle_anchor": asked.billing_cycle_anchor,
        "billing_thresholds": None,
        "collection_method": asked.collection_method or "charge_automatically",
        "default_payment_method": asked.default_payment_method,
        "description": asked.description,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "days_until_due": None,
            "description": None,
            "footer": None,
            "issuer": bodies.SELF,
        },
        "on_behalf_of": None,
        "transfer_data": None,
    }


def _current(phase: Body) -> Body:
    return {"end_date": phase["end_date"], "start_date": phase["start_date"]}


# Its course.


def turn(step: Step, schedule: Body) -> None:
    """The next phase's second has come, or the schedule's end.

    Nobody is there to be refused: what cannot be done any more, such as a phase in a currency that the
    customer has left, aborts the schedule, and its subscription goes on as it is.
    """
    try:
        _turn(step.aside(), schedule)
    except StripeError:
        _aborted(step, schedule)
    else:
        _turn(step, schedule)


def _aborted(step: Step, schedule: Body) -> None:
    _done(step, schedule, "aborted", status="canceled", canceled_at=step.now)
    if schedule["subscription"] is not None:
        change(step, schedule["subscription"], schedule=None)


def _turn(step: Step, schedule: Body) -> None:
    if schedule["status"] == "not_started":
        if schedule["phases"][0]["start_date"] <= step.now:
            _begin(step, schedule)
        return
    if schedule["status"] != "active" or schedule["current_phase"]["end_date"] > step.now:
        return
    following = [
        phase for phase in schedule["phases"] if phase["start_date"] >= schedule["current_phase"]["end_date"]
    ]
    if following:
        _enter(step, schedule, following[0])
    else:
        _finish(step, schedule)


def _begin(step: Step, schedule: Body) -> None:
    """The first phase makes the subscription."""
    first = schedule["phases"][0]
    mode = asking.BillingMode(**schedule["_mode"])
    asked = phases.as_creation(step, schedule["customer"], first, schedule["default_settings"], mode)
    sub = starting.start(step, asked)
    changed = step.change(
        schedule["id"], status="active", subscription=sub["id"], current_phase=_current(first)
    )
    step.adopt(sub["id"], changed)
    step.updated("subscription_schedule.updated", schedule)
    if sub["status"] not in ENDED:
        change(step, sub["id"], schedule=schedule["id"])
    _next(step, changed)


def _enter(step: Step, schedule: Body, phase: Body) -> None:
    sub = step.get("subscription", schedule["subscription"])
    changed = step.change(schedule["id"], current_phase=_current(phase))
    step.updated("subscription_schedule.updated", schedule)
    _next(step, changed)
    if sub["status"] not in ("incomplete", "paused"):
        at_boundary = bodies.period_of(sub)[1] <= step.now
        proration = "none" if at_boundary else phase["proration_behavior"]
        changing.update(step, phases.as_update(sub, phase, proration, step.now), sub["id"])


def _next(step: Step, schedule: Body) -> None:
    """What is due: the end of the running phase, and a word before the end of the last."""
    step.due(schedule["id"], "schedule.turn", schedule["current_phase"]["end_date"])
    last = max(phase["end_date"] for phase in schedule["phases"])
    warned = last - WARNED
    step.due(schedule["id"], "schedule.expiring", warned if warned > step.now else None)


def expiring(step: Step, schedule: Body) -> None:
    if schedule["status"] == "active":
        step.tell("subscription_schedule.expiring", schedule)


def _finish(step: Step, schedule: Body) -> None:
    """After the last phase: the subscription goes on by itself, or ends."""
    if schedule["end_behavior"] == "release":
        _released(step, schedule)
        return
    _done(step, schedule, "completed", status="completed", completed_at=step.now)
    canceling.at_end(step, step.get("subscription", schedule["subscription"]))


def _done(step: Step, schedule: Body, what: str, **fields: Any) -> Body:
    for each in ("schedule.turn", "schedule.expiring"):
        step.due(schedule["id"], each, None)
    done = step.change(schedule["id"], current_phase=None, **fields)
    step.tell(f"subscription_schedule.{what}", done)
    return done


def _released(step: Step, schedule: Body) -> Body:
    sub = schedule["subscription"]
    done = _done(
        step,
        schedule,
        "released",
        status="released",
        released_at=step.now,
        released_subscription=sub,
        subscription=None,
    )
    if sub is not None:
        change(step, sub, schedule=None)
    return done


def subscription_ended(step: Step, sub: Body, **_: Any) -> None:
    """A subscription that ends by itself takes its schedule with it."""
    schedule = step.find(sub["schedule"]) if sub["schedule"] else None
    if schedule is not None and schedule["status"] in OPEN:
        _done(step, schedule, "canceled", status="canceled", canceled_at=step.now)


def customer_deleted(step: Step, customer: Body, **_: Any) -> None:
    """What was planned for somebody who is gone."""
    for schedule in step.of("subscription_schedule", customer["id"]):
        if schedule["status"] in OPEN:
            _done(step, schedule, "canceled", status="canceled", canceled_at=step.now)


# What may be asked.


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("subscription_schedule", id_)


def update(step: Step, params: phases.Update, id_: str) -> Body:
    """Other phases from the running one on; what that changes now is changed now."""
    before = _open(step, id_, "updated")
    fields = params.changes_to(before, "end_behavior")
    if params.default_settings is not None:
        fields["default_settings"] = default_settings(step, params.default_settings)
    if params.phases is not None:
        fields["phases"] = _replanned(step, before, params.phases)
    step.change(id_, **fields)
    if params.phases is not None:
        _apply_now(step, before, params.proration_behavior)
    step.updated("subscription_schedule.updated", before)
    return step.get("subscription_schedule", id_)


def _open(step: Step, id_: str, verb: str) -> Body:
    schedule = step.get("subscription_schedule", id_)
    refuse_unless(
        schedule["status"] in OPEN,
        f"You cannot have a subscription schedule {verb} that is in the `{schedule['status']}` status. A schedule can "
        "only be changed while it is `not_started` or `active`.",
    )
    return schedule


def _replanned(step: Step, schedule: Body, given: list[phases.ChangedPhase]) -> list[Body]:
    refuse_unless(bool(given), "Missing required param: phases.", "phases", "parameter_missing")
    first = given[0].start_date
    start = int(first) if isinstance(first, int) else step.now
    if schedule["status"] == "active":
        refuse_unless(
            isinstance(first, int) and any(phase["start_date"] == first for phase in schedule["phases"]),
            "The subscription schedule update is missing at least one phase with a `start_date` to anchor end dates "
            "to.",
            "phases",
        )
    return phases.bodies_of(step, given, start)


def _apply_now(step: Step, before: Body, proration: asking.ProrationBehavior) -> None:
    schedule = step.get("subscription_schedule", before["id"])
    if schedule["status"] == "not_started":
        step.due(schedule["id"], "schedule.turn", schedule["phases"][0]["start_date"])
        return
    running = [phase for phase in schedule["phases"] if phase["start_date"] <= step.now < phase["end_date"]]
    refuse_unless(bool(running), "One of the phases must include the present time.", "phases")
    changed = step.change(schedule["id"], current_phase=_current(running[0]))
    _next(step, changed)
    old = next(
        (phase for phase in before["phases"] if phase["start_date"] <= step.now < phase["end_date"]), None
    )
    if old is None or old["items"] != running[0]["items"]:
        sub = step.get("subscription", schedule["subscription"])
        changing.update(step, phases.as_update(sub, running[0], proration, step.now), sub["id"])


def cancel(step: Step, params: phases.Cancel, id_: str) -> Body:
    """The schedule and, if it has begun, its subscription, now."""
    schedule = _open(step, id_, "canceled")
    done = _done(step, schedule, "canceled", status="canceled", canceled_at=step.now)
    if schedule["subscription"] is not None:
        asked = asking.Cancel(invoice_now=params.invoice_now, prorate=params.prorate)
        canceling.cancel(step, asked, schedule["subscription"])
    return done


def release(step: Step, params: phases.Release, id_: str) -> Body:
    """The subscription goes on as it is. A date at which the schedule would end it can stay with it."""
    schedule = _open(step, id_, "released")
    done = _released(step, schedule)
    if params.preserve_cancel_date and schedule["end_behavior"] == "cancel" and schedule["subscription"]:
        ends = max(phase["end_date"] for phase in schedule["phases"])
        change(step, schedule["subscription"], **canceling.asked(step, schedule["subscription"], ends, False))
    return done


def listing(step: Step, params: phases.Listed) -> Page:
    def wanted(schedule: Body) -> bool:
        return not params.scheduled or schedule["status"] == "not_started"

    by = ("canceled_at", "completed_at", "created", "released_at")
    url = "/v1/subscription_schedules"
    return lists.page(step, "subscription_schedule", params, url, wanted, params.customer, by=by)
