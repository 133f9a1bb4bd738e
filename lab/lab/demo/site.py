"""Where a demo runs: its folder, database, clock, secret and ports, and the environment of each process."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from lab.stack import Stack
from lab.stack.errors import StackError
from lab.stack.jars import CHECKOUT
from lab.stack.wire import free_ports
from millrace import postgres
from millrace.clock import FileClock
from millrace.errors import Misconfigured
from millrace.sealing import new_key
from operations import kafka
from operations.services import SCHEMAS

COMPANY = CHECKOUT / "lab" / "company"
POLICY = CHECKOUT / "schemas" / "sealing.yaml"
ACCOUNT = "acct_1NorthwindBoards"
DATABASE = "millrace_demo"
PARTITIONS = 6
POLL_SECONDS = 0.05  # how often dunning looks for due timers: the demo's days are short


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A webhook endpoint of the demo: one for each account and mode that its events come from."""

    account: str
    livemode: bool

    @property
    def name(self) -> str:
        return f"{self.account}-{'live' if self.livemode else 'test'}"


@dataclass(frozen=True, slots=True)
class Site:
    """Everything the processes of one demo share."""

    folder: Path
    stack: Stack
    database: str  # the owner's DSN
    clock: FileClock
    secret: str
    ports: Mapping[str, int]

    def url(self, endpoint: Endpoint) -> str:
        return f"http://127.0.0.1:{self.ports['ingest']}/webhooks/stripe/{endpoint.name}"

    @property
    def keys(self) -> str:
        """Where the key-encryption keys are, as a setting."""
        return f"files:{self.folder / 'keys'}"

    def dsn(self, role: str) -> str:
        """The database as one service's role sees it."""
        parts = urlsplit(self.database)
        return urlunsplit(parts._replace(netloc=f"{role}@{parts.hostname}:{parts.port}"))

    def environment(self, service: str) -> dict[str, str]:
        """The settings of one service's process."""
        role = "millrace_outbox" if service == "outbox_relay" else f"millrace_{service}"
        common = {
            "DATABASE": self.dsn(role),
            "KAFKA": self.stack.kafka,
            "CLOCK": f"file:{self.clock.path}",
            "HEALTH_PORT": str(self.ports[f"{service}.health"]),
            "HEALTH_HOST": "127.0.0.1",
        }
        prefix = "RELAY" if service == "outbox_relay" else service.upper()
        return {f"{prefix}_{name}": value for name, value in (common | self._own(service)).items()}

    def _own(self, service: str) -> dict[str, str]:
        own: dict[str, dict[str, str]] = {
            "ingest": {
                "ENDPOINTS": str(self.folder / "endpoints.yaml"),
                "KEYS": self.keys,
                "SEALING": str(POLICY),
                "PORT": str(self.ports["ingest"]),
            },
            "entitlement": {
                "CATALOG": str(COMPANY / "catalog.yaml"),
                "HTTP_PORT": str(self.ports["entitlement"]),
            },
            "dunning": {"POLICIES": str(COMPANY / "dunning.yaml"), "TIMER_SECONDS": str(POLL_SECONDS)},
        }
        return own.get(service, {})


SERVICES = ("ingest", "outbox_relay", "entitlement", "ledger", "dunning")


async def prepare(folder: Path, stack: Stack, endpoints: Iterable[Endpoint], starts: datetime) -> Site:
    """Make the database, the topics and the files that the processes need. Raises StackError, Misconfigured."""
    names = ["ingest", "entitlement", *(f"{service}.health" for service in SERVICES)]
    site = Site(
        folder,
        stack,
        urlunsplit(urlsplit(stack.postgres)._replace(path=f"/{DATABASE}")),
        FileClock(folder / "clock"),
        "whsec_" + secrets.token_hex(16),
        dict(zip(names, free_ports(len(names)), strict=True)),
    )
    site.clock.turn(starts)
    _write_endpoints(site, list(endpoints))
    shutil.rmtree(folder / "keys", ignore_errors=True)
    new_key(folder / "keys")
    await _make_database(stack.postgres)
    for schema in SCHEMAS:
        await postgres.migrate(site.database, schema)
    made = await kafka.create_topics(stack.kafka, partitions=PARTITIONS, replication=1)
    if not made:
        raise StackError("this Kafka holds Millrace's topics already; the demo needs one without them")
    return site


def remember(site: Site, endpoint: Endpoint, file: Path) -> None:
    """Write what the `millrace` command needs to look at this demo afterwards. Only the owner may read it."""
    lines = {
        "MILLRACE_DATABASE": site.database,
        "MILLRACE_KAFKA": site.stack.kafka,
        "MILLRACE_KEYS": site.keys,
        "MILLRACE_CLOCK": f"file:{site.clock.path}",
        "MILLRACE_CATALOG": str(COMPANY / "catalog.yaml"),
        "MILLRACE_POLICIES": str(COMPANY / "dunning.yaml"),
        "MILLRACE_WEBHOOK": site.url(endpoint),
        "MILLRACE_WEBHOOK_SECRET": site.secret,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    _private(file, "".join(f"{name}={value}\n" for name, value in lines.items()))


def _write_endpoints(site: Site, endpoints: list[Endpoint]) -> None:
    _private(site.folder / "webhook-secret", site.secret)
    _private(
        site.folder / "endpoints.yaml",
        "".join(
            f"{e.name}:\n  account: {e.account}\n  livemode: {str(e.livemode).lower()}\n"
            f"  secrets:\n    - file: {site.folder / 'webhook-secret'}\n"
            for e in endpoints
        ),
    )


def _private(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)


async def _make_database(superuser: str) -> None:
    connection = await asyncpg.connect(superuser)
    try:
        if await connection.fetchval("select 1 from pg_database where datname = $1", DATABASE):
            raise Misconfigured(
                f"this PostgreSQL has a database {DATABASE} already; drop it to run the demo here"
            )
        await connection.execute(f"create database {DATABASE}")
    finally:
        await connection.close()
