"""Where the commands look: MILLRACE_…, from the environment or from `.millrace/env` in this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from millrace.errors import Misconfigured
from millrace.topics import RELAY_CURSOR
from outbox_relay.commands import Lane, lanes

ENV_FILE = Path(".millrace/env")  # written by the demo, so that its data can be looked at afterwards


class Settings(BaseSettings):
    """What an operator's command needs to know."""

    model_config = SettingsConfigDict(
        env_prefix="MILLRACE_", env_file=ENV_FILE, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    database: SecretStr = Field(description="DSN of a role that owns or may read every service's schema")
    kafka: str = Field(default="127.0.0.1:9092", description="bootstrap servers, host:port[,host:port]")
    relay_shards: int = Field(
        default=1, gt=0, description="how many lanes the relay is divided into: its own RELAY_SHARDS"
    )
    relay_cursor_topic: str = Field(
        default=RELAY_CURSOR,
        description="what the relay's cursor topics are named after: its RELAY_CURSOR_TOPIC",
    )
    clock: str = Field(default="system", description="'system' or 'file:PATH', the clock the services use")
    webhook: str = Field(
        default="http://127.0.0.1:8080/webhooks/stripe/main", description="where `send` delivers to"
    )
    webhook_secret: SecretStr = Field(default=SecretStr(""), description="the endpoint's whsec_…, for `send`")
    keys: str = Field(
        default="", description="'files:FOLDER' of the key-encryption keys; only what seals or opens needs it"
    )
    sealing: Path = Field(
        default=Path("schemas/sealing.yaml"), description="the policy of personal fields, for `import`"
    )
    catalog: Path | None = Field(
        default=None, description="entitlement's ENTITLEMENT_CATALOG, for `replay entitlement`"
    )
    policies: Path | None = Field(
        default=None, description="dunning's DUNNING_POLICIES, for `replay dunning`"
    )

    @property
    def relay_lanes(self) -> tuple[Lane, ...]:
        """The lanes of the one outbox that the commands look at; the relay calls it main."""
        return lanes("main", self.relay_shards)

    @classmethod
    def read(cls) -> Self:
        """From the environment. Raises Misconfigured, naming the variable that is missing or wrong."""
        try:
            return cls()
        except ValidationError as problem:
            wrong = [
                f"MILLRACE_{'_'.join(map(str, e['loc']))}".upper() + f": {e['msg']}" for e in problem.errors()
            ]
            raise Misconfigured(
                f"{'; '.join(wrong)}. Set it, or run `make demo`, which writes {ENV_FILE}"
            ) from None
