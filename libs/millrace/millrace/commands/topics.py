"""`millrace topics`: what travels where."""

from __future__ import annotations

from millrace.commands import show
from millrace.commands.running import Json
from millrace.topics import TOPICS, Topic


def list_topics(json: Json = False) -> None:
    """Every topic: what travels on it, and how long it stays.

    Example: millrace topics --json | jq '.[].name'
    """
    if json:
        show.as_json([_described(topic) for topic in TOPICS])
        return
    rows = [(t.name, t.writer, _keeps(t), str(t.partitions or "default"), t.content) for t in TOPICS]
    show.table("", ["!topic", "whose events", "keeps", "partitions", "content"], rows)


def _described(topic: Topic) -> dict[str, object]:
    return {
        "name": topic.name,
        "content": topic.content,
        "writer": topic.writer,
        "private": topic.private,
        "policy": topic.policy,
        "retention_days": topic.retention_days if topic.policy == "delete" else None,
        "partitions": topic.partitions,
        "config": topic.config(),
    }


def _keeps(topic: Topic) -> str:
    return "the newest of each key" if topic.policy == "compact" else f"{topic.retention_days} days"
