"""Stripe's signature: HMAC-SHA256 over "<t>.<raw body>", keyed with the endpoint's whole secret.

The header reads `t=<unix>,v1=<hex>[,v1=<hex>…][,v0=…]`: while a secret is rolled there is one v1 for each
active secret. v0 appears in test mode and means nothing.
Source: docs.stripe.com/webhooks/signature; unlike the SDK, a time in the future is refused as well.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

from ingest.domain.refusal import Refused

TOLERANCE_SECONDS = 300
SIGNATURES_MAX = 16  # Stripe sends one a secret; more would only make us compare
TIME = re.compile(rb"[0-9]{1,12}")

MISSING = Refused("signature_missing", "Stripe-Signature header is missing")
MALFORMED = Refused("signature_malformed", "Stripe-Signature header is malformed")
WRONG = Refused("signature_wrong", "no signature matches the body and this endpoint's secrets")
EXPIRED = Refused("signature_expired", f"signature is more than {TOLERANCE_SECONDS} s old")
FUTURE = Refused("signature_future", f"signature is more than {TOLERANCE_SECONDS} s in the future")


def refusal(header: bytes | None, raw: bytes, secrets: Sequence[bytes], now: int) -> Refused | None:
    """Why this body is not authentic, or None when it is.

    The time is judged last: who cannot sign learns nothing about our clock.
    """
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
    if not _matches(stamps[0] + b"." + raw, offered, secrets):
        return WRONG
    age = now - int(stamps[0])
    if abs(age) <= TOLERANCE_SECONDS:
        return None
    return EXPIRED if age > 0 else FUTURE


def sign(raw: bytes, secret: bytes, at: int) -> str:
    """The header that Stripe would send."""
    stamp = str(at).encode()
    return f"t={at},v1={hmac.digest(secret, stamp + b'.' + raw, 'sha256').hex()}"


def _parts(header: bytes) -> tuple[list[bytes], list[bytes]]:
    """The values of t and of v1, in order."""
    pairs = [part.strip().partition(b"=") for part in header.split(b",")]
    return [v for k, _, v in pairs if k == b"t"], [v for k, _, v in pairs if k == b"v1"]


def _matches(signed: bytes, offered: Sequence[bytes], secrets: Sequence[bytes]) -> bool:
    """Whether any secret made any of the signatures; each pair is compared in constant time."""
    expected = [hmac.digest(secret, signed, "sha256").hex().encode() for secret in secrets]
    return any(hmac.compare_digest(good, given) for good in expected for given in offered)
