"""A Kafka of one's own, to be killed, cut off or led astray."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from lab.stack import StackError, kafka
from tests.integration.outbox_relay.arena import COMPACT


@contextmanager
def cluster(brokers: int, *, advertised: int = 0) -> Iterator[kafka.Cluster]:
    """It runs, and nothing is left of it afterwards. A single broker may send its clients to another port."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-fault-", dir="/var/tmp"))  # its own user can reach that
    folder.chmod(0o755)
    try:
        made = kafka.Cluster.new(folder, brokers, print)
        made.brokers[0].ports = replace(made.brokers[0].ports, advertised=advertised)
        made.start(print)
    except StackError as problem:
        pytest.skip(f"no Kafka of our own: {problem}")
    try:
        yield made
    finally:
        for broker in made.brokers:
            broker.kill()
        shutil.rmtree(folder, ignore_errors=True)


async def make_topics(address: str, *names: str, cursor: str, copies: int, **config: str) -> None:
    """The topics of rows, of three partitions each, and a cursor topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    wanted = [NewTopic(name, 3, copies, topic_configs=config) for name in names]
    await admin.create_topics([*wanted, NewTopic(cursor, 1, copies, topic_configs=COMPACT)])
    await admin.close()
