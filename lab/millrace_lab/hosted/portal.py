"""The customer portal: what customers may do there by themselves, and a session that lets one of them in.

Told: billing_portal.configuration.created, updated; billing_portal.session.created.
Source: docs.stripe.com/customer-management, docs.stripe.com/api/customer_portal.
"""

from __future__ import annotations

from millrace_lab import lists
from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.hosted import portal_asking as asking
from millrace_lab.hosted.sessions import check_url, site
from millrace_lab.operations import Operation, Page
from millrace_lab.params import NoParams, Params

CONFIGURATION, SESSION = "billing_portal.configuration", "billing_portal.session"


# Configurations.


def create(step: Step, params: asking.CreateConfiguration) -> Body:
    check_url(params.default_return_url, "default_return_url")
    configuration = _add(step, params, is_default=False)
    step.tell("billing_portal.configuration.created", configuration)
    return configuration


def _add(step: Step, params: asking.CreateConfiguration, *, is_default: bool) -> Body:
    return step.add(
        {
            "id": step.new_id("bpc"),
            "object": CONFIGURATION,
            "active": True,
            "application": None,
            "business_profile": params.business_profile.model_dump(),
            "created": step.now,
            "default_return_url": params.default_return_url,
            "features": _features(params.features, {}),
            "is_default": is_default,
            "livemode": step.account.livemode,
            "login_page": {"enabled": False, "url": None},
            "metadata": params.metadata or {},
            "name": params.name,
            "updated": step.now,
        }
    )


OFF = {
    "customer_update": asking.CustomerFeature(enabled=False),
    "invoice_history": asking.Feature(enabled=False),
    "payment_method_update": asking.Feature(enabled=False),
    "subscription_cancel": asking.CancelFeature(
        enabled=False, cancellation_reason=asking.Reasons(enabled=False)
    ),
    "subscription_pause": asking.PauseFeature(enabled=False),
    "subscription_update": asking.UpdateFeature(enabled=False),
}


def _features(given: asking.Features, old: Body) -> Body:
    """Each feature as it was given, as it was before, or off."""
    found: Body = {}
    for name, off in OFF.items():
        feature = getattr(given, name)
        found[name] = old.get(name) if feature is None and name in old else _shown(feature or off)
    return found


def _shown(feature: Params) -> Body:
    shown = feature.model_dump(
        exclude={"feedback_options", "schedule_at_period_end", "payment_method_configuration"}
    )
    if isinstance(feature, asking.CancelFeature):
        reasons = feature.cancellation_reason or asking.Reasons(enabled=False)
        shown["cancellation_reason"] = reasons.model_dump(exclude={"feedback_options"})
    if isinstance(feature, asking.UpdateFeature):
        shown["schedule_at_period_end"] = {"conditions": []}
    if isinstance(feature, asking.Feature) and not isinstance(feature, asking.CustomerFeature):
        shown = {"enabled": feature.enabled}
    return shown


def update(step: Step, params: asking.UpdateConfiguration, id_: str) -> Body:
    before = step.get(CONFIGURATION, id_)
    changes = params.changes_to(before, "active", "default_return_url", "name")
    if params.business_profile is not None:
        changes["business_profile"] = before["business_profile"] | params.business_profile.changes()
    if params.features is not None:
        changes["features"] = _features(params.features, before["features"])
    refuse_unless(
        not (before["is_default"] and params.active is False),
        "You can't deactivate the default configuration.",
        "active",
    )
    step.change(id_, **changes, updated=step.now)
    return step.updated("billing_portal.configuration.updated", before)


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get(CONFIGURATION, id_)


def listing(step: Step, params: asking.ListConfigurations) -> Page:
    url = "/v1/billing_portal/configurations"
    return lists.page(step, CONFIGURATION, params, url, by=("active", "is_default"))


def default(step: Step) -> Body:
    """The configuration that a person saved in the dashboard: cards, history and cancelling are allowed."""
    found = next((each for each in step.all(CONFIGURATION) if each["is_default"]), None)
    return found or _add(step, asking.CreateConfiguration(features=BY_DEFAULT), is_default=True)


BY_DEFAULT = asking.Features(
    customer_update=asking.CustomerFeature(enabled=True, allowed_updates=["email", "address"]),
    invoice_history=asking.Feature(enabled=True),
    payment_method_update=asking.MethodFeature(enabled=True),
    subscription_cancel=asking.CancelFeature(
        enabled=True,
        cancellation_reason=asking.Reasons(enabled=True, options=["too_expensive", "unused", "other"]),
    ),
)


# Sessions.


def create_session(step: Step, params: asking.CreateSession) -> Body:
    """A way in for one customer. The address is a secret: whoever has it is that customer."""
    customer = step.get("customer", params.customer, "customer")
    configuration = (
        default(step)
        if params.configuration is None
        else step.get(CONFIGURATION, params.configuration, "configuration")
    )
    refuse_unless(configuration["active"], "The configuration is not active.", "configuration")
    flow = None if params.flow_data is None else _flow(step, params.flow_data, customer["id"], configuration)
    check_url(params.return_url, "return_url")
    id_ = step.new_id("bps")
    session = step.add(
        {
            "id": id_,
            "object": SESSION,
            "configuration": configuration["id"],
            "created": step.now,
            "customer": customer["id"],
            "customer_account": None,
            "flow": flow,
            "livemode": step.account.livemode,
            "locale": params.locale,
            "on_behalf_of": None,
            "return_url": params.return_url or configuration["default_return_url"],
            "url": f"{site(step, 'billing')}/portal/{id_}",
        },
        customer["id"],
    )
    step.tell("billing_portal.session.created", session)
    return session


NEEDS = {
    "payment_method_update": "payment_method_update",
    "customer_update": "customer_update",
    "subscription_cancel": "subscription_cancel",
    "subscription_pause": "subscription_pause",
    "subscription_update": "subscription_update",
    "subscription_update_confirm": "subscription_update",
}  # flow → the feature that has to be on
FLOWS_OF_ONE = (
    "subscription_cancel",
    "subscription_pause",
    "subscription_update",
    "subscription_update_confirm",
)


def _flow(step: Step, given: asking.FlowData, customer: str, configuration: Body) -> Body:
    feature = NEEDS[given.type]
    refuse_unless(
        configuration["features"][feature]["enabled"],
        f"You can't create a portal session with the flow {given.type}: the feature {feature} in the portal "
        "configuration is disabled.",
        "flow_data[type]",
    )
    if given.type in FLOWS_OF_ONE:
        _check_subscription(step, given, customer)
    flow = given.model_dump(exclude={"after_completion": {"hosted_confirmation", "redirect"}})
    for name in FLOWS_OF_ONE:
        part = getattr(given, name)
        flow[name] = None if part is None else _shown_flow(part)
    if given.type != "subscription_pause":
        flow.pop("subscription_pause")  # newer than Stripe's description; shown only where it says something
    return flow | {"after_completion": _after(given.after_completion), "customer_update": None}


def _shown_flow(part: asking.FlowOfSubscription | asking.ConfirmFlow) -> Body:
    if isinstance(part, asking.FlowOfSubscription):
        return {"subscription": part.subscription}
    items = [item.model_dump(exclude_none=True) | {"price": item.price} for item in part.items]
    return {"discounts": None, "items": items, "subscription": part.subscription}


def _after(given: asking.AfterCompletion) -> Body:
    """Raises StripeError 400 for a redirect without an address."""
    redirects = given.type == "redirect"
    param = "flow_data[after_completion][redirect]"
    refuse_unless(not redirects or given.redirect is not None, f"Missing required param: {param}.", param)
    check_url(given.redirect.return_url if given.redirect else None, f"{param}[return_url]")
    return given.model_dump()


def _check_subscription(step: Step, given: asking.FlowData, customer: str) -> None:
    param = f"flow_data[{given.type}]"
    part = getattr(given, given.type)
    refuse_unless(part is not None, f"Missing required param: {param}.", param, "parameter_missing")
    sub = step.get("subscription", part.subscription, f"{param}[subscription]")
    refuse_unless(
        sub["customer"] == customer,
        f"The subscription {sub['id']} does not belong to the customer {customer}.",
        f"{param}[subscription]",
    )
    alive = sub["status"] not in ("canceled", "incomplete_expired")
    refuse_unless(alive, f"The subscription {sub['id']} has ended.", f"{param}[subscription]")
    if isinstance(part, asking.ConfirmFlow):
        for item in part.items:
            _check_item(step, item, sub)


def _check_item(step: Step, asked: asking.ConfirmItem, sub: Body) -> None:
    param = "flow_data[subscription_update_confirm][items]"
    own = [item["id"] for item in sub["items"]["data"]]
    refuse_unless(asked.id in own, f"{asked.id} is no item of the subscription {sub['id']}.", param)
    if asked.price is not None:
        step.get("price", asked.price, f"{param}[0][price]")


OPERATIONS = (
    Operation(
        "POST /v1/billing_portal/configurations",
        create,
        asking.CreateConfiguration,
        frozenset({"login_page"}),
    ),
    Operation("GET /v1/billing_portal/configurations/{configuration}", retrieve),
    Operation(
        "POST /v1/billing_portal/configurations/{configuration}",
        update,
        asking.UpdateConfiguration,
        frozenset({"login_page"}),
    ),
    Operation("GET /v1/billing_portal/configurations", listing, asking.ListConfigurations),
    Operation(
        "POST /v1/billing_portal/sessions",
        create_session,
        asking.CreateSession,
        frozenset({"customer_account", "on_behalf_of"}),
    ),
)
