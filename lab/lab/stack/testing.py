"""The stack as a pytest fixture: `from lab.stack.testing import stack` in a conftest."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from lab.stack import Stack, owned
from lab.stack.jars import CHECKOUT


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A fresh stack of one broker for this session, or the one that the environment names.

    Several sessions of one checkout share it; the last one to end stops it, even after a crash.
    """
    with owned(CHECKOUT / ".millrace" / "test-stack", say=_say, fresh=True) as running:
        yield running


def _say(line: str) -> None:
    """Past pytest's capture, so that a first session tells what it waits for."""
    sys.__stderr__.write(f"lab: {line}\n") if sys.__stderr__ else None
