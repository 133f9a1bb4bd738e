"""The relay's settings: RELAY_DATABASE, RELAY_KAFKA, …"""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from millrace.settings import ServiceSettings
from millrace.topics import RELAY_CURSOR


class Settings(ServiceSettings):
    """`database` is the DSN of the millrace_outbox role, past any pooler: a session lock needs a session."""

    model_config = SettingsConfigDict(env_prefix="RELAY_", frozen=True, extra="ignore")

    cursor_topic: str = Field(
        default=RELAY_CURSOR,
        description="one partition, compacted, one for each outbox; also names the producer",
    )
    page_rows: int = Field(default=2000, gt=0, description="rows in one transaction; 500 to 5000 are alike")
    page_bytes: int = Field(default=8 << 20, gt=0, description="bytes in one transaction: bounds our memory")
    record_bytes: int = Field(
        default=1_000_000, gt=0, description="largest row; below the topics' max.message.bytes (1,048,588)"
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
    heartbeat_seconds: float = Field(default=5, gt=0, description="an idle relay commits its cursor so often")
    retry_seconds: float = Field(
        default=5, gt=0, description="between tries of a row that cannot be published"
    )
    stalled_seconds: float = Field(default=30, gt=0, description="without progress for so long: not ready")
    adopt: str = Field(
        default="",
        description="'continue:IDENTITY' or 'republish:IDENTITY', for one start after the database moved",
    )
