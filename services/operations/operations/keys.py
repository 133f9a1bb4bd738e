"""`millrace keys`: the key-encryption keys. Make the next one, see what still hangs on the last, wrap anew.

A rotation touches no sealed value: only the data keys are wrapped anew, while events come in.

    1  millrace keys new, and the new file everywhere that seals or opens
    2  millrace keys rotate
    3  millrace keys status; once nothing hangs on the old file, remove it
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from millrace import postgres, sealing
from millrace.errors import Misconfigured, Retryable
from millrace.sealing import Keys, store
from millrace.sealing.keys import wrapped
from millrace.sealing.store import KeyRow
from operations import running, show
from operations.running import DRIFT, Json
from operations.settings import Settings

NAMED_MAX = 20  # keys that are named on the screen; all of them are counted

app = typer.Typer(
    name="keys", help="The key-encryption keys: make, look after, and rotate.", no_args_is_help=True
)


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the key-encryption key, and what hangs on it. `wrong` says why its keys do not open here."""

    kek: str
    keys: int
    current: bool
    wrong: str


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did, and what it leaves. `left` are ids of data keys, the first of them."""

    kek: str
    done: int
    waiting: int
    left: list[int]


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="The folder of the keys; made if it is not there.")],
    json: Json = False,
) -> None:
    """Make the next key-encryption key: 0001.key first, then 0002.key and so on, readable by its owner only.

    From the moment a process sees it, what is new is wrapped by it, and only who has it too can open that: put it
    everywhere at once, and a copy of it where no copy of the database is. Lost, everything under it is lost.

    Example: millrace keys new /etc/millrace/keys
    """
    try:
        path = sealing.new_key(folder)
    except OSError as problem:
        raise Misconfigured(
            f"{folder}: {problem.strerror}; name a folder that you may write to, and let nobody else make keys now"
        ) from None
    if json:
        show.as_json({"file": path, "version": path.stem})
    else:
        show.console.print(
            f"{path} is made. Put it everywhere that seals or opens, and a copy away from the database; "
            "then: millrace keys rotate",
            markup=False,
            soft_wrap=True,
        )


@app.command()
def status(json: Json = False) -> None:
    """How many data keys hang on each key-encryption key, and which may go. Exit code 3 when there is work left.

    Work is left when keys hang on an older version, or on one that is not here or not the same. An old file may be
    removed once it is listed no more, and its copies once no backup is left from before.

    Example: millrace keys status --json | jq '.waiting'
    """
    settings = Settings.read()

    async def run() -> tuple[list[Version], int]:
        async with running.keys(settings) as keys:
            counts = await sealing.counts(keys.pool)
            destroyed = sum(count.keys for count in counts if not count.kek)
            return await _versions(keys, counts), destroyed

    versions, destroyed = running.run(run())
    waiting = sum(version.keys for version in versions if not version.current)
    if json:
        show.as_json({"versions": versions, "destroyed": destroyed, "waiting": waiting})
    else:
        rows = [(v.kek, v.keys, v.wrong or ("in force" if v.current else "waits")) for v in versions]
        show.table("Data keys by what wraps them", ["!version", "#keys", "state"], rows)
        show.console.print(f"{waiting:,} wait for `millrace keys rotate` · {destroyed:,} destroyed")
    raise typer.Exit(DRIFT if waiting or any(version.wrong for version in versions) else 0)


@app.command()
def rotate(
    at_once: Annotated[int, typer.Option(min=1, max=10_000, help="Keys that share a commit.")] = 500,
    json: Json = False,
) -> None:
    """Wrap every data key by the newest key-encryption key. Exit code 3 when some could not be.

    First put the new file everywhere (millrace keys new), then rotate, and remove the old file only when
    `millrace keys status` lists it no more. Events may come in meanwhile; no sealed value is touched. Broken off,
    it is begun again and goes on with what is left.

    Example: millrace keys rotate
    """
    settings = Settings.read()

    async def run() -> Rotated:
        async with running.keys(settings) as keys:
            with Progress(console=show.console, transient=True, disable=json) as bar:
                return await _rotated(keys, settings, at_once, bar)

    rotated = running.run(run())
    if json:
        show.as_json(rotated)
    else:
        _tell(rotated)
    raise typer.Exit(DRIFT if rotated.waiting else 0)


async def _rotated(keys: Keys, settings: Settings, at_once: int, bar: Progress) -> Rotated:
    """Batch by batch. Writes: subject_key, how its keys are wrapped; an audit row, also when it is broken off."""
    kek, done = await keys.provider.current(), 0
    total = await store.left(keys.pool, kek, 0)
    task = bar.add_task(f"wrapping by {kek}", total=total)
    try:
        async for progress in sealing.rewrap(keys.pool, keys.provider, at_once=at_once):
            done = progress.done
            bar.update(task, completed=total - progress.left)
    finally:
        if total:
            async with postgres.transaction(keys.pool) as tx:
                await running.audited(tx, settings, "wrapped keys anew", kek, f"{done} of {total}")
    left = await store.wrapped_otherwise(keys.pool, kek, 0, NAMED_MAX)
    return Rotated(kek, done, await store.left(keys.pool, kek, 0), [row.id for row in left])


def _tell(rotated: Rotated) -> None:
    show.console.print(f"{rotated.done:,} data keys wrapped anew by {rotated.kek}")
    if rotated.waiting:
        named = ", ".join(map(str, rotated.left)) + (" …" if rotated.waiting > len(rotated.left) else "")
        show.console.print(
            f"{rotated.waiting:,} are left: {named}. They do not open, or somebody without the new file made them "
            "meanwhile: see `millrace keys status`, and run this again.",
            soft_wrap=True,
        )


SAMPLES = """
-- One data key of each version: whether it opens tells whether the file is here, and is the same.
select distinct on (kek) id, account, customer, purpose, version, kek, wrapped
  from sealing.subject_key
 where wrapped is not null
 order by kek, id
"""


async def _samples(pool: postgres.Pool) -> list[KeyRow]:
    return [KeyRow(*row) for row in await pool.fetch(SAMPLES)]


async def _versions(keys: Keys, counts: list[sealing.Count]) -> list[Version]:
    """Every version that wraps a key, and the one in force."""
    current, samples = await keys.provider.current(), await _samples(keys.pool)
    opened = await keys.provider.unwrap([wrapped(row) for row in samples])
    wrong = {row.kek: _why(key) for row, key in zip(samples, opened, strict=True)}
    held = {kek: sum(count.keys for count in counts if count.kek == kek) for kek in wrong}
    return [
        Version(kek, held.get(kek, 0), kek == current, wrong.get(kek, "")) for kek in sorted({*held, current})
    ]


def _why(opened: Any) -> str:
    """Why a key does not open, in the provider's words; '' when it does."""
    return str(opened) if isinstance(opened, (Retryable, sealing.Unopenable)) else ""
