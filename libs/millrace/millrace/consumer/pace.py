"""How much to take at a time, and how long to wait before trying again."""

from __future__ import annotations

import time

RETRY_SECONDS_MAX = 30.0


class Pace:
    """A batch that took long makes the next one smaller, so that nobody waits long for it to end.

    Units: `records` of the next batch, at most `records_max`; `seconds` that one should take at most.
    """

    def __init__(self, records_max: int, seconds: float) -> None:
        self.records_max, self.seconds, self.records = records_max, seconds, records_max

    def took(self, records: int, seconds: float) -> None:
        if seconds > self.seconds:
            self.records = max(1, int(records * self.seconds / seconds))
        else:
            self.records = min(self.records_max, 2 * self.records)


class Rests:
    """How long a partition rests: doubles from one time to the next, up to RETRY_SECONDS_MAX."""

    def __init__(self) -> None:
        self.tries, self.until = 0, 0.0
        self.offset, self.since = 0, 0  # the first record that is not decided, and its timestamp in ms

    def again(self, after: float) -> float:
        seconds: float = min(RETRY_SECONDS_MAX, max(after, 0.02) * 2 ** min(self.tries, 10))
        self.tries, self.until = self.tries + 1, time.monotonic() + seconds
        return seconds
