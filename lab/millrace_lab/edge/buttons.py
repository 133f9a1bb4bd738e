"""What the page lets a person do to an object: the same calls that anybody could make.

A route of Stripe's API is called as it is; one of `/_lab` is an act of `control`. `{}` is the object's id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from millrace_lab.edge import control
from millrace_lab.edge.house import House
from millrace_lab.errors import Body


@dataclass(frozen=True, slots=True)
class Button:
    """`when` are the statuses in which it makes sense; without any it always does."""

    label: str
    route: str
    params: Body
    when: tuple[str, ...] = ()


ALIVE = ("active", "trialing", "past_due", "unpaid", "paused")
BUTTONS: dict[str, tuple[Button, ...]] = {
    "payment_method": (
        Button("The bank accepts", "POST /v1/payment_methods/{}", {"metadata": {"lab_bank": "ok"}}),
        Button("The bank declines", "POST /v1/payment_methods/{}", {"metadata": {"lab_bank": "insufficient_funds"}}),
        Button("The network replaces the card", "POST /_lab/payment_methods/{method}/renew", {}),
    ),
    "subscription": (
        Button("Cancel at the end of the period", "POST /v1/subscriptions/{}", {"cancel_at_period_end": True}, ALIVE),
        Button("Cancel now", "DELETE /v1/subscriptions/{}", {}, ALIVE),
    ),
    "invoice": (
        Button("Finalize", "POST /v1/invoices/{}/finalize", {}, ("draft",)),
        Button("Charge the card", "POST /v1/invoices/{}/pay", {}, ("open", "uncollectible")),
        Button("Paid elsewhere", "POST /v1/invoices/{}/pay", {"paid_out_of_band": True}, ("open", "uncollectible")),
        Button("Void", "POST /v1/invoices/{}/void", {}, ("open", "uncollectible")),
        Button("Write off", "POST /v1/invoices/{}/mark_uncollectible", {}, ("open",)),
    ),
    "payment_intent": (
        Button("The customer proves who they are", "POST /_lab/payment_intents/{intent}/authenticate", {},
               ("requires_action",)),
    ),
    "charge": (
        Button("Refund", "POST /v1/refunds", {"charge": "{}"}, ("succeeded",)),
        Button("The customer disputes it", "POST /_lab/charges/{charge}/dispute", {}, ("succeeded",)),
    ),
    "dispute": (
        Button("We win", "POST /_lab/disputes/{dispute}/decide", {"won": True}, ("needs_response", "under_review")),
        Button("We lose", "POST /_lab/disputes/{dispute}/decide", {"won": False}, ("needs_response", "under_review")),
    ),
}  # fmt: skip


def offered(body: Body) -> list[tuple[int, Button]]:
    """The buttons that an object has now, with their places in the table."""
    status = body.get("status")
    table = BUTTONS.get(body["object"], ())
    return [(n, each) for n, each in enumerate(table) if not each.when or status in each.when]


async def press(house: House, body: Body, number: int) -> None:
    """Do what a button says. Raises StripeError; IndexError for a button that is not there."""
    button = BUTTONS.get(body["object"], ())[number]
    if button.route in control.ACTS:
        (name,) = re.findall(r"\{(\w+)\}", button.route)
        await control.ACTS[button.route](house, dict(button.params), {name: body["id"]})
        return
    method, path = button.route.replace("{}", body["id"]).split(" ")
    params: dict[str, Any] = {
        key: body["id"] if value == "{}" else value for key, value in button.params.items()
    }
    call = house.api.delete if method == "DELETE" else house.api.post
    call(path, **params)
    house.life.wake()
