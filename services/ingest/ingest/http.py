"""`POST /webhooks/stripe/{endpoint}`: what stands behind the door.

    head      which endpoint? · POST? · not encoded? · not too large? · who knocks? · a signature like Stripe's?
    whole     authentic and ours (`ingest.domain`) → sealed (`ingest.custody`) → the group commit
    answer    200 after the commit, 4xx with a reason, 503 when it could not be stored

Nothing is answered 2xx before the commit, nothing with 3xx, and no body gets as far as the database before its
signature is good.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

import orjson

from ingest import metrics
from ingest.custody import Custody
from ingest.domain import Arrival, Endpoint, Refused, Signed, admit, envelope, signature
from ingest.domain.envelope import Networks, Source
from ingest.door import Answer, Head, Reply
from ingest.store import Row
from millrace import telemetry, tracing
from millrace.clock import Clock
from millrace.errors import Retryable

log = logging.getLogger("ingest.http")
refusals = logging.getLogger("ingest.http.refusals")
refusals.addFilter(
    telemetry.Sparing(1.0, lines=20, kind=lambda line: f"{vars(line)['endpoint']} {vars(line)['reason']}")
)

PATH = b"/webhooks/stripe/"
ROUTED: tracing.Attributes = {tracing.METHOD: "POST", tracing.ROUTE: "/webhooks/stripe/{endpoint}"}
NO_ENDPOINT = "unknown"  # in metrics and logs, for whatever is not one of ours
FETCHING_MAX = 1000  # requests that wait for their customer's key; beyond it 503
FETCH_SECONDS = 8.0  # for a key

UNKNOWN = Refused("endpoint_unknown", "no such endpoint", 404)
NOT_POST = Refused("method", "only POST", 405)
ENCODED = Refused("content_encoding", "Content-Encoding is not accepted", 415)
TOO_LARGE = Refused("body_too_large", "body is too large", 413)
STRANGER = Refused("address_not_allowed", "this endpoint takes nothing from this address", 403)
WRONG_SOURCE = Refused("source_not_allowed", "this endpoint takes nothing from this Millrace-Source", 403)
MORE_HEADERS = {405: b"allow: POST\r\n", 503: b"retry-after: 1\r\n"}

RECEIVED = b'{"received":true}'
STORED = Answer(200, RECEIVED, "stored")
DUPLICATE = Answer(200, RECEIVED, "duplicate")  # Stripe need not know the difference
BUSY = Retryable("too many events wait", after=1)
FAILED = Retryable("could not be stored", after=1)

Told = Callable[[bool | Retryable], None]
Commit = Callable[
    [Row, Told], None
]  # tells once it is committed whether the row was new, or why it could not be


class Admitted(NamedTuple):
    """What a head that may go on has said."""

    endpoint: Endpoint
    signed: Signed
    source: Source


class Webhook:
    """The application behind the door.

    `gateways` are believed when they say for whom they knock.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        custody: Custody,
        commit: Commit,
        clock: Clock,
        *,
        body_bytes_max: int = 2**20,
        gateways: Networks = (),
    ) -> None:
        self.endpoints, self.custody, self.commit, self.clock = endpoints, custody, commit, clock
        self.body_bytes_max, self.gateways = body_bytes_max, gateways
        self.fetching: set[asyncio.Task[None]] = set()

    # --- what the door asks ---

    def head(self, head: Head) -> Answer | None:
        endpoint = self._endpoint(head.path)
        found = self._judged(endpoint, head) if endpoint else UNKNOWN
        if isinstance(found, Refused):
            return self._refused(found, endpoint.name if endpoint else NO_ENDPOINT)
        head.context = found
        return None

    def whole(self, head: Head, raw: bytes, reply: Reply) -> None:
        try:
            self._admit(cast(Admitted, head.context), head, raw, reply)
        except Exception:  # our own bug loses nothing: Stripe comes again
            log.exception("request failed")
            reply(_unavailable(FAILED))

    def broken(self, head: Head, problem: Refused) -> Answer:
        endpoint = self._endpoint(head.path)
        return self._refused(problem, endpoint.name if endpoint else NO_ENDPOINT)

    def sent(self, head: Head, answer: Answer, seconds: float) -> None:
        metrics.REQUESTS.labels(self._name(head), answer.outcome).inc()
        metrics.REQUEST_SECONDS.observe(seconds, _exemplar(head.trace))
        head.span.tell({tracing.STATUS: answer.status, tracing.OUTCOME: answer.outcome})
        head.span.end()

    def gone(self, head: Head) -> None:
        metrics.REQUESTS.labels(self._name(head), "gone").inc()

    # --- the head ---

    def _endpoint(self, path: bytes) -> Endpoint | None:
        if not path.startswith(PATH):
            return None
        name, _, _ = path[len(PATH) :].partition(b"?")
        return self.endpoints.get(name.decode("latin-1"))

    def _name(self, head: Head) -> str:
        endpoint = self._endpoint(head.path)
        return endpoint.name if endpoint else NO_ENDPOINT

    def _judged(self, endpoint: Endpoint, head: Head) -> Admitted | Refused:
        headers = head.headers
        if head.method != b"POST":
            return NOT_POST
        if headers.get(b"content-encoding", b"").lower() not in (b"", b"identity"):
            return ENCODED
        if _declared(headers) > self.body_bytes_max:
            return TOO_LARGE
        if not endpoint.may_knock(self._address(head)):
            return STRANGER
        source = headers.get(b"millrace-source", b"webhook").decode("latin-1")
        if source not in endpoint.sources:
            return WRONG_SOURCE
        signed = signature.head(headers.get(b"stripe-signature"), int(self.clock.now().timestamp()))
        return signed if isinstance(signed, Refused) else Admitted(endpoint, signed, source)

    def _address(self, head: Head) -> str:
        """Who knocks: the connection's other end or, where that is a gateway, whom the gateway names last."""
        forwarded = head.headers.get(b"x-forwarded-for")
        if forwarded is None or not envelope.within(head.peer, self.gateways):
            return head.peer
        return forwarded.decode("latin-1").rpartition(",")[2].strip()

    # --- the whole request ---

    def _admit(self, admitted: Admitted, head: Head, raw: bytes, reply: Reply) -> None:
        endpoint, signed, source = admitted
        now = self.clock.now()
        self._begin(head, endpoint)
        arrival = admit(endpoint, signed, raw, now=now, trace=head.trace, source=source)
        if isinstance(arrival, Refused):
            return reply(self._refused(arrival, endpoint.name))
        head.span.tell(tracing.about(arrival.event))
        age = max(0.0, (now - arrival.event.time).total_seconds())
        metrics.EVENT_AGE_SECONDS.observe(age, _exemplar(head.trace))
        if arrival.cards:
            _alarm(arrival)
        if row := self.custody.at_once(arrival):
            self._store(row, reply)
        else:
            self._fetch(arrival, reply)
        return None

    def _begin(self, head: Head, endpoint: Endpoint) -> None:
        """The trace of this request: the one that a gateway began, or a fresh one."""
        incoming = head.headers.get(b"traceparent", b"").decode("latin-1")
        named = {**ROUTED, tracing.ENDPOINT: endpoint.name}
        head.span = tracing.span("webhook", "server", parent=incoming, attributes=named)
        head.trace = head.span.traceparent or telemetry.entered(incoming)

    def _fetch(self, arrival: Arrival, reply: Reply) -> None:
        """The first event of a customer in a while: its key is in the database, or is made there."""
        if len(self.fetching) >= FETCHING_MAX:
            return reply(_unavailable(BUSY))
        task = asyncio.create_task(self._sealed(arrival, reply))
        self.fetching.add(task)
        task.add_done_callback(self.fetching.discard)
        return None

    async def _sealed(self, arrival: Arrival, reply: Reply) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                row = await self.custody.row(arrival)
            self._store(row, reply)
        except Retryable as problem:  # names what is missing where, which is for us and not for the sender
            log.warning("not sealed yet", extra={"problem": str(problem)})
            reply(_unavailable(Retryable(str(FAILED), after=problem.after)))
        except Exception:
            log.exception("not sealed")
            reply(_unavailable(FAILED))

    def _store(self, row: Row, reply: Reply) -> None:
        def told(outcome: bool | Retryable) -> None:
            if isinstance(outcome, Retryable):
                reply(_unavailable(outcome))
            else:
                reply(STORED if outcome else DUPLICATE)

        self.commit(row, told)

    def _refused(self, problem: Refused, endpoint: str) -> Answer:
        """The answer to what is turned away: it quotes nothing. A line in the log, a count in the metrics."""
        metrics.REFUSED.labels(endpoint, problem.name).inc()
        refusals.warning("request refused", extra={"endpoint": endpoint, "reason": problem.name})
        return _answer_to(problem)


def _answer_to(problem: Refused) -> Answer:
    return Answer(problem.status, _error(problem.reason), "refused", MORE_HEADERS.get(problem.status, b""))


def _unavailable(problem: Retryable) -> Answer:
    wait = f"retry-after: {math.ceil(problem.after)}\r\n".encode()
    return Answer(503, _error(str(problem)), "unavailable", wait)


def _error(reason: str) -> bytes:
    return orjson.dumps({"error": reason})


def _declared(headers: Mapping[bytes, bytes]) -> int:
    length = headers.get(b"content-length", b"")
    return int(length) if length.isdigit() else 0


def _alarm(arrival: Arrival) -> None:
    """Somebody typed a card number where none belongs."""
    metrics.CARDS_CUT.labels(arrival.endpoint).inc(arrival.cards)
    log.error(
        "card number cut out",
        extra={"event": arrival.event.id, "type": arrival.event.type, "n": arrival.cards},
    )


def _exemplar(trace: str) -> dict[str, str] | None:
    """The trace behind an observation, for whoever looks at a slow one."""
    return {"trace_id": telemetry.trace_id(trace)} if trace else None
