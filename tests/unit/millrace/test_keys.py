"""A key's hash is Kafka's own."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import murmur2 as the_clients
from hypothesis import given
from hypothesis import strategies as st

from millrace.events.keys import key_hash, murmur2

KAFKAS = {  # org.apache.kafka.common.utils.UtilsTest.testMurmur2
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.mark.parametrize("key", KAFKAS)
def test_a_hash_is_the_one_of_kafkas_own_test(key: str) -> None:
    assert murmur2(key.encode()) == KAFKAS[key] % 2**32
    assert key_hash(key) == KAFKAS[key] & 0x7FFFFFFF


@given(st.text(max_size=40))
def test_a_hash_is_the_clients(key: str) -> None:
    assert key_hash(key) == the_clients(key.encode()) & 0x7FFFFFFF
