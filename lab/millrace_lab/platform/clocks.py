"""Test clocks: time of their own for the customers that live on them.

An advance is answered as `advancing`; what it makes happen happens before the next request, after which the
clock is `ready`. Source: docs.stripe.com/billing/testing/test-clocks, docs.stripe.com/api/test_clocks.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import DAY, Step, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, NoParams, Params, Second

KIND = "test_helpers.test_clock"
ADVANCING = "test_helpers.test_clock.advancing"
URL = "/v1/test_helpers/test_clocks"


class CreateClock(Params):
    frozen_time: Second
    name: Annotated[str | None, Field(max_length=300)] = None


class AdvanceClock(Params):
    frozen_time: Second


def create(step: Step, params: CreateClock) -> Body:
    id_ = step.new_id("clock")
    clock = step.add(
        {
            "id": id_,
            "object": KIND,
            "created": step.now,
            "deletes_after": step.now + 30 * DAY,
            "frozen_time": params.frozen_time,
            "livemode": step.account.livemode,
            "name": params.name,
            "status": "ready",
            "status_details": {},
            "_clock": id_,  # whoever reads it lives on it
        }
    )
    step.tell("test_helpers.test_clock.created", clock)
    return clock


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get(KIND, id_)


def listing(step: Step, params: ListParams) -> Page:
    return lists.page(step, KIND, params, URL)


def advance(step: Step, params: AdvanceClock, id_: str) -> Body:
    """Say how far to go. `arrived` ends it."""
    clock = step.get(KIND, id_)
    refuse_unless(clock["status"] == "ready", "The test clock is already advancing.", "id")
    refuse_unless(
        params.frozen_time > clock["frozen_time"],
        "You can only advance a test clock to a time after its current frozen_time.",
        "frozen_time",
    )
    details = {"advancing": {"target_frozen_time": params.frozen_time}}
    clock = step.change(id_, status="advancing", status_details=details)
    step.tell(ADVANCING, clock)
    return clock


def arrived(step: Step, id_: str) -> Body:
    """The clock stands where it was told to."""
    clock = step.change(id_, status="ready", status_details={})
    step.tell("test_helpers.test_clock.ready", clock)
    return clock


def delete(step: Step, _: NoParams, id_: str) -> Body:
    """Everything that lived on the clock goes with it, without a word; of customers a tombstone stays."""
    clock = step.get(KIND, id_)
    for found in list(step.account.objects.values()):
        if found.get("_clock") == id_ and found["id"] != id_:
            step.remove(found["id"], tombstone=found["object"] == "customer")
    step.tell("test_helpers.test_clock.deleted", clock)
    step.remove(id_)
    step.clock = None  # the rest of the step is the account's
    return {"id": id_, "object": KIND, "deleted": True}


OPERATIONS = (
    Operation(f"POST {URL}", create, CreateClock, frozenset({"customer"})),
    Operation(f"GET {URL}/{{test_clock}}", retrieve),
    Operation(f"GET {URL}", listing, ListParams),
    Operation(f"POST {URL}/{{test_clock}}/advance", advance, AdvanceClock),
    Operation(f"DELETE {URL}/{{test_clock}}", delete),
)
