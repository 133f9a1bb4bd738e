"""Event destinations of the second API: webhooks that carry thin events, or snapshots of a fixed version.

`_secrets` is as on webhook endpoints. The URL and the secret are shown only to whom asks to include them,
the secret at creation only. Source: docs.stripe.com/api/v2/core/event-destinations.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from millrace_lab.account import Account, Step, Told, refuse_unless
from millrace_lab.errors import Body, invalid
from millrace_lab.lists import PagedParams, second_page
from millrace_lab.operations import Operation, Page
from millrace_lab.params import NoParams, Params, merged
from millrace_lab.platform import events
from millrace_lab.platform.endpoints import MOST, checked_url
from millrace_lab.platform.event_types import EVENT_TYPES, matches
from millrace_lab.platform.thin import fetched, iso, notification, thin_type
from millrace_lab.versions import KNOWN

KIND = "v2.core.event_destination"
URL = "/v2/core/event_destinations"
PING = "v2.core.event_destination.ping"
URL_SHOWN, SECRET_SHOWN = "webhook_endpoint.url", "webhook_endpoint.signing_secret"
Include = list[Literal["webhook_endpoint.url", "webhook_endpoint.signing_secret"]]
Types = Annotated[list[str], Field(min_length=1)]
Labels = dict[str, str | None]


class Webhook(Params):
    url: str


class CreateDestination(Params):
    name: str
    type: Literal["webhook_endpoint"]
    event_payload: Literal["snapshot", "thin"]
    enabled_events: Types
    webhook_endpoint: Webhook
    description: str = ""
    include: Include = []
    metadata: Labels = {}
    snapshot_api_version: str | None = None


class UpdateDestination(Params):
    name: str | None = None
    description: str | None = None
    enabled_events: Types | None = None
    include: Include = []
    metadata: Labels | None = None
    webhook_endpoint: Webhook | None = None


class ReadDestination(Params):
    include: Include = []


class ListDestinations(PagedParams):
    include: Include = []


def create(step: Step, params: CreateDestination) -> Body:
    refuse_unless(len(list(step.all(KIND))) < MOST, f"You have reached the maximum of {MOST} destinations.")
    checked_url(step, params.webhook_endpoint.url)
    _checked_types(params.enabled_events, params.event_payload)
    version = params.snapshot_api_version
    refuse_unless(
        (version in KNOWN) if params.event_payload == "snapshot" else version is None,
        "snapshot_api_version must be a known version for snapshot events, and is not given for thin ones.",
        "snapshot_api_version",
    )
    destination = step.add(
        {
            "id": step.new_id("ed_test"),
            "object": KIND,
            "created": iso(step.now),
            "description": params.description,
            "enabled_events": params.enabled_events,
            "event_payload": params.event_payload,
            "events_from": ["@self"],
            "livemode": step.account.livemode,
            "metadata": {key: value for key, value in params.metadata.items() if value is not None},
            "name": params.name,
            "snapshot_api_version": version,
            "status": "enabled",
            "status_details": None,
            "type": "webhook_endpoint",
            "updated": iso(step.now),
            "webhook_endpoint": {"url": params.webhook_endpoint.url, "signing_secret": None},
            "_secrets": [{"secret": step.new_id("whsec", 32), "expires": None}],
        }
    )
    return _showing(destination, params.include, created=True)


def retrieve(step: Step, params: ReadDestination, id_: str) -> Body:
    return _showing(step.get(KIND, id_), params.include)


def update(step: Step, params: UpdateDestination, id_: str) -> Body:
    destination = step.get(KIND, id_)
    changes = params.changes("name", "description", "enabled_events")
    if params.enabled_events is not None:
        _checked_types(params.enabled_events, destination["event_payload"])
    if params.webhook_endpoint is not None:
        checked_url(step, params.webhook_endpoint.url)
        changes["webhook_endpoint"] = {"url": params.webhook_endpoint.url, "signing_secret": None}
    if params.metadata is not None:
        changes["metadata"] = merged(
            destination["metadata"], {k: v or "" for k, v in params.metadata.items()}
        )
    return _showing(_changed(step, id_, **changes), params.include)


def disable(step: Step, _: NoParams, id_: str) -> Body:
    step.get(KIND, id_)
    details = {"disabled": {"reason": "user"}}
    return _showing(_changed(step, id_, status="disabled", status_details=details), [])


def enable(step: Step, _: NoParams, id_: str) -> Body:
    step.get(KIND, id_)
    return _showing(_changed(step, id_, status="enabled", status_details=None), [])


def delete(step: Step, _: NoParams, id_: str) -> Body:
    step.get(KIND, id_)
    step.remove(id_)
    return {"id": id_, "object": KIND}


def ping(step: Step, _: NoParams, id_: str) -> Body:
    """An event for this destination alone, to see whether it answers."""
    step.get(KIND, id_)
    told = step.tell_thin(PING, {"_related": {"id": id_, "type": KIND, "url": f"{URL}/{id_}"}})
    return fetched(step.account, told)


def listing(step: Step, params: ListDestinations) -> Page:
    found = [_showing(body, params.include) for body in step.all(KIND)]
    return second_page(found[::-1], params, URL)


def wants(destination: Body, told: Told) -> bool:
    """Whether a told event goes to a destination. A ping goes to its own only, and nothing of connected accounts."""
    if destination["status"] != "enabled" or told.account:
        return False
    if told.type == PING:
        return bool(told.object["_related"]["id"] == destination["id"])
    if destination["event_payload"] == "snapshot":
        return not told.thin and matches(told.type, destination["enabled_events"])
    return matches(thin_type(told), destination["enabled_events"])


def payload(account: Account, destination: Body, told: Told, *, pending: int = 0) -> Body:
    """What a destination is sent of a told event."""
    if destination["event_payload"] == "snapshot" and not told.thin:
        return events.rendered(account, told, destination["snapshot_api_version"], pending=pending)
    return notification(account, told)


def _changed(step: Step, id_: str, **changes: Any) -> Body:
    return step.change(id_, **changes, updated=iso(step.now))


def _showing(destination: Body, include: Include, *, created: bool = False) -> Body:
    shown = {
        "url": destination["webhook_endpoint"]["url"] if URL_SHOWN in include else None,
        "signing_secret": destination["_secrets"][0]["secret"]
        if created and SECRET_SHOWN in include
        else None,
    }
    return {**destination, "webhook_endpoint": shown}


def _checked_types(types: list[str], payload_: str) -> None:
    """Thin ones are named `v1.…` or `v2.…`, snapshots as on webhook endpoints."""
    for type_ in types:
        known = type_ in EVENT_TYPES if payload_ == "snapshot" else type_.startswith(("v1.", "v2."))
        if not known and type_ != "*":
            raise invalid(f"The event type {type_} is not valid for {payload_} events.", "enabled_events")


OPERATIONS = (
    Operation(
        f"POST {URL}",
        create,
        CreateDestination,
        frozenset({"amazon_eventbridge", "azure_event_grid", "events_from"}),
    ),
    Operation(f"GET {URL}/{{id}}", retrieve, ReadDestination),
    Operation(f"POST {URL}/{{id}}", update, UpdateDestination),
    Operation(f"POST {URL}/{{id}}/disable", disable),
    Operation(f"POST {URL}/{{id}}/enable", enable),
    Operation(f"POST {URL}/{{id}}/ping", ping),
    Operation(f"DELETE {URL}/{{id}}", delete),
    Operation(f"GET {URL}", listing, ListDestinations),
)
