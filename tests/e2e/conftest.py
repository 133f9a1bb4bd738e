"""One demo for all of these tests."""

from tests.e2e.demo import played

__all__ = ["played"]
