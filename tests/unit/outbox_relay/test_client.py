"""What we bend in the Kafka client is still there after an upgrade of it, and our batches are what it would send."""

from __future__ import annotations

import inspect
import random
import re

import pytest
import zstandard
from aiokafka import errors
from aiokafka.producer import message_accumulator, sender
from aiokafka.record.memory_records import MemoryRecords

from outbox_relay.domain.page import Record
from outbox_relay.publisher import client
from outbox_relay.publisher.contract import REJECTIONS, refusal

ROWS = [
    Record(b"key", b'{"id":"evt_%d","amount":%d}' % (n * 7919, n * n), [("ce_id", b"evt_%d" % n)])
    for n in range(300)
]


def test_the_client_still_looks_where_we_bend_it() -> None:
    client.bend()
    names = sender.Sender._do_txn_commit.__code__.co_names
    assert "EndTxnHandler" in names
    assert sender.EndTxnHandler is client.EndOnce
    assert sender.BACKOFF_OVERRIDE == client.MARKERS_SECONDS
    assert "BACKOFF_OVERRIDE" in sender.AddPartitionsToTxnHandler.handle_response.__code__.co_names
    assert errors.for_code(87) is client.InvalidRecord


def test_the_client_asks_a_batch_for_nothing_that_ours_has_not() -> None:
    source = inspect.getsource(message_accumulator)
    asked = set(
        re.findall(r"\b(?:_builder|batch\._builder)\.(\w+)", source.partition("class MessageBatch")[2])
    )
    assert asked >= {"record_count", "_set_producer_state", "_build"}
    assert {name for name in asked - {"append"} if not hasattr(client.Packed, name)} == set()


def sent(batch: client.Packed) -> bytes:
    batch._set_producer_state(4711, 3, 42)
    return bytes(batch._build())


@pytest.mark.parametrize("transactional", [True, False])
def test_a_batch_is_whole_and_names_its_producer(transactional: bool) -> None:
    [made] = client.filled(ROWS, 1 << 20, transactional=transactional)
    assert made.record_count() == len(ROWS)
    batch = MemoryRecords(sent(made)).next_batch()
    assert batch is not None
    assert batch.validate_crc()
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (4711, 3, 42)
    assert batch.is_transactional == transactional
    assert [(r.key, r.value, list(r.headers)) for r in batch] == [tuple(row) for row in ROWS]


def test_a_batch_is_compressed_at_our_level_before_it_is_sent() -> None:
    [made] = client.filled(ROWS, 1 << 20, transactional=True)
    body = sent(made)[client.Packed.RECORDS :]
    records = zstandard.ZstdDecompressor().decompress(body)
    assert body == zstandard.ZstdCompressor(level=client.ZSTD_LEVEL).compress(records)
    assert len(body) < len(records) / 2


def test_what_compression_makes_larger_is_sent_as_it_is() -> None:
    value = random.Random(1).randbytes(1000)
    [made] = client.filled([Record(b"k", value, [])], 1 << 20, transactional=True)
    whole = sent(made)
    assert value in whole
    batch = MemoryRecords(whole).next_batch()
    assert batch is not None
    assert batch.validate_crc()
    assert [record.value for record in batch] == [value]


def test_batches_keep_to_their_limit_and_the_order() -> None:
    chance = random.Random(2)
    rows = [Record(b"k", chance.randbytes(chance.randint(1, 400)), []) for _ in range(200)]
    rows.insert(50, Record(b"k", chance.randbytes(5000), []))  # has one to itself
    batches = [MemoryRecords(sent(b)).next_batch() for b in client.filled(rows, 2000, transactional=True)]
    sizes = [len(sent(b)) for b in client.filled(rows, 2000, transactional=True)]
    assert [size for size in sizes if size > 2000] == [max(sizes)]
    assert [r.value for batch in batches if batch for r in batch] == [row.value for row in rows]
    assert list(client.filled([], 2000, transactional=True)) == []


def test_only_what_is_said_of_the_records_themselves_is_a_refusal() -> None:
    assert set(REJECTIONS) == {10, 18, 87}
    assert refusal([("a", 29), ("b", 47), ("c", -185)]) is None
    refused = refusal([("a", 29), ("b", 10)])
    assert refused is not None
    assert (refused.topic, refused.error) == ("b", "MESSAGE_TOO_LARGE")
