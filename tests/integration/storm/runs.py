"""A company's quarter in a hostile schedule, by its seed."""

from __future__ import annotations

from millrace_lab.delivery.schedule import Schedule
from millrace_lab.storm import rare_lives
from millrace_lab.storm.arrivals import Arrival, arrivals
from millrace_lab.storm.companies import Company

TWINS = 0.05


def run(seed: int, customers: int = 40) -> list[Arrival]:
    account = Company(seed, 90, customers, rare_lives.EVERYBODY, twins=TWINS).play()
    return arrivals(account, Schedule(seed, "hostile"))
