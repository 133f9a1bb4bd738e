"""The sealed value: what it looks like, and what it takes to open it. Pure but for the random nonce.

    version 1 byte ‖ key id 8 bytes ‖ nonce 12 bytes ‖ ciphertext ‖ tag 16 bytes         AES-256-GCM

What is authenticated beside the ciphertext is (version, key id, table, column, row), each with its length
before it: a value that is copied to another place, or put under another key's id, does not open there.
In JSON it is a text: "sealed:" and base64url without padding.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from binascii import Error, a2b_base64, b2a_base64
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
KEY_BYTES = 32
NONCE_BYTES = 12
HEAD_BYTES = 1 + 8  # version and key id
LEAST_BYTES = HEAD_BYTES + NONCE_BYTES + 16
TOKEN = "sealed:"  # noqa: S105 the beginning of every sealed text, no secret

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


class Unopenable(Exception):
    """A sealed value or a wrapped key does not open: changed, moved, or another key's."""


class Erased(Exception):
    """The key was destroyed on purpose; what it sealed is gone for everybody."""


class Subject(NamedTuple):
    """Whose data it is. Without a customer it is sealed under the account's own key."""

    account: str
    customer: str = ""


class Place(NamedTuple):
    """Where a sealed value stands; it opens nowhere else."""

    table: str
    column: str
    row: str


class DataKey:
    """A key in use: it seals and opens the values of one subject. Never printed, never written."""

    __slots__ = ("_bound", "_cipher", "_head", "id", "subject")

    def __init__(self, id: int, subject: Subject, key: bytes) -> None:
        self.id, self.subject = id, subject
        self._head = VERSION + id.to_bytes(8, "big")
        self._bound = joined(VERSION, self._head[1:])
        self._cipher = AESGCM(key)

    def row(self, table: str, row: str) -> Row:
        """For many values of one row: what they share is bound once."""
        return Row(self._cipher, self._head, self._bound + joined(table.encode()), joined(row.encode()))

    def seal(self, place: Place, plain: bytes) -> bytes:
        return self.row(place.table, place.row).seal(place.column, plain)

    def open(self, place: Place, sealed: bytes) -> bytes:
        """Raises Unopenable: another place, another key, or changed bytes."""
        return self.row(place.table, place.row).open(place.column, sealed)


class Row:
    """A row that a key seals into: `seal` and `open` name the column only."""

    __slots__ = ("_after", "_before", "_cipher", "_head")

    def __init__(self, cipher: AESGCM, head: bytes, before: bytes, after: bytes) -> None:
        self._cipher, self._head, self._before, self._after = cipher, head, before, after

    def seal(self, column: str, plain: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)  # from the kernel each time: nothing to repeat after a fork
        return self._head + nonce + self._cipher.encrypt(nonce, plain, self._bound_to(column))

    def open(self, column: str, sealed: bytes) -> bytes:
        """Raises Unopenable."""
        if len(sealed) < LEAST_BYTES or sealed[:HEAD_BYTES] != self._head:
            raise Unopenable("sealed under another key, or not a sealed value")
        nonce, ciphertext = sealed[HEAD_BYTES:][:NONCE_BYTES], sealed[HEAD_BYTES + NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, ciphertext, self._bound_to(column))
        except InvalidTag:
            raise Unopenable("changed, or moved from another place") from None

    def _bound_to(self, column: str) -> bytes:
        raw = column.encode("utf-8", "surrogatepass")  # a name in somebody's JSON: anything
        return self._before + len(raw).to_bytes(4, "big") + raw + self._after


class IndexKey:
    """The key of one account's blind indexes. Each field has a key of its own, made from it."""

    __slots__ = ("_key", "id")

    def __init__(self, id: int, key: bytes) -> None:
        self.id, self._key = id, key

    def digest(self, field: str, value: str) -> bytes:
        """What stands in the index for a value: equal for values that differ in case or outer space only."""
        own = hmac.digest(self._key, b"blind index " + field.encode(), hashlib.sha256)
        return hmac.digest(own, value.strip().casefold().encode("utf-8", "surrogatepass"), hashlib.sha256)


def key_id(sealed: bytes) -> int:
    """Which key it takes to open. Raises Unopenable when this is no sealed value."""
    if len(sealed) < LEAST_BYTES or sealed[:1] != VERSION:
        raise Unopenable("not a sealed value")
    return int.from_bytes(sealed[1:HEAD_BYTES], "big")


def token(sealed: bytes) -> str:
    """A sealed value as a text for JSON."""
    return TOKEN + b2a_base64(sealed, newline=False).translate(_TO_URL, b"=").decode()


def untoken(text: str) -> bytes | None:
    """The sealed value in a text; None when the text is none."""
    if not text.startswith(TOKEN):
        return None
    try:
        raw = text[len(TOKEN) :].encode("ascii").translate(_FROM_URL)
        sealed = a2b_base64(raw + b"=" * (-len(raw) % 4), strict_mode=True)
    except (UnicodeEncodeError, Error):
        return None
    is_sealed = len(sealed) >= LEAST_BYTES and sealed[:1] == VERSION
    return sealed if is_sealed and token(sealed) == text else None  # one value is one text


def joined(*parts: bytes) -> bytes:
    """Parts with their lengths before them: no two lists of parts give the same bytes."""
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])
