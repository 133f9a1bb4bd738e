"""Claim checks: where the payload of a record is, when it is too large for Kafka. CloudEvents calls it `dataref`.

The record's value is then {"dataref", "bytes", "sha256"}; the payload itself stays in the outbox's database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import orjson

from millrace.errors import Poison

HEADER = "ce_dataref"
SCHEME = "millrace:"  # other schemes are their author's affair


@dataclass(frozen=True, slots=True)
class Claim:
    """What a record says of its payload. Units: `size` in bytes, once unpacked; `sha256`, in hex, as it rests there."""

    database: str
    ref: str
    size: int
    sha256: str

    @property
    def dataref(self) -> str:
        return f"{SCHEME}{self.database}/{self.ref}"

    def value(self) -> bytes:
        """The value of its record."""
        return orjson.dumps({"dataref": self.dataref, "bytes": self.size, "sha256": self.sha256})

    @classmethod
    def parse(cls, header: bytes, value: bytes | None) -> Claim:
        """The claim in a record. Raises Poison when it is none of ours."""
        database, _, ref = header.decode("utf-8", "replace").removeprefix(SCHEME).partition("/")
        try:
            said = orjson.loads(value or b"")
            claim = cls(database, str(UUID(ref)), int(said["bytes"]), str(said["sha256"]))
        except (ValueError, TypeError, KeyError) as problem:
            raise Poison(
                f"{HEADER} is not <database>/<ref>, or the value does not tell its size"
            ) from problem
        if claim.size < 0:
            raise Poison(f"{HEADER}: its payload has {claim.size} bytes")
        return claim


def claimed(headers: Mapping[str, bytes]) -> bool:
    """Whether a record carries a claim of ours instead of its payload."""
    return (headers.get(HEADER) or b"").startswith(SCHEME.encode())
