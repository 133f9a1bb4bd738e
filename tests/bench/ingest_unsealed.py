"""`python -m ingest` in which nothing is sealed, to see what sealing costs. The product has no such switch.

What is taken away is all of it: looking for the fields, encrypting, and knowing the keys. The bytes that a
sealed value begins with stay, for the tables ask for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import uvloop

from ingest import app
from ingest.settings import Settings
from millrace import service
from millrace.sealing.box import DataKey, Row, Subject
from millrace.sealing.keys import Keys
from millrace.sealing.policy import Policy

KEY = DataKey(1, Subject("acct_1"), bytes(32))


def unsealed(self: Row, column: str, plain: bytes) -> bytes:
    return self._head + plain


def no_field(self: Policy, event_body: dict[str, Any], key: DataKey, row: str) -> bytes:
    return orjson.dumps(event_body)


def nothing_indexed(self: Policy, event_body: Mapping[str, Any]) -> list[tuple[str, str]]:
    return []


def known(self: Keys, subject: Subject) -> DataKey:
    return KEY


if __name__ == "__main__":
    Row.seal = unsealed  # type: ignore[method-assign]
    Policy.seal = no_field  # type: ignore[method-assign]
    Policy.indexed = nothing_indexed  # type: ignore[method-assign]
    Keys.known = known  # type: ignore[method-assign]
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    service.main("ingest", Settings, app.main)
