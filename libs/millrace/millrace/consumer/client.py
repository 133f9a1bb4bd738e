"""The Kafka client, and all that we know of its insides.

Defaults that are wrong for us are set here: `read_committed`, no reset of lost offsets, manual commit, static
membership with a session longer than a restart. What the client cannot do by its own interface, be closed in the
middle of a rebalance and say whether anybody has heard of it, is done here too, and nowhere else.
Source: facts measured against Kafka 4.3.1 with aiokafka 0.14; read in its source.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

log = logging.getLogger("millrace.consumer")

CLOSE_SECONDS = 5.0  # for leaving Kafka; the pod's grace is longer than two of them
HEARTBEAT_SECONDS = 3.0
POLL_SECONDS_MAX = 300.0  # without a look at Kafka, the client gives up its seat
NONE, REBALANCING, FENCED = 0, 27, 82  # the protocol's codes; the last one is not among the client's
FETCH_BYTES = 16 << 20  # that one broker may send at a time, and the client keeps until they are asked for


def instance(name: str, topics: Iterable[str]) -> str:
    """The name of a seat in the group. With other topics it is another seat: Kafka gives one that comes back its old
    partitions, whatever it subscribes to now. The group waits for the old seat until its session is over.
    """
    return f"{name}-{hashlib.sha256(','.join(sorted(topics)).encode()).hexdigest()[:6]}"


def client(kafka: str, group: str, instance: str, session_seconds: float) -> AIOKafkaConsumer:
    """A consumer that is not started yet."""
    return AIOKafkaConsumer(
        bootstrap_servers=kafka,
        group_id=group,
        group_instance_id=instance,
        isolation_level="read_committed",
        auto_offset_reset="none",
        enable_auto_commit=False,
        session_timeout_ms=int(session_seconds * 1000),
        rebalance_timeout_ms=int(session_seconds * 1000),
        heartbeat_interval_ms=int(min(HEARTBEAT_SECONDS, session_seconds / 6) * 1000),
        max_poll_interval_ms=int(POLL_SECONDS_MAX * 1000),
        fetch_max_wait_ms=100,
        fetch_max_bytes=FETCH_BYTES,
    )


async def started(kafka: AIOKafkaConsumer) -> None:
    """Connect, waiting for a broker as long as it takes."""
    while True:
        try:
            await kafka.start()
            return
        except KafkaError as problem:
            log.warning("no broker yet", extra={"why": type(problem).__name__})
            await asyncio.sleep(1.0)


def listen(kafka: AIOKafkaConsumer, heard: Callable[[bool], None]) -> None:
    """Call `heard` for every answer of the group's coordinator that knows this member: whether it keeps its seat.

    The client itself takes a seat that was given away for an unknown error, and asks again for ever.
    """
    coordinator: Any = kafka._coordinator
    send = coordinator._send_req

    async def noticed(request: Any) -> Any:
        response = await send(request)
        code = getattr(response, "error_code", None)
        if code in (NONE, REBALANCING, FENCED):
            heard(code != FENCED)
        return response

    coordinator._send_req = noticed


def dead(kafka: AIOKafkaConsumer) -> str:
    """'' while the client's own tasks live, without which it would never say another word."""
    for name, task in (
        ("coordination", kafka._coordinator._coordination_task),
        ("fetching", kafka._fetcher._fetch_task),
    ):
        if task.done():
            return f"the client's {name} has ended"
    return ""


def seat_of(kafka: AIOKafkaConsumer) -> str:
    """The name that the coordinator gave this member when it took its seat; a new one whenever it lost it."""
    return str(kafka._coordinator.member_id)


def polled(kafka: AIOKafkaConsumer, tp: TopicPartition) -> int:
    """When (ms) a broker last answered for this partition; 0 never. Unread records count as an answer still to come."""
    return int(kafka.last_poll_timestamp(tp) or 0)


def unread(kafka: AIOKafkaConsumer, tp: TopicPartition) -> bool:
    """Whether the client holds records of this partition, and so asks for no more."""
    return tp in kafka._fetcher._records


def fetchable(kafka: AIOKafkaConsumer) -> set[TopicPartition]:
    """The partitions that the client should be hearing of."""
    assigned: Collection[TopicPartition] = kafka.assignment()
    return set(assigned) - set(kafka.paused())


def position(kafka: AIOKafkaConsumer, tp: TopicPartition) -> int | None:
    """The offset that will be fetched next; None before that is known."""
    state = kafka._subscription.subscription.assignment.state_value(tp)
    return int(state.position) if state and state.has_valid_position else None


async def committed(
    kafka: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """The group's offsets of these partitions, in one request; those that have none are left out."""
    found = await kafka._coordinator.fetch_committed_offsets(list(partitions))
    return {tp: offset.offset for tp, offset in found.items() if offset.offset >= 0}


async def closed(kafka: AIOKafkaConsumer) -> None:
    """Close without leaving the group, so that a restart finds its seat.

    In the middle of a rebalance the client would wait for the other members, minutes if need be. Then its
    own wait is cancelled, and the rest of its closing is done here, in its order.
    """
    stopping = asyncio.create_task(kafka.stop())
    if not (await asyncio.wait([stopping], timeout=CLOSE_SECONDS))[1]:
        return
    group = kafka._coordinator
    group._coordination_task.cancel()
    await asyncio.wait([stopping])
    await group._stop_heartbeat_task()
    await group._stop_commit_offsets_refresh_task()
    await kafka._fetcher.close()
    await kafka._client.close()
