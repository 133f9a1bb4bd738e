"""Dunning's settings, from the environment: DUNNING_DATABASE, DUNNING_KAFKA, DUNNING_POLICIES, …"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from millrace.settings import ServiceSettings


class Settings(ServiceSettings):
    """What the dunning process needs to know."""

    model_config = SettingsConfigDict(env_prefix="DUNNING_", frozen=True, extra="ignore")

    policies: Path = Field(description="YAML file of the policies; read again when it changes")
    timer_seconds: float = Field(
        default=1.0, gt=0, description="how often due timers are looked for; the latest a restriction may be"
    )
