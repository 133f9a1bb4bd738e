"""A setting that is wrong is named, with what to do; and which lanes a process leads."""

from __future__ import annotations

import pytest

from millrace.errors import Misconfigured
from outbox_relay.domain.lane import Lane
from outbox_relay.settings import Settings

TWO = '{"main": "postgresql://a", "billing": "postgresql://b"}'


def read(monkeypatch: pytest.MonkeyPatch, **given: str) -> Settings:
    monkeypatch.delenv("RELAY_DATABASE", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(f"RELAY_{name}", value)
    return Settings.read()


@pytest.mark.parametrize(
    ("given", "lanes"),
    [
        ({"DATABASE": "x"}, ["main"]),
        ({"DATABASE": "x", "SHARDS": "2"}, ["main.0of2", "main.1of2"]),
        ({"DATABASES": TWO}, ["main", "billing"]),
        ({"DATABASES": TWO, "LANES": "billing"}, ["billing"]),
        (
            {"DATABASES": TWO, "SHARDS": "2", "LANES": "main.1of2, billing.0of2"},
            ["main.1of2", "billing.0of2"],
        ),
    ],
)
def test_which_lanes_a_process_leads(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], lanes: list[str]
) -> None:
    settings = read(monkeypatch, **given)
    assert [str(lane) for lane in settings.to_lead] == lanes
    assert {lane.database for lane in settings.to_lead} <= set(settings.outboxes)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {},
            "RELAY_DATABASES: Value error, set RELAY_DATABASE for one outbox, or RELAY_DATABASES for several",
        ),
        (
            {"DATABASE": "x", "DATABASES": TWO},
            "RELAY_DATABASES: Value error, set RELAY_DATABASE for one outbox",
        ),
        ({"DATABASES": '{"Main!": "x"}'}, "RELAY_DATABASES: Value error, a name is lower-case letters"),
        ({"DATABASES": "{"}, "databases"),
        ({"DATABASE": "x", "SHARDS": "0"}, "RELAY_SHARDS: Input should be greater than or equal to 1"),
        ({"DATABASE": "x", "SHARDS": "2", "LANES": "main"}, "no lane 'main'; there are main.0of2, main.1of2"),
        ({"DATABASE": "x", "CLIENT": "kafkajs"}, "RELAY_CLIENT: Input should be 'aiokafka' or 'confluent'"),
        ({"DATABASE": "x", "CLIENT": "confluent", "PUBLISH": "idempotent"}, "RELAY_PUBLISH: Value error, "),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], words: str
) -> None:
    with pytest.raises(Misconfigured) as problem:
        read(monkeypatch, **given)
    assert words in str(problem.value)


def test_no_dsn_is_ever_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "postgresql" not in repr(read(monkeypatch, DATABASES=TWO))
    with pytest.raises(Misconfigured) as problem:
        read(monkeypatch, DATABASES=TWO, SHARDS="x")
    assert "postgresql" not in str(problem.value)


def test_a_lane_is_read_from_its_own_name() -> None:
    for lane in (Lane(), Lane("billing"), Lane("main", 1, 12)):
        assert Lane.parse(str(lane)) == lane
