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
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import yaml
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from ingest.domain import Endpoint
from millrace.errors import Misconfigured
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


FIELDS = {"account", "livemode", "api_version", "secrets"}
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def read_endpoints(path: Path) -> dict[str, Endpoint]:
    """The endpoints in a file, by name. Raises Misconfigured with file, line and what to write instead."""
    try:
        root = yaml.compose(path.read_text(), Loader=yaml.SafeLoader)
    except OSError as problem:
        raise Misconfigured(f"{path}: cannot be read ({problem.strerror}); set INGEST_ENDPOINTS") from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        mark = getattr(problem, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise Misconfigured(f"{path}:{line}: is not YAML; check indentation and quotes") from None
    if root is None:
        raise Misconfigured(f"{path}:1: is empty; name at least one endpoint")
    return _Reader(path).endpoints(root)


class _Reader:
    """Walks the nodes of the file, which still know their lines."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def endpoints(self, root: yaml.Node) -> dict[str, Endpoint]:
        pairs = list(self._pairs(root, "the file"))
        if not pairs:
            self._wrong(
                root, "names no endpoint", "write `name:` with account, livemode and secrets below it"
            )
        return {name: self._endpoint(key, name, value) for key, name, value in pairs}

    def _endpoint(self, key: yaml.Node, name: str, node: yaml.Node) -> Endpoint:
        if not NAME.fullmatch(name):
            self._wrong(key, f"endpoint name {name!r} does not fit in a URL", "use letters, digits, - and _")
        fields = {field: value for _, field, value in self._known(node, name)}
        for missing in sorted(FIELDS - {"api_version"} - set(fields)):
            self._wrong(key, f"endpoint {name} has no {missing}", f"add `{missing}:` below it")
        return Endpoint(
            name=name,
            account=self._account(fields["account"]),
            livemode=self._flag(fields["livemode"]),
            api_version=self._text(fields["api_version"]) if "api_version" in fields else "",
            secrets=tuple(self._secrets(fields["secrets"])),
        )

    def _known(self, node: yaml.Node, name: str) -> Iterator[tuple[yaml.Node, str, yaml.Node]]:
        for key, field, value in self._pairs(node, f"endpoint {name}"):
            if field not in FIELDS:
                self._wrong(key, f"unknown field {field!r}", f"one of {', '.join(sorted(FIELDS))}")
            yield key, field, value

    def _pairs(self, node: yaml.Node, what: str) -> Iterator[tuple[yaml.Node, str, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, f"{what} is not a mapping", "write `key: value` lines")
        seen = set()
        for key, value in node.value:
            if (name := self._text(key)) in seen:
                self._wrong(key, f"{name!r} is there twice", "remove one")
            seen.add(name)
            yield key, name, value

    def _text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            self._wrong(node, "expected a text", "write one value on this line")
        return str(node.value)

    def _account(self, node: yaml.Node) -> str:
        account = self._text(node)
        if not account.startswith("acct_") or not NAME.fullmatch(account):
            self._wrong(node, f"{account!r} is not a Stripe account", "write the id that begins with acct_")
        return account

    def _flag(self, node: yaml.Node) -> bool:
        if node.tag != "tag:yaml.org,2002:bool":
            self._wrong(node, "livemode is not true or false", "false for test mode and sandboxes")
        return str(node.value).lower() in ("true", "yes", "on")

    def _secrets(self, node: yaml.Node) -> Iterator[bytes]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self._wrong(node, "secrets is not a list", "write `- env: NAME` or `- file: path` below it")
        for entry in node.value:
            pairs = [(kind, value) for _, kind, value in self._pairs(entry, "a secret")]
            if len(pairs) != 1 or pairs[0][0] not in ("env", "file"):
                self._wrong(
                    entry, "a secret is not one of env, file", "write `- env: NAME` or `- file: path`"
                )
            yield self._secret(*pairs[0])

    def _secret(self, kind: str, node: yaml.Node) -> bytes:
        where = self._text(node)
        try:
            found = os.environ.get(where, "") if kind == "env" else Path(where).read_text()
        except (OSError, UnicodeDecodeError):
            found = ""
        if not (secret := found.strip()):
            self._wrong(node, f"{kind} {where} holds no secret", "put the endpoint's whsec_… there")
        return secret.encode()

    def _wrong(self, node: yaml.Node, what: str, fix: str) -> NoReturn:
        raise Misconfigured(f"{self.path}:{node.start_mark.line + 1}: {what}; {fix}")
