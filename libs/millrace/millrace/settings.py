"""Settings: read once from the environment, frozen, each with its unit and its reason.

A service's settings subclass `ServiceSettings` with a prefix of its own: LEDGER_DATABASE, LEDGER_KAFKA, …
Constructors receive plain values; nothing but `__main__` reads these.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from millrace.errors import Misconfigured


class ServiceSettings(BaseSettings):
    """What every process of ours needs to know."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    database: SecretStr = Field(description="DSN of the service's own role")
    kafka: str = Field(default="127.0.0.1:9092", description="bootstrap servers, host:port[,host:port]")
    instance: str = Field(
        default="0", description="stable name of this process: the pod's name in a StatefulSet"
    )
    clock: str = Field(
        default="system", description="'system', or 'file:PATH' for a clock that is turned by hand"
    )
    health_port: int = Field(
        default=0, ge=0, le=65535, description="/livez, /readyz and /metrics; 0 serves none"
    )
    health_host: str = Field(default="0.0.0.0", description="address to serve them on")  # noqa: S104 pods are probed from outside
    log_level: str = Field(
        default="INFO",
        pattern="^(?i:debug|info|warning|error|critical)$",
        description="the least that is logged: debug, info, warning, error or critical",
    )

    @classmethod
    def read(cls) -> Self:
        """From the environment. Raises Misconfigured, naming each variable that is wrong."""
        try:
            return cls()
        except ValidationError as problem:
            prefix = cls.model_config.get("env_prefix", "")
            wrong = (
                f"{prefix}{'_'.join(map(str, e['loc']))}".upper() + f": {e['msg']}"
                for e in problem.errors(include_input=False, include_url=False)
            )
            raise Misconfigured("; ".join(wrong)) from None
        except SettingsError as problem:  # a list or table that is not JSON; names the field, quotes nothing
            raise Misconfigured(str(problem)) from None
