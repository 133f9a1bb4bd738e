"""A month of the event log as files, and how it then leaves the database.

    DIR/events-00001.jsonl.zst    a line an event, in the order of arrival; the body sealed, in base64
    DIR/manifest.json             the files with their sha-256, and a digest over the rows; written last

What is sealed in the table is sealed in the files: who is erased later is erased there too. A folder without a
manifest is an export that did not end; it is made again from the beginning.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import asyncpg
import orjson
import zstandard

from ingest import archive_store
from ingest.archive import opened
from ingest.archive_store import Record
from ingest.domain.months import Month
from millrace.errors import Misconfigured, Retryable
from millrace.postgres import Connection, Transaction
from millrace.sealing import Keys

FORMAT = "millrace.events.export/1"
MANIFEST = "manifest.json"
FRESH = ".new"  # what an export writes into until it is whole
ROWS_MAX = 100_000  # in a file: some hundred megabytes, which a laptop opens
LEVEL = 3  # zstd; the bodies are ciphertext and do not shrink, the rest does
KEEP_YEARS = 7
DETACH_TRIES = 10

Moved = Callable[[int], object]  # hears how many rows were done


@dataclass(frozen=True, slots=True)
class File:
    """A file of an export."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export holds. Units: `bytes` of bodies as they are stored."""

    month: str
    sealed: bool  # False: opened, and beyond the reach of an erasure
    exported_at: datetime
    files: list[File]
    digest: str = ""  # sha-256 over (account, id, sha-256 of the stored body), in the order of arrival
    rows: int = 0
    bytes: int = 0
    first_received_at: datetime | None = None
    last_received_at: datetime | None = None
    format: str = FORMAT


async def export(
    connection: Connection,
    month: Month,
    folder: Path,
    *,
    now: datetime,
    keys: Keys | None = None,
    rows_max: int = ROWS_MAX,
    moved: Moved = lambda _: None,
) -> Manifest:
    """Write a month into a folder; with keys, opened. Raises Misconfigured when the folder holds anything else.

    Replay: writes it anew and then takes the place of what was there.
    """
    files = _Files(_begun(folder, month), rows_max)
    total = _Total()
    async for rows in archive_store.month_of(connection, month):
        bodies = await opened(keys, rows) if keys else None
        for place, row in enumerate(rows):
            hashed = total.add(row)
            files.write(_line(row, hashed, bodies[place] if bodies else None, sealed=bodies is None))
        moved(len(rows))
    files.close()
    manifest = total.told(Manifest(str(month), keys is None, now, files.done))
    _ended(folder, manifest)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file. Raises Misconfigured."""
    try:
        found = orjson.loads(path.read_bytes())
        files = [File(**file) for file in found.pop("files")]
        for name in ("exported_at", "first_received_at", "last_received_at"):
            found[name] = datetime.fromisoformat(found[name]) if found[name] else None
        manifest = Manifest(files=files, **found)
    except OSError as problem:
        raise Misconfigured(f"{path}: {problem.strerror}; an export without a manifest did not end") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Misconfigured(f"{path}: is not a manifest of an export; give the one that it wrote") from None
    if manifest.format != FORMAT:
        raise Misconfigured(f"{path}: is {manifest.format!r}; this version reads {FORMAT}")
    return manifest


def faults(folder: Path, moved: Moved = lambda _: None) -> list[str]:
    """What in an export is not as its manifest says; nothing when it is whole. Raises Misconfigured."""
    manifest = read_manifest(folder / MANIFEST)
    strange = {path.name for path in folder.glob("*") if path.name != MANIFEST} - {
        f.name for f in manifest.files
    }
    found = [f"{name}: is not in the manifest" for name in sorted(strange)]
    found += [problem for file in manifest.files if (problem := _fault(folder / file.name, file))]
    if not found:
        total = _Total()
        for file in manifest.files:
            for row in _rows(folder / file.name):
                total.add_hash(row, row["sha256"], row["bytes"])
                if manifest.sealed and _hash(base64.b64decode(row["raw"])) != row["sha256"]:
                    found.append(f"{file.name}: the body of {row['id']} is another one")
            moved(file.rows)
        found += _differing(total.told(manifest), manifest)
    return found


async def differences(connection: Connection, manifest: Manifest, moved: Moved = lambda _: None) -> list[str]:
    """What the month in the log has other than its manifest; nothing when they are the same."""
    month, total = Month.read(manifest.month), _Total()
    if month is None:
        return [f"{manifest.month} is no month"]
    async for rows in archive_store.month_of(connection, month):
        for row in rows:
            total.add(row)
        moved(len(rows))
    return _differing(total.told(manifest), manifest)


def too_early(month: Month, now: datetime, keep_years: int = KEEP_YEARS) -> str:
    """Why a month must stay in the log for now, or nothing."""
    if month >= Month.of(now):
        return f"{month} has not ended"
    if Month.of(now) <= (until := month.later(12 * keep_years)):
        return f"{month} is kept for {keep_years} years, until the end of {until}"
    return ""


async def detach(
    connection: Connection, month: Month, witness: Callable[[Transaction], Awaitable[None]]
) -> str:
    """Take a month out of the log; returns the name of the table it then is.

    Writes: nothing but what `witness` writes in the same transaction. No row is changed or deleted.
    Raises: Retryable when the log is never still enough; Misconfigured when the month has no partition.
    """
    there = {partition["name"] for partition in await archive_store.partitions(connection)}
    if month.partition not in there:
        raise Misconfigured(
            f"ingest.{month.partition} is no partition of the log: `millrace events partitions`"
        )
    for _ in range(DETACH_TRIES):
        try:
            async with connection.transaction():
                await witness(connection)
                return await archive_store.detach(connection, month)
        except asyncpg.LockNotAvailableError:
            continue
    raise Retryable("somebody holds the event log for longer than webhooks may wait; try again later")


def _line(row: Record, hashed: str, body: bytes | None, *, sealed: bool) -> bytes:
    """A row of a file. An opened body is a text, exact to the byte; null where the customer was erased."""
    told = {name: value for name, value in row.items() if name != "raw"}
    told |= {"sha256": hashed, "bytes": len(row["raw"])}
    told |= (
        {"raw": base64.b64encode(row["raw"]).decode()}
        if sealed
        else {"body": body.decode() if body else None}
    )
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _differing(found: Manifest, manifest: Manifest) -> list[str]:
    """Rows, bytes and digest that are not the manifest's."""
    return [
        f"{name}: {getattr(found, name)}, but the manifest says {getattr(manifest, name)}"
        for name in ("rows", "bytes", "first_received_at", "last_received_at", "digest")
        if getattr(found, name) != getattr(manifest, name)
    ]


class _Total:
    """What a manifest says of all rows, while they pass."""

    def __init__(self) -> None:
        self.whole = hashlib.sha256()
        self.rows = self.bytes = 0
        self.first: datetime | None = None
        self.last: datetime | None = None

    def add(self, row: Record) -> str:
        """Count a row of the log; returns the hash of its body."""
        hashed = _hash(row["raw"])
        self.add_hash(row, hashed, len(row["raw"]))
        return hashed

    def add_hash(self, row: Record, hashed: str, size: int) -> None:
        self.whole.update(f"{row['account']} {row['id']} {hashed}\n".encode())
        self.rows, self.bytes = self.rows + 1, self.bytes + size
        self.last = row["received_at"]
        self.first = self.first or self.last

    def told(self, manifest: Manifest) -> Manifest:
        return replace(
            manifest,
            digest=self.whole.hexdigest(),
            rows=self.rows,
            bytes=self.bytes,
            first_received_at=self.first,
            last_received_at=self.last,
        )


@dataclass
class _Files:
    """The files of an export, one after the other, each of so many rows at most."""

    folder: Path
    rows_max: int
    done: list[File] = field(default_factory=list)
    file: BinaryIO | None = None

    def write(self, line: bytes) -> None:
        if self.file is None or self.rows >= self.rows_max:
            self.close()
            self._open()
        self._put(self.packer.compress(line))
        self.rows += 1

    def close(self) -> None:
        """End the file that is open; it is on the disk then."""
        if self.file is None:
            return
        self._put(self.packer.flush())
        _to_disk(self.file)
        size = self.file.tell()
        self.file.close()
        self.done.append(File(self.name, self.rows, size, self.hash.hexdigest()))
        self.file = None

    def _open(self) -> None:
        self.name, self.rows = f"events-{len(self.done) + 1:05}.jsonl.zst", 0
        self.hash = hashlib.sha256()
        self.packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
        self.file = _private(self.folder / self.name)

    def _put(self, packed: bytes) -> None:
        assert self.file
        self.hash.update(packed)
        self.file.write(packed)


def _begun(folder: Path, month: Month) -> Path:
    """An empty folder to write into. Raises Misconfigured when the place is taken."""
    if (folder / MANIFEST).exists() and (held := read_manifest(folder / MANIFEST).month) != str(month):
        raise Misconfigured(f"{folder}: holds {held}; give {month} a folder of its own")
    fresh = folder / FRESH
    if folder.exists() and (other := [p.name for p in folder.iterdir() if not _ours(p)]):
        raise Misconfigured(f"{folder}: holds {other[0]}, which no export wrote; give it a folder of its own")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700, parents=True)
    return fresh


def _ended(folder: Path, manifest: Manifest) -> None:
    """Put the files into their places; the manifest goes first and comes last, so a torn export has none."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for old in folder.glob("events-*"):
        old.unlink()
    for file in manifest.files:
        (folder / FRESH / file.name).rename(folder / file.name)
    with _private(folder / FRESH / MANIFEST) as written:
        written.write(orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z) + b"\n")
        _to_disk(written)
    (folder / FRESH / MANIFEST).rename(folder / MANIFEST)
    (folder / FRESH).rmdir()


def _ours(path: Path) -> bool:
    return path.name in (MANIFEST, FRESH) or path.match("events-*.jsonl.zst")


def _private(path: Path) -> BinaryIO:
    """A new file that only its owner may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _fault(path: Path, file: File) -> str:
    """What is wrong with a file as such."""
    if not path.exists():
        return f"{file.name}: is missing"
    with path.open("rb") as read:
        hashed = hashlib.file_digest(read, "sha256").hexdigest()
    return "" if hashed == file.sha256 else f"{file.name}: is not the file that was written"


def _rows(path: Path) -> Iterator[Record]:
    """The rows of a file that is known to be whole."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as plain:
        for line in io.BufferedReader(plain):
            row = orjson.loads(line)
            row["received_at"] = datetime.fromisoformat(row["received_at"])
            yield row
