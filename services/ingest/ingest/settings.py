"""Settings of the webhook edge, and the file that says which endpoints it has.

# endpoints.yaml
main:                                    # → POST /webhooks/stripe/main
  account: acct_1MillraceDemo
  livemode: true
  api_version: 2026-10-28.endive         # what the endpoint was created with; informational
  secrets:                               # any of them opens the door, so that one can be rolled
    - env: STRIPE_WEBHOOK_SECRET
    - file: /run/secrets/stripe-webhook-previous
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from ingest.domain import Endpoint
from millrace.documents import Node, load
from millrace.settings import ServiceSettings


class Settings(ServiceSettings):
    """INGEST_…: how the edge listens and what it puts up with."""

    model_config = SettingsConfigDict(env_prefix="INGEST_", frozen=True, extra="ignore")

    endpoints: Path = Field(description="YAML file of the endpoints")
    host: str = Field(default="127.0.0.1", description="address to listen on; pods say 0.0.0.0")
    port: int = Field(default=8080, description="0 takes a free one and logs it")
    body_bytes_max: int = Field(default=2**20, description="a larger body is answered 413")
    body_seconds_max: float = Field(default=10.0, description="a slower body is answered 408")
    queue_events_max: int = Field(default=2000, description="waiting for a commit; beyond it 503")
    queue_bytes_max: int = Field(default=64 * 2**20, description="of bodies waiting; beyond it 503")
    commit_seconds_max: float = Field(default=8.0, description="an event not committed by then gets 503")


SECRETS = "`- env: NAME` or `- file: path`"
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # a part of the endpoint's URL


def read_endpoints(path: Path) -> dict[str, Endpoint]:
    """The endpoints in a file, by name. Raises Misconfigured with file, line and what to write instead."""
    document = load(path, "INGEST_ENDPOINTS")
    found = {name: _endpoint(name, node) for name, node in document.entries().items()}
    return found or document.wrong(
        "names no endpoint", "write `name:` with account, livemode and secrets below it"
    )


def _endpoint(name: str, node: Node) -> Endpoint:
    if not NAME.fullmatch(name):
        node.wrong("the name does not fit in a URL", "use letters, digits, - and _")
    fields = node.fields("account", "livemode", "secrets", optional=["api_version"])
    return Endpoint(
        name=name,
        account=_account(fields["account"]),
        livemode=fields["livemode"].flag(),
        api_version=fields.given("api_version", Node.text, ""),
        secrets=tuple(_secret(item) for item in fields["secrets"].items(SECRETS, least=1)),
    )


def _account(node: Node) -> str:
    account = node.text()
    if not account.startswith("acct_") or not NAME.fullmatch(account):
        node.wrong(f"{account!r} is not a Stripe account", "write the id that begins with acct_")
    return account


def _secret(node: Node) -> bytes:
    """The secret itself, from where the file says it is; the file never holds one."""
    places = node.fields(optional=["env", "file"])
    if len(places) != 1:
        node.wrong("is not one of env and file", f"write {SECRETS}")
    (kind, place), *_ = places.items()
    where = place.text()
    try:
        found = os.environ.get(where, "") if kind == "env" else Path(where).read_text()
    except (OSError, ValueError):  # not there, or not text
        found = ""
    return found.strip().encode() or place.wrong(
        f"{where!r} holds no secret", "put the endpoint's whsec_… there"
    )
