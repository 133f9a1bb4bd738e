"""What can go wrong while an event is applied.

Failure
├── Retryable    try again: the world was not ready (a lock, a broker, a rate limit)
└── Poison       never will: the event cannot be applied; it is parked with this reason
Anything else is our own bug: tried a few times, then parked with its traceback, and someone is told.

Misconfigured stands apart: a file or a setting is wrong, and the process must not start with it.
"""


class Failure(Exception):
    """Something went wrong while an event was applied."""


class Retryable(Failure):
    """The world was not ready; the same event may succeed later.

    Units: `after` in seconds, the least time to wait before the next try.
    """

    def __init__(self, reason: str, *, after: float = 1.0) -> None:
        super().__init__(reason)
        self.after = after


class Poison(Failure):
    """The event can never be applied as it is; it is parked with this reason, which names the field."""


class Misconfigured(Exception):
    """A file or a setting is wrong; the message names file, line and fix."""
