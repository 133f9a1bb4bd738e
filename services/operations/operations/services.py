"""The services, once: what each is called, its schema, the topics it reads, its public commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import dunning.commands
import entitlement.commands
import ingest.commands
import ledger.commands
from millrace import outbox, sealing
from millrace.clock import clock
from millrace.consumer import Fold
from millrace.errors import Misconfigured
from millrace.postgres import Schema
from operations.settings import Settings

Rebuilt = Callable[[Settings], tuple[Fold[Any, Any], str]]  # the fold, and the version of its rules


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


def _entitlement(settings: Settings) -> tuple[Fold[Any, Any], str]:
    catalog = _given(settings.catalog, "MILLRACE_CATALOG", "the catalog that entitlement runs with")
    return entitlement.commands.rebuilt(catalog, clock(settings.clock))


def _dunning(settings: Settings) -> tuple[Fold[Any, Any], str]:
    return dunning.commands.rebuilt(
        _given(settings.policies, "MILLRACE_POLICIES", "the policies that dunning runs with")
    )


def _given(file: Path | None, variable: str, what: str) -> Path:
    if file is None:
        raise Misconfigured(f"{variable}: is empty; set it to the file of {what}")
    return file


REBUILT: Mapping[str, Rebuilt] = {
    "entitlement": _entitlement,
    "ledger": lambda _: ledger.commands.rebuilt(),
    "dunning": _dunning,
}
