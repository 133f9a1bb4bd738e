"""Addresses, ports and processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from lab.stack import follow, wire
from lab.stack.process import Process, launch, living


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("127.0.0.1:9092", ("127.0.0.1", 9092)),
        ("kafka-1:19092,kafka-2:19092", ("kafka-1", 19092)),
        ("kafka", ("kafka", 9092)),
        ("postgresql://me:p%40ss@db.internal:6543/billing", ("db.internal", 6543)),
        ("postgresql://postgres@localhost/postgres", ("localhost", 5432)),
        ("[::1]:9092", ("::1", 9092)),
    ],
)
def test_the_place_an_address_names(address: str, place: tuple[str, int]) -> None:
    assert wire.place(address) == place


def test_free_ports_are_free_different_and_outside_the_range_clients_dial_from() -> None:
    ports = wire.free_ports(20)
    assert len(set(ports)) == 20
    assert all(wire.is_free(port) for port in ports)
    assert max(ports) < 32768


def test_a_port_that_is_listened_on_is_not_free() -> None:
    with socket.create_server((wire.LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert wire._take(2, [port, 20001, 20002]) == [20001, 20002]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x00\x01", b"E57P03"])
def test_a_listener_that_speaks_otherwise_is_not_taken_for_a_server(answer: bytes) -> None:
    speaker = subprocess.Popen(["python3", "-c", SPEAKER, answer.hex()], stdout=subprocess.PIPE, text=True)
    assert speaker.stdout
    with speaker.stdout:
        port = int(speaker.stdout.readline())
        assert not wire.postgres_answers(wire.LOOPBACK, port, 1)
        assert not wire.kafka_answers(wire.LOOPBACK, port, timeout_seconds=1)
    speaker.kill()
    speaker.wait()


SPEAKER = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    line, _ = server.accept()
    line.recv(1000)
    line.sendall(bytes.fromhex(sys.argv[1]))
    line.close()
"""


def test_a_process_is_known_by_more_than_its_pid() -> None:
    me = Process.of(os.getpid())
    assert me
    assert me.alive()
    assert not Process(me.pid, "in another life").alive()
    Process(me.pid, "in another life").send(signal.SIGKILL)  # or this test would end here


def test_a_process_that_ignores_its_signal_is_killed_and_that_is_told(tmp_path: Path) -> None:
    deaf = launch(
        ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"],
        log=tmp_path / "log",
        record=tmp_path / "record",
    )
    try:
        assert living(tmp_path / "record") == deaf
        assert "deaf" in next(follow.lines([tmp_path / "log"], last=1, forever=True))
        assert deaf.end(signal.SIGTERM, within_seconds=0.2) is False
        assert living(tmp_path / "record") is None
    finally:
        deaf.send(signal.SIGKILL)


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen(["sleep", "300"])
    process = Process.of(child.pid)
    assert process
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and left unburied
    assert not process.alive()
    child.wait()


def test_the_end_of_several_logs_and_then_what_is_added(tmp_path: Path) -> None:
    one, two, absent = tmp_path / "one.log", tmp_path / "two.log", tmp_path / "absent.log"
    one.write_text("a\nb\nc\n")
    two.write_text("x\ny\nunfinished")
    lines = follow.lines([one, two, absent], last=2, forever=True)
    assert [next(lines) for _ in range(4)] == ["one | b", "one | c", "two | x", "two | y"]
    two.write_text("x\ny\nunfinished, now whole\n")
    assert next(lines) == "two | unfinished, now whole"
    one.write_text("anew\n")
    assert next(lines) == "one | anew"
