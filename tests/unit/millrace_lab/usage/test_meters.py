"""What a meter counts, and how it may change."""

from __future__ import annotations

from fractions import Fraction

import pytest

from millrace_lab.account import DAY, HOUR
from tests.unit.millrace_lab.usage.shops import Body, Metered

# (value, seconds after the start), in order of receipt
HEARD = [
    ("2.5", 0),
    ("7", 60),
    ("-1", 7200),
    ("4", 30),
]

AGGREGATED = """
 formula  window | billed   why
 sum      -      | 12.5     every value counts, fractions and corrections too
 count    -      | 4        values do not matter
 last     -      | -1 → 0   the newest by its time, not by its receipt; never less than nothing
 sum      hour   | 3        only the last received of an hour: 4 replaces 2.5 and 7
 sum      day    | 4        only the last received of a day
"""


@pytest.mark.parametrize("row", AGGREGATED.strip().splitlines()[1:])
def test_values_become_one_quantity_as_the_formula_and_the_window_say(row: str) -> None:
    rule, outcome = row.split("|")
    formula, window = rule.split()
    billed = outcome.split("→")[-1].split()[0] if "→" in outcome else outcome.split()[0]
    shop = Metered(formula, **({} if window == "-" else {"event_time_window": window}))
    start = shop.stripe.now
    shop.stripe.wait("1d")
    for value, after in HEARD:
        shop.use(value, start + after)
    assert shop.used(start, start + DAY) == Fraction(billed)


def test_a_period_takes_its_first_second_and_leaves_its_last() -> None:
    shop = Metered()
    start = shop.stripe.now
    shop.stripe.wait("2d")
    for value, at in [("1", start - 1), ("10", start), ("100", start + DAY - 1), ("1000", start + DAY)]:
        shop.use(value, at)
    assert shop.used(start, start + DAY) == 110
    assert shop.used(start + 1, start + DAY) == 100


def test_of_two_values_in_one_second_the_last_received_is_the_last() -> None:
    shop = Metered("last")
    now = shop.stripe.now
    for value in ("1", "2"):
        shop.use(value, now)
    assert shop.used(now, now + 1) == 2


def test_summaries_group_by_hour_or_day_and_leave_out_what_is_empty() -> None:
    shop = Metered()
    start = shop.stripe.now
    shop.stripe.wait("2d")
    for value, at in [("1", start), ("2", start + HOUR), ("4", start + DAY), ("0.5", start + DAY + 5 * HOUR)]:
        shop.use(value, at)
    end = start + 2 * DAY
    assert [s["aggregated_value"] for s in shop.summaries(start, end)] == [7.5]
    days = shop.summaries(start, end, value_grouping_window="day")
    assert [(s["start_time"], s["aggregated_value"]) for s in days] == [(start + DAY, 4.5), (start, 3)]
    assert len(shop.summaries(start, end, value_grouping_window="hour")) == 4
    assert shop.summaries(start - DAY, start) == []


@pytest.mark.parametrize(("window", "off"), [({}, 30), ({"value_grouping_window": "hour"}, 60)])
def test_summaries_refuse_times_that_are_not_aligned(window: Body, off: int) -> None:
    shop = Metered()
    path = f"/v1/billing/meters/{shop.meter}/event_summaries"
    asked = {
        "customer": shop.customer,
        "start_time": shop.stripe.now + off,
        "end_time": shop.stripe.now + DAY,
    }
    assert shop.stripe.refusal("GET", path, **asked, **window)["param"] == "start_time"


def test_a_meter_changes_its_name_and_may_rest_but_keeps_its_event() -> None:
    shop = Metered()
    path = f"/v1/billing/meters/{shop.meter}"
    shop.stripe.post(path, display_name="API calls")
    resting = shop.stripe.post(f"{path}/deactivate")
    assert (resting["status"], resting["status_transitions"]) == (
        "inactive",
        {"deactivated_at": shop.stripe.now},
    )
    assert shop.stripe.refusal("POST", f"{path}/deactivate")["status"] == 400
    again = {"display_name": "B", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    assert shop.stripe.refusal("POST", "/v1/billing/meters", **again)["param"] == "event_name"
    assert [m["id"] for m in shop.stripe.get("/v1/billing/meters", status="inactive")["data"]] == [shop.meter]
    assert shop.stripe.post(f"{path}/reactivate")["status_transitions"] == {"deactivated_at": None}
    told = [each for each in shop.stripe.types() if each.startswith("billing.meter")]
    assert told == [f"billing.meter.{what}" for what in ("created", "updated", "deactivated", "reactivated")]
