"""What a failure in the middle of a batch means: try again, find the event, or both."""

from __future__ import annotations

import asyncpg
import pytest

from millrace.consumer.batches import _classified
from millrace.errors import Poison, Retryable

AGAIN = [
    asyncpg.DeadlockDetectedError("deadlock"),
    asyncpg.SerializationError("could not serialize"),
    asyncpg.AdminShutdownError("terminating connection"),
    asyncpg.TooManyConnectionsError("no slot left"),
    asyncpg.UndefinedTableError("not migrated yet"),
    asyncpg.InsufficientPrivilegeError("not granted yet"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InternalClientError("got result for unknown protocol state"),
    ConnectionResetError(),
    TimeoutError(),
]
THE_EVENT = [
    asyncpg.CheckViolationError("new row violates check constraint"),
    asyncpg.RestrictViolationError("the journal only grows"),
    asyncpg.NumericValueOutOfRangeError("bigint out of range"),
    asyncpg.exceptions._base.DataError("invalid input for query argument"),
    ZeroDivisionError(),
    Poison("amount is missing"),
]


@pytest.mark.parametrize("problem", AGAIN, ids=lambda p: type(p).__name__)
def test_a_world_that_is_not_ready_is_tried_again_and_parks_nobody(problem: Exception) -> None:
    assert isinstance(_classified(problem), Retryable)


@pytest.mark.parametrize("problem", THE_EVENT, ids=lambda p: type(p).__name__)
def test_what_the_data_is_to_blame_for_is_looked_for_in_the_batch(problem: Exception) -> None:
    assert _classified(problem) is problem
