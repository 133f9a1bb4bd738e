"""What the entitlement process needs to know; variables are named ENTITLEMENT_…"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from millrace.settings import ServiceSettings


class Settings(ServiceSettings):
    """Read once, in `__main__`."""

    model_config = SettingsConfigDict(env_prefix="ENTITLEMENT_", frozen=True, extra="ignore")

    catalog: Path = Field(description="YAML file of plans and features; watched, a valid change takes effect")
    http_host: str = Field(default="127.0.0.1", description="address of the access API")
    http_port: int = Field(default=8081, description="port of the access API; 0 takes a free one")
