"""The tables of this room: what may be asked, what time does, and what it hears from below."""

from __future__ import annotations

from millrace_lab import searching
from millrace_lab.account import Reaction
from millrace_lab.operations import DueAction, Operation
from millrace_lab.subscriptions import (
    asking,
    canceling,
    extras,
    pausing,
    pending,
    phases,
    previews,
    renewing,
    requests,
    schedules,
    standing,
    starting,
)

NEVER = frozenset({"application_fee_percent", "billing_schedules", "billing_thresholds", "default_source",
                   "on_behalf_of", "transfer_data"})  # fmt: skip
ITEM_NEVER = frozenset({"billing_thresholds", "price_data"})
SCHEDULE_NEVER = frozenset({"customer_account", "pause_schedules"})

OPERATIONS = (
    *previews.OPERATIONS,
    Operation("POST /v1/subscriptions", requests.create, asking.Create, NEVER | {"customer_account"}),
    Operation("GET /v1/subscriptions", requests.listing, asking.Listed, frozenset({"customer_account"})),
    searching.operation("subscription", "/v1/subscriptions", "created", "metadata", "status"),
    Operation("GET /v1/subscriptions/{subscription}", requests.retrieve),
    Operation("POST /v1/subscriptions/{subscription}", requests.update, asking.Update, NEVER),
    Operation("DELETE /v1/subscriptions/{subscription}", requests.cancel, asking.Cancel),
    Operation("POST /v1/subscriptions/{subscription}/pause", requests.pause, asking.Pause),
    Operation("POST /v1/subscriptions/{subscription}/resume", requests.resume, asking.Resume),
    Operation("POST /v1/subscriptions/{subscription}/migrate", requests.migrate, asking.Migrate),
    Operation("POST /v1/subscription_items", requests.create_item, asking.CreateItem, ITEM_NEVER),
    Operation("GET /v1/subscription_items", requests.list_items, asking.ListItems),
    Operation("GET /v1/subscription_items/{item}", requests.retrieve_item),
    Operation("POST /v1/subscription_items/{item}", requests.update_item, asking.UpdateItem, ITEM_NEVER),
    Operation("DELETE /v1/subscription_items/{item}", requests.delete_item, asking.DeleteItem),
    Operation("POST /v1/subscription_schedules", schedules.create, phases.Create, SCHEDULE_NEVER),
    Operation(
        "GET /v1/subscription_schedules", schedules.listing, phases.Listed, frozenset({"customer_account"})
    ),
    Operation("GET /v1/subscription_schedules/{schedule}", schedules.retrieve),
    Operation(
        "POST /v1/subscription_schedules/{schedule}",
        schedules.update,
        phases.Update,
        frozenset({"pause_schedules"}),
    ),
    Operation("POST /v1/subscription_schedules/{schedule}/cancel", schedules.cancel, phases.Cancel),
    Operation("POST /v1/subscription_schedules/{schedule}/release", schedules.release, phases.Release),
)

DUE: dict[str, DueAction] = {
    "subscription.renew": renewing.renew,
    "subscription.upcoming": previews.tell_upcoming,
    "subscription.cancel": canceling.cancel_on_date,
    "subscription.expire": starting.expire,
    "subscription.trial_will_end": starting.trial_will_end,
    "subscription.resume_collection": pausing.collect_again,
    "subscription.resume_expires": pausing.resume_expires,
    "subscription.pending_expires": pending.expires,
    "subscription.pending_items": extras.collect_pending,
    "schedule.turn": schedules.turn,
    "schedule.expiring": schedules.expiring,
}

REACTIONS: dict[str, tuple[Reaction, ...]] = {
    "invoice.finalized": (standing.finalized,),
    "invoice.paid": (standing.paid,),
    "invoice.payment_failed": (standing.failed,),
    "invoice.payment_action_required": (standing.failed,),
    "invoice.payment_processing": (standing.processing,),
    "invoice.exhausted": (standing.exhausted,),
    "invoice.voided": (standing.given_up,),
    "invoice.overdue": (standing.overdue,),
    "customer.deleted": (canceling.customer_deleted, schedules.customer_deleted),
    "payment_method.detached": (standing.method_detached,),
    "subscription.ended": (schedules.subscription_ended,),
}
