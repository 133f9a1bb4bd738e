"""The services, once: what each is called, its schema, the topics it reads, its public commands."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import dunning.commands
import entitlement.commands
import ingest.commands
import ledger.commands
from millrace import outbox, sealing
from millrace.postgres import Schema


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer as operations sees it."""

    name: str
    topics: tuple[str, ...]
    commands: ModuleType


SCHEMAS: tuple[Schema, ...] = (
    outbox.SCHEMA,
    sealing.SCHEMA,
    ingest.commands.SCHEMA,
    entitlement.commands.SCHEMA,
    ledger.commands.SCHEMA,
    dunning.commands.SCHEMA,
)

CONSUMERS: tuple[Consumer, ...] = tuple(
    Consumer(name, commands.TOPICS, commands)
    for name, commands in (
        ("entitlement", entitlement.commands),
        ("ledger", ledger.commands),
        ("dunning", dunning.commands),
    )
)
