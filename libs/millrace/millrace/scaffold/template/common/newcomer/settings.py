"""Settings, from the environment: NEWCOMER_DATABASE, …"""

from __future__ import annotations

from millrace.settings import ServiceSettings
from pydantic_settings import SettingsConfigDict


class Settings(ServiceSettings):
    """What the process needs to know; a field of your own has a description with its unit and its reason."""

    model_config = SettingsConfigDict(
        env_prefix="NEWCOMER_",
        frozen=True,
        extra="ignore",
    )
