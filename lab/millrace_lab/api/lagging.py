"""Reads that lag: for some seconds after a change a reader may still see what was before it.

How long is drawn from the seed for each change, from 0 to the account's setting `lag_seconds`. New objects
are seen at once, and deleted ones are gone at once. Our reading: Stripe documents no staleness, and those who
refetch must bear some.
"""

from __future__ import annotations

from millrace_lab.account import Account, Step
from millrace_lab.errors import Body


class LateReader(Step):
    """A step that only reads."""

    def __init__(self, account: Account, lag: int) -> None:
        super().__init__(account, None, False, None)
        self.lag = lag

    def find(self, id_: str) -> Body | None:
        found = self._peek(id_)
        if found is not None and self.clock is None:
            self.clock = found.get("_clock")
        return found

    def _peek(self, id_: str) -> Body | None:
        old, changed = self.account.before.get(id_, (None, 0))
        if old is None or self.account.objects.get(id_, {"deleted": True}).get("deleted"):
            return super()._peek(id_)
        late = int(self.chance("lag", f"{id_}:{changed}") * (self.lag + 1))
        return old if self.account.time(old.get("_clock")) < changed + late else super()._peek(id_)
