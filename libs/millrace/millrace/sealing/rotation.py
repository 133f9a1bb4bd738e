"""After a new key-encryption key: every data key wrapped by it, and no sealed row touched."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple

from millrace.postgres import Pool
from millrace.sealing import store
from millrace.sealing.keys import context, wrapped
from millrace.sealing.providers import Plain, Provider
from millrace.sealing.store import KeyRow


class Progress(NamedTuple):
    """How far it is. `failed` are keys that their key-encryption key does not open; they stay as they are."""

    done: int
    failed: int
    left: int


async def rewrap(pool: Pool, provider: Provider, *, at_once: int = 500) -> AsyncGenerator[Progress, None]:
    """Wrap every data key by the current key-encryption key; tells how far it is after each commit.

    Writes: subject_key, kek and wrapped only. Replay: goes on with what is left, however it ended before.
    Raises: Retryable when the provider is out of reach; what is done stays done.
    """
    kek = await provider.current()
    done = failed = after = 0
    while rows := await store.wrapped_otherwise(pool, kek, after, at_once):
        changed = await _wrap_anew(pool, provider, rows)
        done, failed, after = done + changed, failed + len(rows) - changed, rows[-1].id
        yield Progress(done, failed, left=await store.left(pool, kek, after))


async def _wrap_anew(pool: Pool, provider: Provider, rows: Sequence[KeyRow]) -> int:
    opened = zip(rows, await provider.unwrap([wrapped(row) for row in rows]), strict=True)
    held = [(row, key) for row, key in opened if isinstance(key, bytes)]
    plain = [Plain(key, context(row.account, row.customer, row.purpose, row.version)) for row, key in held]
    anew = await provider.wrap(plain)
    return await store.rewrap(
        pool, [(r.id, r.kek, w.kek, w.key) for (r, _), w in zip(held, anew, strict=True)]
    )
