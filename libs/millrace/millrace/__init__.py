"""Millrace carries Stripe's events to the services of a company: nothing lost, nothing done twice.

    from millrace import Consumer, Each, Event

See the README for the ten lines that make a consumer.
"""

from millrace.consumer import Consumer, Each, Fold
from millrace.errors import Misconfigured, Poison, Retryable
from millrace.events import Event
from millrace.money import Money
from millrace.outbox import publish

__all__ = ["Consumer", "Each", "Event", "Fold", "Misconfigured", "Money", "Poison", "Retryable", "publish"]
