"""What may come in: the rules that turn a POST into an event of ours, or into a refusal with a name.

    signature   who sent it        the raw bytes, before anything else
    document    what it says       JSON that everybody reads the same way
    envelope    whether it is ours the event's identity, mode and account
    routing     where it goes      its topic

Nothing here awaits, reads a clock or draws a random number.
"""

from __future__ import annotations

from datetime import datetime

from ingest.domain import document, envelope, signature
from ingest.domain.envelope import Arrival, Endpoint
from ingest.domain.refusal import Refused

__all__ = ["Arrival", "Endpoint", "Refused", "admit"]


def admit(
    endpoint: Endpoint, signed: bytes | None, raw: bytes, *, now: datetime, trace: str
) -> Arrival | Refused:
    """The event in a request's body. The order is the rule: nobody unknown gets as far as the parser."""
    if refused := signature.refusal(signed, raw, endpoint.secrets, int(now.timestamp())):
        return refused
    body = document.read(raw)
    if isinstance(body, Refused):
        return body
    return envelope.arrival(endpoint, body, raw, (signed or b"").decode(), now=now, trace=trace)
