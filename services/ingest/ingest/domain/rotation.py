"""Whether an endpoint's secrets are as they should be, in the middle of a rotation and after it.

    rolled at Stripe ─▶ new one put in here ─▶ it verifies ─▶ the old one no longer does ─▶ it is taken out

Of several secrets the first in order is the new one: `ingest.endpoints` puts those first that stay longest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ingest.domain.envelope import Endpoint
from ingest.domain.signature import Secret

SOON = timedelta(days=1)
PREFIX = b"whsec_"


class Used(NamedTuple):
    """What a secret has vouched for lately."""

    events: int = 0
    last: datetime = datetime.min.replace(tzinfo=UTC)


class Concern(NamedTuple):
    """What is not as it should be with a secret, and what to do."""

    secret: str
    says: str


def concerns(endpoint: Endpoint, used: Mapping[str, Used], now: datetime) -> list[Concern]:
    """Everything that somebody should look at. `used` is by the names of the secrets."""
    found: list[Concern] = []
    for secret in endpoint.secrets:
        others = [used.get(other.name, Used()) for other in endpoint.secrets if other is not secret]
        said = _said(secret, used.get(secret.name, Used()), others, secret is endpoint.secrets[0], now)
        found += (Concern(secret.name, says) for says in said)
    return found


def _said(secret: Secret, own: Used, others: list[Used], is_new: bool, now: datetime) -> Iterator[str]:
    if not secret.value.startswith(PREFIX):
        yield "does not begin with whsec_; is it the endpoint's signing secret?"
    if secret.not_after and secret.not_after <= now:
        yield _retired(secret.not_after, own, others)
    elif own.events and secret.not_after and secret.not_after - now <= SOON:
        yield f"still verifies and opens nothing from {_at(secret.not_after)} on; give it longer, or roll it before"
    elif own.events and not is_new:
        yield f"is old and still verifies, last at {_at(own.last)}; let it expire at Stripe before it is taken out"
    elif is_new and not own.events and any(other.events for other in others):
        yield "is new and has verified nothing yet; is it the one that Stripe signs with?"


def _retired(at: datetime, own: Used, others: list[Used]) -> str:
    if own.events and not any(other.last >= at for other in others):
        return f"is retired since {_at(at)}, and nothing was verified since; is the one here that Stripe signs with?"
    return f"is retired since {_at(at)}; take it out of the file"


def _at(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
