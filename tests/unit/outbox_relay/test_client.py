"""What we bend in the Kafka client is still there after an upgrade of it."""

from __future__ import annotations

import cramjam
from aiokafka.producer import sender
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from outbox_relay.publisher import client

HEADER_BYTES = 61  # of a record batch; what follows is compressed


def test_batches_are_compressed_at_our_level() -> None:
    client.bend()
    builder = DefaultRecordBatchBuilder(2, DefaultRecordBatch.CODEC_ZSTD, 1, -1, -1, 0, 1 << 20)
    for n in range(300):
        builder.append(n, 0, b"key", b'{"id":"evt_%d","amount":%d}' % (n * 7919, n * n), [])
    body = bytes(builder.build())[HEADER_BYTES:]
    records = cramjam.zstd.decompress(body)
    assert body == bytes(cramjam.zstd.compress(records, level=client.ZSTD_LEVEL))
    assert body != bytes(cramjam.zstd.compress(records, level=3))


def test_the_client_still_looks_where_we_bend_it() -> None:
    client.bend()
    names = sender.Sender._do_txn_commit.__code__.co_names
    assert "EndTxnHandler" in names
    assert sender.EndTxnHandler is client.EndOnce
    assert sender.BACKOFF_OVERRIDE == client.MARKERS_SECONDS
    assert "BACKOFF_OVERRIDE" in sender.AddPartitionsToTxnHandler.handle_response.__code__.co_names
