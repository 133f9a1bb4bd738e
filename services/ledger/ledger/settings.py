"""The ledger's settings: LEDGER_DATABASE, LEDGER_KAFKA, LEDGER_INSTANCE, …"""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from millrace.settings import ServiceSettings


class Settings(ServiceSettings):
    """What a ledger process needs to know."""

    model_config = SettingsConfigDict(env_prefix="LEDGER_", frozen=True, extra="ignore")

    months_ahead: int = Field(default=2, ge=1, description="month partitions kept ready beyond this month")
