"""With what a customer pays: the chain of defaults."""

from __future__ import annotations

from millrace_lab.account import Step
from millrace_lab.errors import Body


def method_for(step: Step, customer_id: str, subscription: Body | None) -> str | None:
    """The payment method that is charged: the subscription's own, else the customer's; None without any.

    A subscription's method is used even where it fails and the customer has a better one; one that has been
    detached meanwhile is passed over (our reading). Source: docs/lab/behaviours.md. At Stripe the older sources come
    between and after them; here there are none.
    """
    customer = step.get("customer", customer_id)
    chain = (
        (subscription or {}).get("default_payment_method"),
        customer["invoice_settings"]["default_payment_method"],
    )
    return next((method for method in chain if method and _usable(step, method, customer_id)), None)


def _usable(step: Step, method: str, customer_id: str) -> bool:
    found = step.find(method)
    return found is not None and found["customer"] == customer_id


def detached(step: Step, method: Body) -> None:
    """A detached payment method is nobody's default any more."""
    before = step.find(method["customer"]) if method["customer"] else None
    if before is None or before.get("deleted"):
        return
    settings = before["invoice_settings"]
    if settings["default_payment_method"] == method["id"]:
        step.change(before["id"], invoice_settings={**settings, "default_payment_method": None})
        step.updated("customer.updated", before)
