"""Where a page is worked on: a small one on the event loop, a large one beside it, so that the loop never stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

# Below, changing threads would cost more than the work does: some milliseconds.
LARGE_ROWS, LARGE_BYTES = 200, 256 << 10

P = ParamSpec("P")
R = TypeVar("R")


async def worked(rows: int, bytes_: int, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What the work returns. It shares nothing that the loop changes meanwhile."""
    if rows > LARGE_ROWS or bytes_ > LARGE_BYTES:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)
