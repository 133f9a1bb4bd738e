"""The file that says which endpoints there are: read with its secrets, and again when either has changed.

# endpoints.yaml
main:                                    # → POST /webhooks/stripe/main
  account: acct_1MillraceDemo
  livemode: true
  connect: false                         # true: events of connected accounts, each of which names its own
  api_version: 2026-10-28.endive         # what the endpoint was created with; informational
  sources: [webhook]                     # what may come in: webhook, sweep, refresh
  networks: [203.0.113.0/24]             # the addresses that may knock; left out, all may
  secrets:                               # any of them opens the door, so that one can be rolled
    - file: /run/secrets/stripe/main
    - env: STRIPE_WEBHOOK_SECRET_OLD
      not_after: 2026-12-01T00:00:00Z    # from then on it opens nothing
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from ingest.domain import Endpoint, Secret
from ingest.domain.envelope import ACCOUNT, WEBHOOK, Source
from millrace.documents import Node, Watched, beside, load

LOOK_SECONDS = 1.0  # how soon a change is in force; Stripe leaves hours for a rotation
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # a part of the endpoint's URL
SECRETS = "`- env: NAME` or `- file: path`"
NETWORKS = "[203.0.113.0/24]"
OPTIONAL = ("connect", "api_version", "sources", "networks")


class Endpoints(Mapping[str, Endpoint]):
    """The endpoints in force, by name. A new version that is not valid is refused, and the one before stays.

    Raises: Misconfigured at construction only.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.file = Watched(path, read, seconds=LOOK_SECONDS, clock=clock)

    def __getitem__(self, name: str) -> Endpoint:
        return self.file()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.file())

    def __len__(self) -> int:
        return len(self.file())


def read(path: Path) -> dict[str, Endpoint]:
    """The endpoints in a file, by name. Raises Misconfigured with file, line and what to write instead."""
    document = load(path, "INGEST_ENDPOINTS")
    found = {name: _endpoint(name, node) for name, node in document.entries().items()}
    return found or document.wrong(
        "names no endpoint", "write `name:` with account, livemode and secrets below it"
    )


def _endpoint(name: str, node: Node) -> Endpoint:
    if not NAME.fullmatch(name):
        node.wrong("the name does not fit in a URL", "use letters, digits, - and _")
    fields = node.fields("account", "livemode", "secrets", optional=OPTIONAL)
    return Endpoint(
        name=name,
        account=_account(fields["account"]),
        livemode=fields["livemode"].flag(),
        api_version=fields.given("api_version", Node.text, ""),
        secrets=_secrets(fields["secrets"]),
        connect=fields.given("connect", Node.flag, False),
        sources=fields.given("sources", _sources, WEBHOOK),
        networks=fields.given("networks", _networks, ()),
    )


def _account(node: Node) -> str:
    account = node.text()
    if not ACCOUNT.fullmatch(account):
        node.wrong(f"{account!r} is not a Stripe account", "write the id that begins with acct_")
    return account


def _sources(node: Node) -> frozenset[Source]:
    known: tuple[Source, ...] = ("webhook", "sweep", "refresh")
    return frozenset(item.choice(*known) for item in node.items("[webhook]", least=1))


def _networks(node: Node) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(_network(item) for item in node.items(NETWORKS, least=1))


def _network(node: Node) -> IPv4Network | IPv6Network:
    text = node.text("a network")
    try:
        return ip_network(text)
    except ValueError as problem:
        return node.wrong(f"{text!r} is not a network: {problem}", f"write {NETWORKS}")


def _secrets(node: Node) -> tuple[Secret, ...]:
    """The secrets, those first that stay longest: Stripe signs with all while one is rolled, and the first
    that fits is the one that is told. So an old one counts only when the new one did not fit."""
    found: list[Secret] = []
    for item in node.items(SECRETS, least=1):
        secret = _secret(item)
        if same := [known for known in found if known.value == secret.value]:
            item.wrong(f"{secret.name} and {same[0].name} hold one secret", "keep one of them")
        found.append(secret)
    return tuple(sorted(found, key=_ends, reverse=True))


def _ends(secret: Secret) -> float:
    return secret.not_after.timestamp() if secret.not_after else float("inf")


def _secret(node: Node) -> Secret:
    """A secret, from the place that the file names; the file never holds one."""
    fields = node.fields(optional=["env", "file", "not_after"])
    places = [kind for kind in ("env", "file") if kind in fields]
    if len(places) != 1:
        node.wrong("is not one of env and file", f"write {SECRETS}")
    place = fields[places[0]]
    return Secret(
        f"{places[0]} {place.text()}", _value(places[0], place), fields.given("not_after", Node.instant, None)
    )


def _value(kind: str, place: Node) -> bytes:
    where = place.text()
    try:
        found = os.environ.get(where, "") if kind == "env" else beside(Path(where))
    except (OSError, ValueError):  # not there, or not text
        found = ""
    return found.strip().encode() or place.wrong(
        f"{where!r} holds no secret", "put the endpoint's whsec_… there"
    )
