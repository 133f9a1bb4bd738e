"""Becoming the only producer of a lane whose cursor topic may have been made a moment ago."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from aiokafka.errors import KafkaError, NotLeaderForPartitionError, UnknownTopicOrPartitionError

from outbox_relay.commands import office
from outbox_relay.commands.office import ASKED, Refused
from outbox_relay.domain.cursor import Cursor
from outbox_relay.publisher import Publisher


class Fences:
    """A publisher, as far as fencing goes: what Kafka answers, one after another."""

    def __init__(self, *answers: type[KafkaError] | None) -> None:
        self.answers: Iterator[type[KafkaError] | None] = iter(answers)

    async def fence(self) -> Cursor | None:
        if refused := next(self.answers):
            raise refused
        return None


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "AGAIN_SECONDS", 0.0)


async def test_a_topic_that_is_not_known_to_everybody_yet_is_asked_for_again() -> None:
    kafka = Fences(UnknownTopicOrPartitionError, NotLeaderForPartitionError, None)
    assert await office._fence(cast(Publisher, kafka), "cursor") is None


async def test_one_that_stays_unknown_is_refused_with_what_to_do() -> None:
    kafka = Fences(*[UnknownTopicOrPartitionError] * ASKED)
    with pytest.raises(Refused, match=r"cursor does not exist.* make it, with one partition"):
        await office._fence(cast(Publisher, kafka), "cursor")
