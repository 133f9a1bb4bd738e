"""Spans from the webhook over the relay's pages to the batches of consumers, for whoever collects them.

    webhook ── traceparent ──▶ outbox row ──▶ record ──▶ event ──▶ effect        one trace, carried by us
       ▲ span                     ▲ span a page, linked      ▲ span a batch, linked

Without the extra `tracing`, or without an OpenTelemetry SDK that somebody set up, a span is nothing and costs a
look. Ids, types, counts and reasons are told of an event, never what is in it. `docs/tracing.md` says how to collect.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from importlib.metadata import entry_points
from itertools import islice
from types import TracebackType
from typing import Any, Literal, Self

from millrace.errors import Misconfigured
from millrace.events import Event
from millrace.telemetry import TRACEPARENT

try:
    from opentelemetry import trace as otel
    from opentelemetry.context import Context
except ImportError:  # the extra `tracing` was not asked for
    otel = None  # type: ignore[assignment]

Attributes = Mapping[str, str | int | bool]
Kind = Literal["server", "producer", "consumer"]

LINKS_MAX = 128  # of one span, as the SDKs have it
EVENTS_MAX = 128
FRESH_SECONDS = 60.0  # beyond that a trace would be as long as the backlog: a new one begins, with a link

# Names of attributes. Source: OpenTelemetry's semantic conventions; those of messaging are still in development.
METHOD, ROUTE, STATUS = "http.request.method", "http.route", "http.response.status_code"
EVENT_ID, EVENT_TYPE, EVENT_SOURCE = (
    "cloudevents.event_id",
    "cloudevents.event_type",
    "cloudevents.event_source",
)
SYSTEM, OPERATION, OPERATION_TYPE = (
    "messaging.system",
    "messaging.operation.name",
    "messaging.operation.type",
)
COUNT, GROUP = "messaging.batch.message_count", "messaging.consumer.group.name"
ENDPOINT, LANE, OUTCOME, REASON = "millrace.endpoint", "millrace.lane", "millrace.outcome", "millrace.reason"


def about(event: Event) -> Attributes:
    """What a span may say of an event."""
    return {EVENT_ID: event.id, EVENT_TYPE: event.type, EVENT_SOURCE: event.source}


class Span:
    """Something that takes time; nothing, where nobody collects."""

    __slots__ = ("_of", "_token")

    def __init__(self, of: Any = None) -> None:
        self._of = of
        self._token: Token[Span] | None = None

    @property
    def recording(self) -> bool:
        """Whether what is told of it reaches anybody."""
        return self._of is not None and self._of.is_recording()

    @property
    def traceparent(self) -> str:
        """What its children name as their parent; '' where nobody collects."""
        if self._of is None:
            return ""
        at = self._of.get_span_context()
        return f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags:02x}"

    def tell(self, attributes: Attributes) -> None:
        """Say more about it."""
        if self._of is not None:
            self._of.set_attributes(attributes)

    def happened(self, name: str, attributes: Attributes) -> None:
        """Say what happened in its course."""
        if self._of is not None:
            self._of.add_event(name, attributes)

    def failed(self, why: str) -> None:
        if self._of is not None:
            self._of.set_status(otel.StatusCode.ERROR, why)

    def end(self) -> None:
        if self._of is not None:
            self._of.end()

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        """An exception is told by its type: its text may quote a body."""
        if self._token is not None:
            _current.reset(self._token)
        if kind is not None:
            self.failed(kind.__name__)
        self.end()


NOTHING = Span()
_current: ContextVar[Span] = ContextVar("span", default=NOTHING)


def current() -> Span:
    """The span that one is in."""
    return _current.get()


def span(
    name: str,
    kind: Kind,
    *,
    parent: str = "",
    links: Iterable[str] = (),
    attributes: Attributes | None = None,
) -> Span:
    """Begin a span; `parent` and `links` are traceparents. It ends with `end`, or with the `with` around it."""
    if (tracer := _tracer()) is None:
        return Span()
    above = _context(parent)
    begun = tracer.start_span(
        name,
        context=otel.set_span_in_context(otel.NonRecordingSpan(above), Context()) if above else Context(),
        kind=otel.SpanKind[kind.upper()],
        links=[otel.Link(linked) for linked in _linked(links)],
        attributes=attributes,
    )
    return Span(begun)


def many(
    name: str,
    kind: Kind,
    traces: Iterable[str],
    *,
    since: datetime | None,
    attributes: Attributes | None = None,
) -> Span:
    """Begin the span of a step that many traces take together: it links to them, 128 at most.

    What one trace takes alone belongs to it, unless it has been waiting for longer than a minute `since` it began.
    """
    if _tracer() is None:
        return Span()
    found = list(islice(dict.fromkeys(trace for trace in traces if trace), LINKS_MAX))
    fresh = since is not None and (datetime.now(UTC) - since).total_seconds() < FRESH_SECONDS
    parent = found[0] if len(found) == 1 and fresh else ""
    return span(name, kind, parent=parent, links=found, attributes=attributes)


def _linked(traces: Iterable[str]) -> Iterator[Any]:
    return (found for trace in islice(traces, LINKS_MAX) if (found := _context(trace)))


def _context(traceparent: str) -> Any:
    """The place in a trace that a traceparent names; None for what is none."""
    if not (match := TRACEPARENT.fullmatch(traceparent)):
        return None
    trace, at, flags = (int(part, 16) for part in match.groups())
    return otel.SpanContext(trace, at, is_remote=True, trace_flags=otel.TraceFlags(flags))


_given: Any = None  # the provider of `collected`
_known: tuple[Any, Any] = (None, None)  # a provider and its tracer, None where it collects nothing


def _tracer() -> Any:
    """The tracer of whoever collects; None where nobody does."""
    global _known
    if otel is None:
        return None
    provider = _given or otel.get_tracer_provider()
    if provider is not _known[0]:
        nobody = isinstance(provider, otel.ProxyTracerProvider | otel.NoOpTracerProvider)
        _known = provider, None if nobody else provider.get_tracer("millrace")
    return _known[1]


@contextmanager
def collected(provider: object) -> Iterator[None]:
    """While this lasts, spans go to a provider of one's own, in every task of the process: for tests."""
    global _given
    before, _given = _given, provider
    try:
        yield
    finally:
        _given = before


EXPORTERS = "opentelemetry_traces_exporter"  # the group of entry points that exporters are found by
MISSING = (
    "OTEL_TRACES_EXPORTER={name}: {what} is not installed; `pip install opentelemetry-sdk {package}`, or leave the "
    "variable out"
)


def export(service: str) -> None:
    """Send spans where OTEL_TRACES_EXPORTER says: `otlp`, `console`, or any exporter that is installed.

    Nothing when it is not set, or `none`. The other OTEL_ variables mean what OpenTelemetry says.
    Raises: Misconfigured for an exporter that is not installed.
    """
    name = os.environ.get("OTEL_TRACES_EXPORTER", "none")
    if name in ("", "none"):
        return
    package = f"opentelemetry-exporter-{name}" if name != "console" else ""
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise Misconfigured(MISSING.format(name=name, what="OpenTelemetry's SDK", package=package)) from None
    if not (found := entry_points(group=EXPORTERS, name=name)):
        raise Misconfigured(MISSING.format(name=name, what="this exporter", package=package))
    exporter = next(iter(found)).load()()
    named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": f"millrace-{service}"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    otel.set_tracer_provider(provider)
