"""The sessions of a relay: directly connected, bounded in every await, closed without waiting for long."""

from __future__ import annotations

from contextlib import suppress

import asyncpg

from millrace.postgres import Connection

CLOSE_SECONDS = 2.0


async def connect(dsn: str, seconds: float, settings: dict[str, str]) -> Connection:
    return await asyncpg.connect(dsn, timeout=seconds, command_timeout=seconds, server_settings=settings)


async def close(connection: Connection) -> None:
    with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await connection.close(timeout=CLOSE_SECONDS)
    connection.terminate()
