"""Settings of the webhook edge; which endpoints it has is in a file of its own: `ingest.endpoints`."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from millrace.settings import ServiceSettings


class Settings(ServiceSettings):
    """INGEST_…: how the edge listens and what it puts up with."""

    model_config = SettingsConfigDict(env_prefix="INGEST_", frozen=True, extra="ignore")

    endpoints: Path = Field(description="YAML file of the endpoints")
    keys: str = Field(description="where the key-encryption keys are: files:/path/of/the/folder")
    sealing: Path = Field(description="YAML file that says which fields are personal: schemas/sealing.yaml")
    data_keys_max: int = Field(default=20_000, gt=0, description="customers' keys kept in memory")
    host: str = Field(default="127.0.0.1", description="address to listen on; pods say 0.0.0.0")
    port: int = Field(default=8080, description="0 takes a free one and logs it")
    port_shared: bool = Field(
        default=False, description="several processes of one machine take turns on the port"
    )
    gateways: list[IPv4Network | IPv6Network] = Field(
        default=[],
        description="whose X-Forwarded-For is believed, where endpoints name networks; a JSON list",
    )
    connections_max: int = Field(default=4096, gt=0, description="beyond it the stalest makes room")
    idle_seconds_max: float = Field(
        default=75.0, gt=0, description="longer than the gateway's, so that it is never us who hangs up"
    )
    head_seconds_max: float = Field(default=10.0, gt=0, description="a slower head is answered 408")
    body_bytes_max: int = Field(default=2**20, description="a larger body is answered 413")
    body_seconds_max: float = Field(default=10.0, description="a slower body is answered 408")
    queue_events_max: int = Field(default=2000, description="waiting for a commit; beyond it 503")
    queue_bytes_max: int = Field(default=64 * 2**20, description="of bodies waiting; beyond it 503")
    commit_seconds_max: float = Field(default=8.0, description="an event not committed by then gets 503")
