"""How far behind a consumer is, in records and in seconds, also while it rests or is paused."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka import TopicPartition

from millrace.consumer import metrics
from millrace.consumer.ahead import First


class Lag:
    """Measured over the partitions that this member has; the series of those it lost are removed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._behind_since: dict[TopicPartition, int] = {}  # where the first record itself is not known

    def measure(
        self,
        ends: Mapping[TopicPartition, int],
        undecided: Mapping[TopicPartition, First],
        positions: Mapping[TopicPartition, int],
        now: int,
    ) -> None:
        """Against the last stable offsets. A partition of which nothing is fetched has come to its position.

        Units: `now` in ms, like the records' timestamps.
        """
        before, self._behind_since = self._behind_since, {}
        oldest = now
        for tp, end in ends.items():
            offset, since = undecided.get(tp, (positions.get(tp, end), before.get(tp, now)))
            records = max(0, end - offset)
            metrics.LAG_RECORDS.labels(self.name, tp.topic, tp.partition).set(records)
            self._behind_since[tp] = since if records else now
            oldest = min(oldest, self._behind_since[tp])
        metrics.LAG_SECONDS.labels(self.name).set((now - oldest) / 1000)
        self._forget(before)

    def _forget(self, before: Mapping[TopicPartition, int]) -> None:
        for tp in set(before) - set(self._behind_since):
            metrics.LAG_RECORDS.remove(self.name, tp.topic, str(tp.partition))
