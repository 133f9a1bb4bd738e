"""Millrace carries Stripe's events to the services of a company: nothing lost, nothing done twice.

    from millrace import Each, run

See the README for the ten lines that make a consumer. A name is loaded when it is first asked for, so that
`import millrace` costs nothing to whoever needs one of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millrace import events, topics
    from millrace.consumer import Consumer, Each, Fold, applied, latest, noop, waiting
    from millrace.errors import Misconfigured, Poison, Retryable
    from millrace.events import Event
    from millrace.events.ours import Payload
    from millrace.money import Money
    from millrace.outbox import Message, caused, publish
    from millrace.running import run

__all__ = [
    "Consumer",
    "Each",
    "Event",
    "Fold",
    "Message",
    "Misconfigured",
    "Money",
    "Payload",
    "Poison",
    "Retryable",
    "applied",
    "caused",
    "events",
    "latest",
    "noop",
    "publish",
    "run",
    "topics",
    "waiting",
]

_HOMES = {
    "millrace.consumer": ("Consumer", "Each", "Fold", "applied", "latest", "noop", "waiting"),
    "millrace.errors": ("Misconfigured", "Poison", "Retryable"),
    "millrace.events": ("Event",),
    "millrace.events.ours": ("Payload",),
    "millrace.money": ("Money",),
    "millrace.outbox": ("Message", "caused", "publish"),
    "millrace.running": ("run",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # a checker knows the names above, and refuses any other

    def __getattr__(name: str) -> Any:
        if name in _HOME:
            return getattr(import_module(_HOME[name]), name)
        if name in __all__:
            return import_module(f"millrace.{name}")
        raise AttributeError(f"module 'millrace' has no attribute {name!r}")
