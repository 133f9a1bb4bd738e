"""Whether anybody is heard: a member that is cut off for good must end, not sit there deaf.

Silence is counted by the watch's own ticks, so that a process which was itself stopped for a while does not take
that for the world's silence.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition

from millrace.consumer import client
from millrace.errors import Failure

TICK_SECONDS = 1.0


class Deaf(Failure):
    """Kafka, or a batch's transaction, has not answered for longer than any outage that heals by itself."""


class Watch:
    """Looks once a second. An idle or paused consumer hears its group's heartbeats: it is not deaf.

    Units:  `deaf_seconds` of silence from the group, or from a partition that should be read; `batch_seconds` for a
            batch, below what the client takes for a dead consumer.
    Raises: Deaf.
    """

    def __init__(
        self,
        kafka: AIOKafkaConsumer,
        name: str,
        *,
        deaf_seconds: float,
        batch_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kafka, self.name, self.clock = kafka, name, clock
        self.deaf_seconds, self.batch_seconds = deaf_seconds, batch_seconds
        self.now, self._ticked = 0.0, clock()
        self.group = 0.0  # when its coordinator was last heard
        self._heard: dict[TopicPartition, tuple[int, float]] = {}  # partition → the answer, and when it came
        self._batch: float | None = None
        self.refused = ""  # what the client said last

    def heard(self) -> None:
        """The group's coordinator has answered."""
        self.group = self.now

    def began(self) -> None:
        self._batch = self.now

    def ended(self) -> None:
        self._batch = None

    def silence(self) -> float:
        """Seconds since the group, or the partition that is silent for longest, was heard."""
        return self.now - min([self.group, *(when for _, when in self._heard.values())])

    def look(self) -> None:
        """One tick. Raises: Deaf."""
        self.now += min(self.clock() - self._ticked, 2 * TICK_SECONDS)
        self._ticked = self.clock()
        self._listen()
        if ended := client.dead(self.kafka):
            raise Deaf(f"{self.name}: {ended}")
        if self.silence() > self.deaf_seconds:
            said = f"; the last error was {self.refused}" if self.refused else ""
            raise Deaf(f"{self.name}: {self._what()} has not been heard for {self.silence():.0f} s{said}")
        if self._batch is not None and self.now - self._batch > self.batch_seconds:
            raise Deaf(f"{self.name}: a batch has not ended for {self.now - self._batch:.0f} s")

    def _listen(self) -> None:
        """A partition is heard when a broker answers for it, or while its records wait for us."""
        before, self._heard = self._heard, {}
        for tp in client.fetchable(self.kafka):
            answer, (last, when) = client.polled(self.kafka, tp), before.get(tp, (-1, self.now))
            quiet = answer == last and not client.unread(self.kafka, tp)
            self._heard[tp] = (answer, when if quiet else self.now)

    def _what(self) -> str:
        if self.now - self.group > self.deaf_seconds:
            return "the group's coordinator"
        tp = min(self._heard, key=lambda tp: self._heard[tp][1])
        return f"the leader of {tp.topic}/{tp.partition}"
