"""The account of what a reader sees: is everything there, once, in order, without a gap?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """What was found in one topic. All but `records` should be zero."""

    records: int = 0
    duplicates: int = 0
    inversions: int = 0
    gaps: int = 0


class Tally:
    """Counts records as a reader meets them, each partition in its order."""

    def __init__(self) -> None:
        self.topics: dict[str, Counts] = {}
        self.ids: dict[int, int] = {}  # outbox id → times seen
        self.strangers = 0  # records that are no relay's
        self._last: dict[tuple[str, int], int] = {}
        self._newest: dict[tuple[str, bytes], int] = {}

    def add(
        self, topic: str, partition: int, key: bytes | None, row_id: int | None, pseq: int | None
    ) -> None:
        counts = self.topics.setdefault(topic, Counts())
        counts.records += 1
        if row_id is None or pseq is None or key is None:
            self.strangers += 1
            return
        counts.duplicates += row_id in self.ids
        counts.inversions += row_id < self._newest.get((topic, key), 0)
        counts.gaps += pseq != self._last.get((topic, partition), 0) + 1
        self.ids[row_id] = self.ids.get(row_id, 0) + 1
        self._newest[topic, key] = max(row_id, self._newest.get((topic, key), 0))
        self._last[topic, partition] = pseq

    def totals(self) -> dict[str, int]:
        """Over all topics."""
        names = ("records", "duplicates", "inversions", "gaps")
        return {name: sum(getattr(counts, name) for counts in self.topics.values()) for name in names}
