"""Fixtures of every test: real PostgreSQL and real Kafka, a database and topics of one's own."""

from __future__ import annotations

import signal

import pytest

from lab.stack.testing import stack
from tests.support.database import database
from tests.support.kafka import topics

__all__ = ["database", "stack", "topics"]

# Where several workers share the tests, a file stays with one of them, and so do those that share more than a file:
TOGETHER = {
    "tests/e2e/": "the demo that is played once for all",
    "tests/integration/examples/": "topics of Millrace's own names",
    "tests/integration/testing/test_generated.py": "topics of Millrace's own names",
    "tests/integration/millrace/test_readme.py": "topics of Millrace's own names",
}


def pytest_configure() -> None:
    """A shell that starts the tests in the background has Ctrl-C ignored, and every child would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        file = item.nodeid.partition("::")[0]
        shared = next((why for place, why in TOGETHER.items() if file.startswith(place)), file)
        item.add_marker(pytest.mark.xdist_group(shared))
