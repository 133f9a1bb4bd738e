"""What reaches a receiver: events as delivered, in the order of their arrival, with what Stripe never shows.

Everything of the storm works on a list of these: it is laid out by a schedule, judged by the oracle, applied
to the system under test, made shorter by the shrinker and written down in a test.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from millrace_lab.account import Account
from millrace_lab.delivery.letters import envelope
from millrace_lab.delivery.planning import plan
from millrace_lab.delivery.schedule import Schedule
from millrace_lab.errors import Body


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """One delivery as the receiver meets it.

    `number` is the true order of what happened; `at` the second of arrival; `attempt` counts the times that
    this very event has arrived.
    """

    number: int
    at: int
    event: Body
    attempt: int = 1

    @property
    def id(self) -> str:
        return str(self.event["id"])

    @property
    def type(self) -> str:
        return str(self.event["type"])

    @property
    def object(self) -> Body:
        body: Body = self.event["data"]["object"]
        return body

    @property
    def created(self) -> int:
        return int(self.event["created"])

    def twin_of(self, other: Arrival) -> bool:
        """Whether both tell of one change by two Event objects: another id, everything else alike."""
        return self.id != other.id and all(self.event[name] == other.event[name] for name in ALIKE)


ALIKE = ("type", "created", "data")


def arrivals(account: Account, schedule: Schedule) -> list[Arrival]:
    """Every snapshot event of an account as a schedule lets it arrive; what a right receiver refuses is left out.

    The bodies are those of the account's version. With `expand_balance_transactions` in the settings, charges
    and refunds carry theirs whole, and invoices all their lines.
    """
    told = [each for each in account.events if not each.thin]
    events = {each.id: envelope(account, each) for each in told}
    times: Counter[str] = Counter()
    found = []
    for delivery in plan(told, schedule):
        if delivery.genuine:
            id_ = delivery.event.id
            times[id_] += 1
            found.append(Arrival(delivery.event.number, delivery.at, events[id_], times[id_]))
    return found
