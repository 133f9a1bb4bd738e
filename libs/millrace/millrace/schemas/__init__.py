"""What readers may rely on, in a form that any language reads.

    schemas()    a JSON Schema of each record and event, by its name
    asyncapi()   every topic: its key, its order, how long it keeps what, and which of those schemas are on it
    broken()     what a reader of the published schemas could no longer rely on

A schema describes what readers may rely on, so it stays open: a newer writer may add optional fields and words,
and readers pass over what they do not know (`Payload.of`). Anything else is a new version beside the old.
"""

from __future__ import annotations

from typing import Any

from millrace.schemas.channels import asyncapi
from millrace.schemas.payloads import name, schema, topic
from millrace.schemas.payloads import schemas as of_payloads
from millrace.schemas.promises import Broken, broken
from millrace.schemas.published import text
from millrace.schemas.records import RECORDS

__all__ = ["Broken", "asyncapi", "broken", "name", "of_payloads", "schema", "schemas", "text", "topic"]


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema of ours by its name."""
    return of_payloads() | RECORDS
