"""Members of a consumer group, each a process in a session of its own, run as our services are.

python -m tests.fault.consumer.members        reads one environment a line, as JSON; each is a member's life

To start Python costs more than a life may last here, so this process is started once and forks for each life.
It tells two lines about one: its pid, and with which code it ended (negative: by which signal).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from threading import Lock, Thread
from typing import NoReturn

import orjson
from pydantic_settings import SettingsConfigDict

from millrace import postgres, service
from millrace.consumer import Consumer
from millrace.settings import ServiceSettings
from tests.support import tally

PR_SET_PDEATHSIG = 1
telling = Lock()


class Settings(ServiceSettings):
    """MEMBER_DATABASE, MEMBER_KAFKA, MEMBER_INSTANCE, …"""

    model_config = SettingsConfigDict(env_prefix="MEMBER_", frozen=True, extra="ignore")

    topic: str
    group: str
    session_seconds: float = 6.0
    deaf_seconds: float = 120.0
    seat_seconds: float = 30.0
    batch_max: int = 50


async def app(settings: Settings) -> None:
    async with await postgres.pool(settings.database.get_secret_value(), name=settings.instance) as pool:
        consumer = Consumer(
            tally.fold(),
            topics=[settings.topic],
            pool=pool,
            kafka=settings.kafka,
            instance=settings.instance,
            batch_max=settings.batch_max,
            session_seconds=settings.session_seconds,
            deaf_seconds=settings.deaf_seconds,
            seat_seconds=settings.seat_seconds,
        )
        consumer.name = settings.group  # a group of the test's own
        await service.run(consumer, health_host="127.0.0.1", health_port=settings.health_port)


def live(given: dict[str, str]) -> NoReturn:
    """One member, in the child."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no member outlives the test
    os.setsid()
    log = os.open(given.pop("log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(0)
    os.environ.update(given)
    code = 0
    try:
        service.main(given["MEMBER_INSTANCE"], Settings, app)
    except SystemExit as ended:
        code = int(ended.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def tell(**line: object) -> None:
    with telling:
        sys.stdout.buffer.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()


def outlive(pid: int) -> None:
    tell(ended=pid, code=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def main() -> None:
    for line in sys.stdin.buffer:
        if (pid := os.fork()) == 0:
            live(orjson.loads(line))
        tell(started=pid)
        Thread(target=outlive, args=(pid,), daemon=True).start()


if __name__ == "__main__":
    main()
