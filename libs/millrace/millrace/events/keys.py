"""A key's hash: which partition and which shard its records go to. Kafka's own, so that every client agrees."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(1 << 16)
def key_hash(key: str) -> int:
    """murmur2 of a key, without its sign: modulo a topic's partitions it is Kafka's default partition."""
    return murmur2(key.encode()) & 0x7FFFFFFF


def murmur2(data: bytes) -> int:
    """Source: org.apache.kafka.common.utils.Utils.murmur2; the seed and mixing constants are its own."""
    mix, mask, length = 0x5BD1E995, 0xFFFFFFFF, len(data)
    h = 0x9747B28C ^ length
    for place in range(0, length & ~3, 4):
        k = int.from_bytes(data[place : place + 4], "little") * mix & mask
        k = (k ^ k >> 24) * mix & mask
        h = (h * mix & mask) ^ k
    if tail := data[length & ~3 :]:
        h = (h ^ int.from_bytes(tail, "little")) * mix & mask
    h = (h ^ h >> 13) * mix & mask
    return h ^ h >> 15
