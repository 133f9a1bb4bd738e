"""The relay's settings: RELAY_DATABASE, RELAY_KAFKA, …"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from millrace.settings import ServiceSettings
from millrace.topics import RELAY_CURSOR
from outbox_relay.domain.lane import Lane, lanes
from outbox_relay.domain.page import Rules

NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")


class Settings(ServiceSettings):
    """A DSN is that of the millrace_outbox role, past any pooler: a session lock needs a session."""

    model_config = SettingsConfigDict(env_prefix="RELAY_", frozen=True, extra="ignore")

    database: SecretStr = Field(default=SecretStr(""), description="DSN of the only outbox; its name is main")
    databases: dict[str, SecretStr] = Field(
        default={}, validate_default=True, description='DSNs of several: {"main": "postgresql://…", …}'
    )
    shards: int = Field(
        default=1, ge=1, le=1024,
        description="lanes of each outbox; divides the partitions of every topic, changed by `relay reshard`",
    )  # fmt: skip
    lanes: str = Field(
        default="", validate_default=True, description="of these, comma-separated (main.0of2); empty: all"
    )
    client: Literal["aiokafka", "confluent"] = Field(default="aiokafka", description="the Kafka client")
    publish: Literal["transactional", "idempotent"] = Field(
        default="transactional", description="idempotent: one round trip less, and after a crash a page twice"
    )
    cursor_topic: str = Field(
        default=RELAY_CURSOR,
        description="one partition, compacted; lanes other than main append their names to it",
    )
    page_rows: int = Field(default=2000, gt=0, description="rows in one transaction; 500 to 5000 are alike")
    page_bytes: int = Field(default=8 << 20, gt=0, description="bytes in one transaction: bounds our memory")
    record_bytes: int = Field(
        default=1_000_000, gt=0, description="largest record; below the topics' max.message.bytes (1,048,588)"
    )
    claim_bytes: int = Field(
        default=512 << 10, gt=0, description="larger payloads stay here; their records carry a claim check"
    )
    claim_bytes_max: int = Field(default=64 << 20, gt=0, description="still larger ones are parked")
    block_key: str = Field(
        default="", description="topics, comma-separated, where a parked row holds up its key; others skip it"
    )
    quarantine_max: int = Field(
        default=10_000, ge=0, description="parked rows above which the relay holds: one mistake made them all"
    )
    topic_seconds: float = Field(
        default=30, ge=0, description="an unknown topic is waited for so long before its rows are parked"
    )
    days_ahead: int = Field(
        default=7, ge=1, description="days for which the outbox has partitions made ahead"
    )
    poll_seconds: float = Field(
        default=0.005, gt=0, description="first wait after an empty page; doubles up to idle"
    )
    idle_seconds: float = Field(
        default=0.2, gt=0, description="longest wait between two looks at a quiet outbox"
    )
    deadline_seconds: float = Field(default=10, gt=0, description="for each step towards Kafka")
    transaction_seconds: float = Field(
        default=15,
        gt=0,
        description="after which the broker aborts a transaction left open; readers wait that long",
    )
    read_seconds: float = Field(
        default=60,
        gt=0,
        description="for one page; the first after a long outage reads its whole backlog's index",
    )
    lease_seconds: float = Field(
        default=15, gt=1, description="PostgreSQL ends a leader's session that was silent for so long"
    )
    heartbeat_seconds: float = Field(
        default=5,
        gt=0,
        description="a row of our own goes the whole way so often; an idle cursor is committed",
    )
    retry_seconds: float = Field(
        default=5, gt=0, description="between tries of a row that cannot be published"
    )
    stalled_seconds: float = Field(default=30, gt=0, description="without progress for so long: not ready")

    @field_validator("databases")
    @classmethod
    def _one_way_or_the_other(
        cls, several: dict[str, SecretStr], info: ValidationInfo
    ) -> dict[str, SecretStr]:
        one = info.data.get("database", SecretStr("")).get_secret_value()
        if bool(one) == bool(several):
            raise ValueError("set RELAY_DATABASE for one outbox, or RELAY_DATABASES for several")
        if wrong := [name for name in several if not NAME.fullmatch(name)]:
            raise ValueError(f"a name is lower-case letters, digits, _ and -, not {wrong[0]!r}")
        return several

    @field_validator("lanes")
    @classmethod
    def _lanes_that_are(cls, names: str, info: ValidationInfo) -> str:
        known = [str(lane) for lane in _lanes(info.data.get("databases"), info.data.get("shards", 1))]
        if wrong := [name for name in split(names) if name not in known]:
            raise ValueError(f"no lane {wrong[0]!r}; there are {', '.join(known)}")
        return names

    @field_validator("publish")
    @classmethod
    def _a_client_that_can(cls, mode: str, info: ValidationInfo) -> str:
        if mode == "idempotent" and info.data.get("client") == "confluent":
            raise ValueError("idempotent is published through RELAY_CLIENT=aiokafka only")
        return mode

    @property
    def outboxes(self) -> Mapping[str, SecretStr]:
        """Each outbox's DSN by its name."""
        return self.databases or {"main": self.database}

    @property
    def rules(self) -> Rules:
        """What may go to Kafka, and how."""
        return Rules(
            record_bytes=self.record_bytes,
            claim_bytes=self.claim_bytes,
            claim_bytes_max=self.claim_bytes_max,
            block=frozenset(split(self.block_key)),
            parked_max=self.quarantine_max,
            topic_seconds=self.topic_seconds,
        )

    @property
    def to_lead(self) -> tuple[Lane, ...]:
        """The lanes that this process leads or stands by for."""
        wanted = split(self.lanes)
        every = _lanes(self.databases, self.shards)
        return tuple(lane for lane in every if not wanted or str(lane) in wanted)


def split(names: str) -> tuple[str, ...]:
    """What a comma-separated setting names."""
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _lanes(databases: Mapping[str, SecretStr] | None, shards: int) -> tuple[Lane, ...]:
    return tuple(lane for name in databases or ("main",) for lane in lanes(name, shards))
