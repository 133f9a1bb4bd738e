"""What the loop decides without Kafka: how much to take, how long to rest, how far behind and when deaf it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from prometheus_client import REGISTRY

from millrace.consumer import Consumer, Deaf, client
from millrace.consumer.lag import Lag
from millrace.consumer.pace import RETRY_SECONDS_MAX, Pace, Rests
from millrace.consumer.watch import Watch
from tests.support import tally

TP = TopicPartition("stripe.billing", 0)


class Heard:
    """What the client would say of its partitions, and a clock that is turned by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.answered, self.holds, self.over = 0.0, 0, False, ""
        monkeypatch.setattr(client, "fetchable", lambda _: {TP})
        monkeypatch.setattr(client, "polled", lambda _, tp: self.answered)
        monkeypatch.setattr(client, "unread", lambda _, tp: self.holds)
        monkeypatch.setattr(client, "dead", lambda _: self.over)
        kafka: Any = SimpleNamespace()
        self.watch = Watch(kafka, "tally", deaf_seconds=10, batch_seconds=20, clock=lambda: self.at)

    def pass_(self, seconds: int, *, group: bool = False, partition: bool = False) -> None:
        for _ in range(seconds):
            self.at += 1
            if group:
                self.watch.heard()
            self.answered += partition
            self.watch.look()


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    return Heard(monkeypatch)


def test_an_idle_consumer_that_hears_its_group_and_its_partitions_is_not_deaf(heard: Heard) -> None:
    heard.pass_(100, group=True, partition=True)
    assert heard.watch.silence() <= 1


def test_without_a_heartbeat_it_ends(heard: Heard) -> None:
    heard.watch.refused = "GroupAuthorizationFailedError"
    with pytest.raises(
        Deaf, match=r"the group's coordinator has not been heard .* GroupAuthorizationFailedError"
    ):
        heard.pass_(12, partition=True)


def test_with_heartbeats_and_no_answer_from_a_partition_it_ends(heard: Heard) -> None:
    with pytest.raises(Deaf, match=r"the leader of stripe\.billing/0 has not been heard"):
        heard.pass_(13, group=True)


def test_a_partition_whose_records_wait_for_us_is_not_silent(heard: Heard) -> None:
    heard.holds = True
    heard.pass_(100, group=True)


def test_to_have_been_stopped_itself_is_not_the_silence_of_others(heard: Heard) -> None:
    heard.at += 3600
    heard.watch.look()
    heard.pass_(5, group=True, partition=True)


def test_a_batch_that_never_ends_ends_the_process(heard: Heard) -> None:
    heard.watch.began()
    with pytest.raises(Deaf, match="a batch has not ended for 21 s"):
        heard.pass_(30, group=True, partition=True)


def test_a_batch_that_ended_is_forgotten(heard: Heard) -> None:
    heard.watch.began()
    heard.pass_(10, group=True, partition=True)
    heard.watch.ended()
    heard.pass_(30, group=True, partition=True)


def test_a_task_of_the_client_that_has_ended_ends_the_process_at_once(heard: Heard) -> None:
    heard.over = "the client's fetching has ended"
    with pytest.raises(Deaf, match="fetching has ended"):
        heard.pass_(1, group=True, partition=True)


PACES = """
records  seconds | next
500      0.5     | 500
500      4.0     | 250
250      2.5     | 200
200      1.0     | 400
400      1.0     | 500
500      2000.0  | 1
1        9.0     | 1
"""


def test_a_slow_batch_makes_the_next_one_smaller_and_quick_ones_larger_again() -> None:
    pace = Pace(500, 2.0)
    for line in PACES.strip().splitlines()[1:]:
        records, seconds, _, wanted = line.split()
        pace.took(int(records), float(seconds))
        assert pace.records == int(wanted), line


def test_a_partition_rests_longer_each_time_up_to_a_bound() -> None:
    rest = Rests()
    assert [rest.again(1.0) for _ in range(7)] == [1, 2, 4, 8, 16, RETRY_SECONDS_MAX, RETRY_SECONDS_MAX]


LAGS = """
why                                     end  undecided  position  | records  seconds
caught up, past the last marker         101  -          101       | 0        0
fetched and not decided                 200  150@40     200       | 50       60
paused with nothing fetched, just seen  300  -          200       | 100      0
"""


@pytest.mark.parametrize("line", LAGS.strip().splitlines()[1:])
def test_lag(line: str) -> None:
    end, undecided, position, _, records, seconds = line[40:].split()
    first = (
        {TP: (int(undecided.split("@")[0]), int(undecided.split("@")[1]) * 1000)} if "@" in undecided else {}
    )
    name = f"lag-{line[:20]}"
    Lag(name).measure({TP: int(end)}, first, {TP: int(position)}, 100_000)
    assert _said("millrace_consumer_lag_records", consumer=name, topic=TP.topic, partition="0") == int(
        records
    )
    assert _said("millrace_consumer_lag_seconds", consumer=name) == int(seconds)


def test_lag_grows_while_nothing_is_fetched_and_goes_with_the_partition() -> None:
    lag = Lag("growing")
    for now in (100_000, 130_000):
        lag.measure({TP: 300}, {}, {TP: 200}, now)
    assert _said("millrace_consumer_lag_seconds", consumer="growing") == 30
    lag.measure({}, {}, {}, 140_000)
    assert _said("millrace_consumer_lag_seconds", consumer="growing") == 0
    assert _said("millrace_consumer_lag_records", consumer="growing", topic=TP.topic, partition="0") is None


def _said(metric: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(metric, labels)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"topics": "stripe.billing"}, "topics is a list"),
        ({"deaf_seconds": 45}, "longer than session_seconds, 45"),
    ],
)
async def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any], says: str) -> None:
    pool: Any = None
    with pytest.raises(ValueError, match=says):
        Consumer(
            tally.fold(), **{"topics": ["stripe.billing"], "pool": pool, "kafka": "127.0.0.1:9092", **wrong}
        )
