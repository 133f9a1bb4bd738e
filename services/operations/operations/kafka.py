"""The topics, made where they are missing. A topic that is there is never changed."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from millrace.errors import Misconfigured
from millrace.topics import TOPICS

CREATED, EXISTS = 0, TopicAlreadyExistsError.errno


async def create_topics(bootstrap: str, *, partitions: int, replication: int) -> list[str]:
    """Make the missing topics; returns their names. Raises Misconfigured when the broker refuses one."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics(
            [
                NewTopic(t.name, t.partitions or partitions, replication, topic_configs=t.config())
                for t in TOPICS
            ]
        )
    finally:
        await admin.close()
    made = []
    for name, code, *_ in answer.topic_errors:
        if code not in (CREATED, EXISTS):
            raise Misconfigured(f"topic {name}: {for_code(code).__name__}")
        if code == CREATED:
            made.append(name)
    return made
