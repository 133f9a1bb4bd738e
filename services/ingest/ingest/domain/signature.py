"""Stripe's signature: HMAC-SHA256 over "<t>.<raw body>", keyed with the endpoint's whole secret.

The header reads `t=<unix>,v1=<hex>[,v1=<hex>…][,v0=…]`: while a secret is rolled there is one v1 for each
active secret. v0 appears in test mode and means nothing.

    head      the header alone, before the body is read
    verify    the body, and which of the secrets vouches for it

A wrong signature, a wrong time and a retired secret are told apart by the metric only. The sender reads one
sentence for all three: who cannot sign learns nothing about our clock or our secrets.
Source: docs.stripe.com/webhooks/signature; unlike the SDK, a time in the future is refused as well.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from ingest.domain.refusal import Refused

TOLERANCE_SECONDS = 300
SIGNATURES_MAX = 16  # Stripe sends one a secret; more would only make us compare
TIME = re.compile(rb"[0-9]{1,12}")

MISSING = Refused("signature_missing", "Stripe-Signature header is missing")
MALFORMED = Refused("signature_malformed", "Stripe-Signature header is malformed")
WRONG = Refused("signature_wrong", "no signature matches the body, the time and this endpoint's secrets")
EXPIRED = Refused("signature_expired", WRONG.reason)
FUTURE = Refused("signature_future", WRONG.reason)
RETIRED = Refused("signature_retired", WRONG.reason)  # right, but for a secret past its not_after


@dataclass(frozen=True, slots=True)
class Secret:
    """One of an endpoint's secrets: where it stands, what it is, and until when it opens the door."""

    name: str  # `file /run/secrets/stripe/main`, `env STRIPE_SECRET`: told and stored; never the value
    value: bytes = field(repr=False)
    not_after: datetime | None = None

    def is_live(self, now: int) -> bool:
        """Whether it opens the door at this Unix time."""
        return self.not_after is None or now < self.not_after.timestamp()


class Signed(NamedTuple):
    """A header that may be Stripe's, taken apart."""

    header: str  # as it came
    stamp: bytes
    offered: list[bytes]


def head(header: bytes | None, now: int) -> Signed | Refused:
    """The header taken apart, if it reads like Stripe's and its time is near. Proves nothing yet."""
    if header is None:
        return MISSING
    stamps, offered = _parts(header)
    if (
        not header.isascii()
        or len(stamps) != 1
        or not TIME.fullmatch(stamps[0])
        or not 0 < len(offered) <= SIGNATURES_MAX
    ):
        return MALFORMED
    if abs(age := now - int(stamps[0])) > TOLERANCE_SECONDS:
        return EXPIRED if age > 0 else FUTURE
    return Signed(header.decode(), stamps[0], offered)


def verify(signed: Signed, raw: bytes, secrets: Sequence[Secret], now: int) -> Secret | Refused:
    """The first live secret that made one of the signatures. One that is not live opens nothing."""
    message = signed.stamp + b"." + raw
    live = [secret for secret in secrets if secret.is_live(now)]
    if found := _signer(message, signed.offered, live):
        return found
    retired = [secret for secret in secrets if secret not in live]
    return RETIRED if _signer(message, signed.offered, retired) else WRONG


def sign(raw: bytes, secret: bytes, at: int) -> str:
    """The header that Stripe would send."""
    stamp = str(at).encode()
    return f"t={at},v1={hmac.digest(secret, stamp + b'.' + raw, 'sha256').hex()}"


def _parts(header: bytes) -> tuple[list[bytes], list[bytes]]:
    """The values of t and of v1, in order."""
    pairs = [part.strip().partition(b"=") for part in header.split(b",")]
    return [v for k, _, v in pairs if k == b"t"], [v for k, _, v in pairs if k == b"v1"]


def _signer(message: bytes, offered: Sequence[bytes], secrets: Sequence[Secret]) -> Secret | None:
    """The first secret that made any of the signatures; each pair is compared in constant time."""
    for secret in secrets:
        good = hmac.digest(secret.value, message, "sha256").hex().encode()
        if any(hmac.compare_digest(good, given) for given in offered):
            return secret
    return None
