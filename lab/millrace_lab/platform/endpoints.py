"""Webhook endpoints: where snapshot events go, in which version, signed with which secrets.

With `connect` an endpoint hears the events of connected accounts, and of them alone.
`_secrets` is a list of {secret, expires}, newest first; `expires` is null for the current one. Rolling is an
act of the dashboard: `roll` keeps the old secret for up to a day, and both sign meanwhile.
Source: docs.stripe.com/api/webhook_endpoints, docs.stripe.com/webhooks#roll-endpoint-secrets.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import DAY, Step, refuse_unless
from millrace_lab.errors import Body, invalid
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, Metadata, NoParams, Params, Text
from millrace_lab.platform.event_types import EVENT_TYPES
from millrace_lab.versions import KNOWN

MOST = 16
KIND = "webhook_endpoint"
URL = "/v1/webhook_endpoints"
Types = Annotated[list[str], Field(min_length=1)]


class CreateEndpoint(Params):
    url: str
    enabled_events: Types
    api_version: str | None = None
    connect: bool = False
    description: Text = None
    metadata: Metadata = None


class UpdateEndpoint(Params):
    url: str | None = None
    enabled_events: Types | None = None
    disabled: bool | None = None
    description: Text = None
    metadata: Metadata = None


def create(step: Step, params: CreateEndpoint) -> Body:
    """Answers the secret, this once."""
    refuse_unless(
        len(list(step.all(KIND))) < MOST, f"You have reached the maximum of {MOST} webhook endpoints."
    )
    checked_url(step, params.url)
    checked_types(params.enabled_events)
    if params.api_version is not None:
        refuse_unless(
            params.api_version in KNOWN, f"Invalid API version: {params.api_version}", "api_version"
        )
    endpoint = step.add(
        {
            "id": step.new_id("we"),
            "object": KIND,
            "api_version": params.api_version,
            "application": None,
            "created": step.now,
            "description": params.description,
            "enabled_events": params.enabled_events,
            "livemode": step.account.livemode,
            "metadata": params.metadata or {},
            "status": "enabled",
            "url": params.url,
            "_secrets": [{"secret": step.new_id("whsec", 32), "expires": None}],
            "_connect": params.connect,
        }
    )
    return {**endpoint, "secret": endpoint["_secrets"][0]["secret"]}


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get(KIND, id_)


def update(step: Step, params: UpdateEndpoint, id_: str) -> Body:
    endpoint = step.get(KIND, id_)
    changes = params.changes_to(endpoint, "url", "enabled_events", "description")
    if params.url is not None:
        checked_url(step, params.url)
    if params.enabled_events is not None:
        checked_types(params.enabled_events)
    if params.disabled is not None:
        changes["status"] = "disabled" if params.disabled else "enabled"
    return step.change(id_, **changes)


def delete(step: Step, _: NoParams, id_: str) -> Body:
    step.get(KIND, id_)
    step.remove(id_)
    return {"id": id_, "object": KIND, "deleted": True}


def listing(step: Step, params: ListParams) -> Page:
    return lists.page(step, KIND, params, URL)


def roll(step: Step, id_: str, overlap: int = DAY) -> Body:
    """A new secret; the old one goes on signing for `overlap` seconds. Answers the new one, this once."""
    endpoint = step.find(id_)
    refuse_unless(endpoint is not None and "_secrets" in endpoint, f"No such endpoint: '{id_}'", "id")
    refuse_unless(0 <= overlap <= DAY, "An old secret can stay active for at most 24 hours.", "overlap")
    assert endpoint is not None
    old = [
        each if each["expires"] else {**each, "expires": step.now + overlap} for each in endpoint["_secrets"]
    ]
    new = {"secret": step.new_id("whsec", 32), "expires": None}
    kept = [each for each in old if each["expires"] > step.now]
    return {**step.change(id_, _secrets=[new, *kept]), "secret": new["secret"]}


def active_secrets(endpoint: Body, now: int) -> list[str]:
    """What signs at a second, newest first."""
    return [
        each["secret"] for each in endpoint["_secrets"] if each["expires"] is None or each["expires"] > now
    ]


def checked_url(step: Step, url: str) -> None:
    parts = urlsplit(url)
    refuse_unless(
        parts.scheme in ("http", "https") and bool(parts.hostname),
        f"Not a valid URL: {url}",
        "url",
        "url_invalid",
    )
    refuse_unless(
        parts.scheme == "https" or not step.account.livemode,
        "Invalid URL: The URL must begin with https in live mode.",
        "url",
    )


def checked_types(types: list[str]) -> None:
    """Each a type that Stripe has, or `*` alone."""
    for number, type_ in enumerate(types):
        if type_ not in EVENT_TYPES and type_ != "*":
            raise invalid(
                f"Invalid enabled_events[{number}]: must be one of the event types of the API, or *",
                f"enabled_events[{number}]",
            )


OPERATIONS = (
    Operation(f"POST {URL}", create, CreateEndpoint),
    Operation(f"GET {URL}/{{webhook_endpoint}}", retrieve),
    Operation(f"POST {URL}/{{webhook_endpoint}}", update, UpdateEndpoint),
    Operation(f"DELETE {URL}/{{webhook_endpoint}}", delete),
    Operation(f"GET {URL}", listing, ListParams),
)
