"""The part that a process runs: its lanes side by side, none of which waits for another.

A lane that has halted stays so by itself; the others go on. When every one has, the process ends.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

from outbox_relay import metrics
from outbox_relay.publisher import Halted
from outbox_relay.relay import STANDBY_SECONDS, Crew, Deposed, Relay
from outbox_relay.relay.stream import pause

log = logging.getLogger("outbox_relay")


class Lanes:
    """A relay for each lane of this process."""

    name = "relay"

    def __init__(self, relays: Sequence[Relay]) -> None:
        self.relays, crew = relays, Crew()
        self.halted: dict[str, str] = {}  # lane → what to do
        for relay in relays:
            relay.crew = crew
            metrics.stands_by(str(relay.lane))
            metrics.HALTED.labels(str(relay.lane)).set(0)

    def ready(self) -> str:
        """What each lane waits for, by its name when there are several."""
        if len(self.relays) == 1:
            return self._ready(self.relays[0])
        return "; ".join(f"{relay.lane}: {why}" for relay in self.relays if (why := self._ready(relay)))

    def _ready(self, relay: Relay) -> str:
        words = self.halted.get(str(relay.lane))
        return f"halted: {words}" if words else relay.ready()

    async def run(self, stop: asyncio.Event) -> None:
        """Raises: Halted when every lane has; the first other failure of a lane, which is a bug of ours."""
        order = random.sample(self.relays, len(self.relays))  # each process its own, so that they share
        tasks = [
            asyncio.create_task(self._lane(relay, stop, place * STANDBY_SECONDS))
            for place, relay in enumerate(order)
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if len(self.halted) == len(self.relays):
            raise Halted("; ".join(self.halted.values()))

    async def _lane(self, relay: Relay, stop: asyncio.Event, wait_seconds: float) -> None:
        await pause(stop, wait_seconds)
        while not stop.is_set():
            try:
                await relay.run(stop)
            except Halted as halt:
                self._halt(relay, str(halt))
                return
            except Deposed:
                if len(self.relays) == 1:
                    raise  # a new process remembers nothing
                log.warning("deposed: standing by", extra={"lane": str(relay.lane)})

    def _halt(self, relay: Relay, words: str) -> None:
        self.halted[str(relay.lane)] = words
        metrics.HALTED.labels(str(relay.lane)).set(1)
        if len(self.halted) < len(self.relays):
            log.critical("lane %s halted, the others go on: %s", relay.lane, words)  # text of ours
