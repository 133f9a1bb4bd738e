"""What may come in: the rules that turn a POST into an event of ours, or into a refusal with a name.

    signature   who sent it        the raw bytes, before anything else
    cards       what may not stay  card numbers, cut out before anything is stored
    document    what it says       JSON that everybody reads the same way
    envelope    whether it is ours the event's identity, mode and account
    routing     where it goes      its topic

Nothing here awaits, reads a clock or draws a random number.
"""

from __future__ import annotations

from datetime import datetime

from ingest.domain import cards, document, envelope, signature
from ingest.domain.envelope import Arrival, Endpoint, Source
from ingest.domain.refusal import Refused
from ingest.domain.signature import Secret, Signed

__all__ = ["Arrival", "Endpoint", "Refused", "Secret", "Signed", "admit"]


def admit(
    endpoint: Endpoint, signed: Signed, raw: bytes, *, now: datetime, trace: str, source: Source = "webhook"
) -> Arrival | Refused:
    """The event in a request's body. The order is the rule: nobody unknown gets as far as the parser."""
    secret = signature.verify(signed, raw, endpoint.secrets, int(now.timestamp()))
    if isinstance(secret, Refused):
        return secret
    raw, removed = cards.cut(raw)
    body = document.read(raw)
    if isinstance(body, Refused):
        return body
    return envelope.arrival(
        endpoint, body, raw, source=source, signature=signed.header, secret=secret.name, cards=removed, now=now,
        trace=trace,
    )  # fmt: skip
