"""Ids and chances from a seed: the same requests always make the same account, byte for byte."""

from __future__ import annotations

import hashlib

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def digest(*parts: object) -> int:
    """A number of 256 bits that depends on nothing but the parts."""
    text = ":".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=32).digest(), "big")


def letters(number: int, length: int) -> str:
    found = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        found.append(ALPHABET[digit])
    return "".join(found)


def chance(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but the parts."""
    return (digest(*parts) >> 203) / 2**53
