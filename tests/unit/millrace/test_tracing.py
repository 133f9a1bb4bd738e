"""Spans: nothing where nobody collects, and nothing of a body where somebody does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from millrace import tracing
from millrace.errors import Misconfigured
from millrace.telemetry import TRACEPARENT, entered, trace_id

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOBODYS = "00-" + "0" * 32 + "-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with tracing.collected(provider):
        yield kept


def test_where_nobody_collects_a_span_is_nothing() -> None:
    with tracing.span("webhook", "server", parent=TRACE, attributes={"a": 1}) as span:
        span.tell({"b": 2})
        span.happened("it", {})
        assert (span.recording, span.traceparent, tracing.current()) == (False, "", span)
    assert tracing.current() is tracing.NOTHING


def test_a_step_goes_on_with_the_trace_that_it_is_given(spans: InMemorySpanExporter) -> None:
    with tracing.span("webhook", "server", parent=TRACE) as span:
        assert TRACEPARENT.fullmatch(span.traceparent)
        assert trace_id(span.traceparent) == trace_id(TRACE)
    [kept] = spans.get_finished_spans()
    assert kept.parent and f"{kept.parent.span_id:016x}" == "b7ad6b7169203331"


@pytest.mark.parametrize("wrong", ["", "00-xyz", NOBODYS, TRACE.upper()])
def test_what_is_no_traceparent_is_no_parent_and_no_link(spans: InMemorySpanExporter, wrong: str) -> None:
    tracing.span("publish", "producer", parent=wrong, links=[wrong]).end()
    [kept] = spans.get_finished_spans()
    assert (kept.parent, list(kept.links)) == (None, [])


@pytest.mark.parametrize(
    ("traces", "age_seconds", "belongs"),
    [
        ([TRACE, TRACE], 0, True),
        ([TRACE, ""], 0, True),
        ([TRACE], 61, False),
        ([TRACE], None, False),
        ([TRACE, TRACE.replace("0a", "0b")], 0, False),
        ([], 0, False),
    ],
)
def test_only_what_one_fresh_trace_takes_alone_belongs_to_it(
    spans: InMemorySpanExporter, traces: list[str], age_seconds: int | None, belongs: bool
) -> None:
    since = None if age_seconds is None else datetime.now(UTC) - timedelta(seconds=age_seconds)
    tracing.many("process", "consumer", traces, since=since).end()
    [kept] = spans.get_finished_spans()
    assert (kept.parent is not None) == belongs
    assert len(kept.links) == len({trace for trace in traces if trace})


def test_a_failure_is_told_by_its_type_and_never_by_its_text(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError), tracing.span("process", "consumer"):
        raise ValueError("anna@example.com")
    [kept] = spans.get_finished_spans()
    assert (kept.status.description, kept.events) == ("ValueError", ())
    assert "anna" not in kept.to_json()


def test_what_is_not_sampled_is_carried_on_as_not_sampled() -> None:
    with tracing.collected(TracerProvider(sampler=ALWAYS_OFF)), tracing.span("webhook", "server") as span:
        assert not span.recording
        assert int(span.traceparent[-2:], 16) & 1 == 0


def test_what_enters_brings_its_trace_or_gets_one() -> None:
    step = entered(TRACE)
    assert trace_id(step) == trace_id(TRACE) and step != TRACE
    for nothing in ("", NOBODYS, "00-xyz"):
        assert trace_id(entered(nothing)) not in ("", "0" * 32)


PROCESS = """
from millrace import tracing
tracing.export("ledger")
with tracing.span("process", "consumer"):
    pass
"""


def test_the_environment_says_where_spans_go() -> None:
    asked = {"OTEL_TRACES_EXPORTER": "console", "OTEL_RESOURCE_ATTRIBUTES": "team=billing"}
    done = subprocess.run(
        [sys.executable, "-c", PROCESS], env=asked, capture_output=True, text=True, check=True
    )
    kept = orjson.loads(done.stdout)
    told = kept["resource"]["attributes"]
    assert (kept["name"], told["service.name"], told["team"]) == ("process", "millrace-ledger", "billing")


@pytest.mark.parametrize("name", ["", "none"])
def test_who_asks_for_no_exporter_gets_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", name)
    tracing.export("ledger")
    assert not tracing.span("process", "consumer").recording


def test_an_exporter_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "carrier-pigeon")
    with pytest.raises(
        Misconfigured, match=r"OTEL_TRACES_EXPORTER=carrier-pigeon: this exporter is not inst"
    ):
        tracing.export("ledger")


WITHOUT = """
import sys
sys.modules["opentelemetry"] = None  # as if the extra had not been asked for
from millrace import tracing
with tracing.many("process", "consumer", ["x"], since=None) as span:
    print(span.recording, span.traceparent == "")
"""


def test_the_library_does_without_opentelemetry() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
