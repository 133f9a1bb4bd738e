"""What a failure in the middle of a batch means: try again, find the event, or both."""

from __future__ import annotations

import asyncpg
import pytest

from millrace.consumer.batches import Down, _classified, _for_sure
from millrace.errors import Poison, Retryable

AWAY = [
    asyncpg.AdminShutdownError("terminating connection"),
    asyncpg.TooManyConnectionsError("no slot left"),
    asyncpg.ReadOnlySQLTransactionError("the old primary is a replica now"),
    asyncpg.UndefinedTableError("not migrated yet"),
    asyncpg.InsufficientPrivilegeError("not granted yet"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InternalClientError("got result for unknown protocol state"),
    ConnectionResetError(),
    TimeoutError(),
]
AGAIN = [
    asyncpg.DeadlockDetectedError("deadlock"),
    asyncpg.SerializationError("could not serialize"),
    asyncpg.LockNotAvailableError("somebody holds it"),
    asyncpg.QueryCanceledError("statement timeout"),
]
FOR_CERTAIN = [
    asyncpg.CheckViolationError("new row violates check constraint"),
    asyncpg.RestrictViolationError("the journal only grows"),
    asyncpg.NumericValueOutOfRangeError("bigint out of range"),
    Poison("amount is missing"),
]
PERHAPS = [
    asyncpg.PostgresSyntaxError("a handler's own statement"),
    asyncpg.UndefinedColumnError("a handler's own statement"),
    asyncpg.InFailedSQLTransactionError("a handler went on after an error"),
    asyncpg.CardinalityViolationError("a row a second time"),
    asyncpg.exceptions._base.DataError("invalid input for query argument"),
    ZeroDivisionError(),
]


def named(problem: Exception) -> str:
    return type(problem).__name__


@pytest.mark.parametrize("problem", AWAY, ids=named)
def test_a_database_that_is_away_parks_nobody_however_long_it_takes(problem: Exception) -> None:
    assert isinstance(_classified(problem), Down)


@pytest.mark.parametrize("problem", AGAIN, ids=named)
def test_whoever_was_in_the_way_may_be_gone_next_time(problem: Exception) -> None:
    found = _classified(problem)
    assert isinstance(found, Retryable)
    assert not isinstance(found, Down)


@pytest.mark.parametrize("problem", FOR_CERTAIN, ids=named)
def test_what_the_data_is_to_blame_for_is_not_tried_again(problem: Exception) -> None:
    assert _classified(problem) is problem
    assert _for_sure(problem)


@pytest.mark.parametrize("problem", PERHAPS, ids=named)
def test_a_bug_may_pass_and_is_tried_again(problem: Exception) -> None:
    assert _classified(problem) is problem
    assert not _for_sure(problem)
