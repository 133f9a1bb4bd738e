"""A lane: an outbox, or one shard of it, on its way to Kafka. Each has one leader, one cursor, one transactional id.

A row belongs to the shard that its key's hash leaves: hash modulo shards. The number of shards divides the number
of partitions of every topic, so each partition is written by one lane of an outbox, and its numbering has one author.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from millrace import topics

NAME = re.compile(r"(.+?)(?:\.(\d+)of(\d+))?")


@dataclass(frozen=True, slots=True, order=True)
class Lane:
    """Units: `shard` counts from 0."""

    database: str = "main"
    shard: int = 0
    shards: int = 1

    def __str__(self) -> str:
        return self.database if self.shards == 1 else f"{self.database}.{self.shard}of{self.shards}"

    @classmethod
    def parse(cls, text: str) -> Lane:
        """A lane by its name."""
        match = NAME.fullmatch(text)
        assert match, "a lane has a name"
        database, shard, shards = match.groups()
        return cls(database, int(shard), int(shards)) if shards else cls(database)

    def cursor_topic(self, prefix: str = topics.RELAY_CURSOR) -> str:
        """One partition, compacted, nobody else's. The first outbox, undivided, has the prefix itself."""
        return prefix if str(self) == "main" else f"{prefix}.{self}"

    def transactional_id(self, prefix: str = topics.RELAY_CURSOR) -> str:
        """Named after the cursor topic: whoever could move this cursor is fenced by whoever reads it."""
        return f"outbox-relay.{self.cursor_topic(prefix)}"

    def owns(self, key_hash: int) -> bool:
        return key_hash % self.shards == self.shard


def lanes(database: str, shards: int) -> tuple[Lane, ...]:
    """Every shard of an outbox."""
    return tuple(Lane(database, shard, shards) for shard in range(shards))
