"""The `Stripe-Signature` header: one `v1` for each secret that is still good.

Each attempt is signed anew with its own `t`. The `v0` of test mode is a decoy that receivers have to ignore.
Source: docs.stripe.com/webhooks#verify-manually; docs/lab/behaviours.md.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable


def header(body: bytes, at: int, secrets: Iterable[str], *, livemode: bool = False) -> str:
    """The header's value for exactly these bytes. `at` is in seconds since 1970, `secrets` newest first."""
    message = b"%d." % at + body
    parts = [f"t={at}", *(f"v1={_signed(secret, message)}" for secret in secrets)]
    if not livemode:
        parts.append(f"v0={_signed('v0', message)}")
    return ",".join(parts)


def _signed(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
