"""What is taken, in which order: an address that was given, Docker, native."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.stack import StackError, docker, kafka, manage, postgres, records, wire

UNHEARD: list[str] = []  # what is said, to nobody


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in manage.GIVEN.values():
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server((wire.LOOPBACK, 0)) as server:
        yield f"{wire.LOOPBACK}:{server.getsockname()[1]}"


def engine(script: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called docker in front of all others, and the list of what it was asked."""
    program, asked = path / "docker", path / "asked"
    program.write_text(f'#!/bin/sh\necho "$MILLRACE_KAFKA_PORT $@" >> {asked}\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(path), prepend=os.pathsep)
    return asked


@pytest.mark.parametrize(
    ("script", "answers"),
    [
        pytest.param("exit 0", True, id="an engine"),
        pytest.param("exit 1", False, id="a client without an engine"),
        pytest.param('[ "$1" = info ]', False, id="an engine without compose"),
        pytest.param("exec sleep 30", False, id="an engine that hangs"),
    ],
)
def test_docker_is_taken_only_when_it_answers_in_time(
    script: str, answers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(script, tmp_path, monkeypatch)
    monkeypatch.setattr(docker, "ENGINE_SECONDS", 0.5)
    assert docker.engine_answers() is answers


@pytest.mark.parametrize(
    ("name", "brokers", "native", "taken"),
    [
        ("postgres", 1, False, docker.Service),
        ("kafka", 1, False, docker.Service),
        ("postgres", 3, False, docker.Service),
        ("kafka", 3, False, kafka.Cluster),  # compose.yaml has one broker
        ("postgres", 1, True, postgres.Server),
        ("kafka", 1, True, kafka.Cluster),
    ],
)
def test_docker_comes_before_native_unless_it_cannot_serve(
    name: str, brokers: int, native: bool, taken: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine("exit 0", tmp_path, monkeypatch)
    assert isinstance(manage._choose(tmp_path / "stack", name, brokers, native, UNHEARD.append), taken)


def test_a_folder_keeps_the_way_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records.store(tmp_path / "kafka.json", {"way": "docker", "port": 20001})
    engine("exit 1", tmp_path, monkeypatch)
    [found] = manage.pieces(tmp_path).values()
    assert (found.words, found.address) == ("Docker: apache/kafka:4.3.1", "127.0.0.1:20001")


def test_given_addresses_are_taken_as_they_are(
    listening: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = f"postgresql://me:secret@{listening}/postgres"
    monkeypatch.setenv("MILLRACE_LAB_POSTGRES", dsn)
    monkeypatch.setenv("MILLRACE_LAB_KAFKA", f"{listening},{listening}")
    stack = manage.up(tmp_path, say=pytest.fail)
    assert (stack.postgres, stack.kafka, stack.brokers) == (dsn, f"{listening},{listening}", 2)
    assert stack.taken == {"postgres": "given: MILLRACE_LAB_POSTGRES", "kafka": "given: MILLRACE_LAB_KAFKA"}
    manage.down(tmp_path, wipe=True)
    assert manage.status(tmp_path) == stack  # not ours to stop


def test_a_given_address_where_nothing_answers_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [port] = wire.free_ports(1)
    monkeypatch.setenv("MILLRACE_LAB_POSTGRES", f"postgresql://postgres@127.0.0.1:{port}/postgres")
    monkeypatch.setenv("MILLRACE_LAB_KAFKA", f"127.0.0.1:{port}")
    with pytest.raises(StackError, match=rf"nothing answers at .*:{port}.*MILLRACE_LAB_POSTGRES"):
        manage.up(tmp_path, say=UNHEARD.append)


@pytest.mark.parametrize("brokers", [0, 2, 4, -1])
def test_a_cluster_has_one_broker_or_three(brokers: int, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="one broker or three"):
        manage.up(tmp_path, brokers=brokers, say=UNHEARD.append)


def test_servers_that_are_not_ours_are_not_ours_to_kill(tmp_path: Path) -> None:
    records.store(tmp_path / "kafka.json", {"way": "docker", "port": 20001})
    with pytest.raises(StackError, match="not ours to stop and start"):
        kafka.Cluster.at(tmp_path)
    with pytest.raises(StackError, match="not ours to stop and start"):
        postgres.Server.at(tmp_path)


def test_compose_is_asked_for_one_service_on_our_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = engine("exit 0", tmp_path, monkeypatch)
    service = docker.Service(tmp_path, "kafka", 20001)
    service.stop()
    service.wipe()
    stop, remove, volume = asked.read_text().splitlines()
    assert stop.startswith("20001 compose --project-name=millrace-")
    assert stop.endswith("compose.yaml stop kafka")
    assert remove.endswith("rm --stop --force kafka")
    assert volume.startswith("20001 volume rm --force millrace-")
    assert volume.endswith("_kafka")


def test_a_failure_of_compose_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine("echo no space left >&2; exit 1", tmp_path, monkeypatch)
    with pytest.raises(StackError, match="no space left"):
        docker.Service(tmp_path, "kafka", 20001).start(UNHEARD.append)


@pytest.mark.parametrize("content", ["{", "[]", "null", "\x00"])
def test_a_broken_record_is_named_and_not_taken_for_nothing(content: str, tmp_path: Path) -> None:
    """Taking it for nothing would start a second server and forget the first."""
    (tmp_path / "kafka.json").write_text(content)
    with pytest.raises(StackError, match=r"kafka\.json"):
        manage.status(tmp_path)
