"""Fixtures of every test: real PostgreSQL and real Kafka, a database and topics of one's own."""

from lab.stack.testing import stack
from tests.support.database import database
from tests.support.kafka import topics

__all__ = ["database", "stack", "topics"]
