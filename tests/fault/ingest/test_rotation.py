"""A secret is rotated while Stripe sends: not one genuine request is refused, and afterwards the old one opens nothing.

The files are changed as an operator and Kubernetes change them; the process is the real one and is told nothing.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, cycle
from pathlib import Path

import asyncpg
import pytest

from ingest.store import SCHEMA
from tests.fault.ingest.witness import Line, Stripe, account_for, business, signature
from tests.integration.ingest.edge import ACCOUNT, Process, body_of, process_on, until
from tests.support.database import Database, MakeDatabase

OLD, NEW, NEWEST = b"whsec_old", b"whsec_new", b"whsec_newest"
IN_FORCE_SECONDS = 2.0  # Stripe gives a day
REFUSED = "new version refused, the one before stays"
READ = "new version read"


class Mount:
    """A folder as Kubernetes mounts a Secret: every file is a link into a version, which is swung at once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.versions = folder, count(1)
        folder.mkdir()

    def holds(self, **files: bytes | str) -> None:
        version = self.folder / f"..version_{next(self.versions)}"
        version.mkdir()
        for name, held in files.items():
            (version / name).write_bytes(held if isinstance(held, bytes) else held.encode())
        fresh = self.folder / "..fresh"
        fresh.symlink_to(version.name)
        fresh.replace(self.folder / "..data")
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")


@dataclass
class Site:
    """The process, its files, and Stripe."""

    db: Database
    process: Process
    secrets: Mount
    config: Mount
    stripe: Stripe
    active: list[bytes] = field(default_factory=list)

    def endpoints(self, *secrets: str) -> None:
        """The file anew; what else is said of a secret stands after its name."""
        self.config.holds(endpoints=self.text(*secrets))

    def text(self, *secrets: str) -> str:
        lines = "".join(f"    - file: {self.secrets.folder}/{secret}\n" for secret in secrets)
        return f"main:\n  account: {ACCOUNT}\n  livemode: false\n  secrets:\n{lines}"

    def said(self, message: str) -> int:
        return len([line for line in self.process.log if line["message"] == message])

    async def sees(self, message: str, times: int) -> None:
        async def so_often() -> bool:
            return self.said(message) >= times

        await until(so_often)

    async def settles(self) -> None:
        """Stripe sends for as long as it takes to be sure that the files are in force, and some more."""
        ends = time.monotonic() + IN_FORCE_SECONDS

        async def over() -> bool:
            return time.monotonic() >= ends

        await until(over)
        await self.stripe.more(30)

    async def answer_to(self, secret: bytes) -> int:
        """What a genuine request is answered that is signed with this secret alone."""
        line, raw = Line(self.stripe.port), body_of("evt_probe")
        heard = await line.post(raw, signature(raw, secret))
        await line.close()
        assert heard
        return heard.status


@asynccontextmanager
async def site_on(db: Database, folder: Path) -> AsyncIterator[Site]:
    secrets, config = Mount(folder / "secrets"), Mount(folder / "config")
    secrets.holds(one=OLD)
    site = Site(db, None, secrets, config, Stripe(0, business("rotated")), [OLD])  # type: ignore[arg-type]
    site.endpoints("one")
    async with process_on(db, folder, INGEST_ENDPOINTS=str(config.folder / "endpoints")) as site.process:
        turns = cycle(range(8))
        site.stripe.port = site.process.port
        site.stripe.secrets = lambda: [site.active[next(turns) % len(site.active)]]
        async with site.stripe.sending():
            await site.stripe.more(30)
            yield site
            await site.stripe.finish()


@pytest.fixture
async def site(database: MakeDatabase, tmp_path: Path) -> AsyncIterator[Site]:
    async with site_on(await database(SCHEMA), tmp_path) as site:
        yield site


async def test_from_old_to_new_with_a_mistake_in_between(site: Site) -> None:
    """Two files: the new secret is added, both sign by turns, the old one is taken out."""
    site.secrets.holds(one=OLD, two=NEW)
    site.endpoints("two", "one")
    await site.sees(READ, 1)
    site.active[:] = [OLD, NEW]
    await site.settles()
    site.endpoints("two", "nowhere")
    await site.sees(REFUSED, 1)
    await site.settles()
    site.config.holds(endpoints="main: [")
    await site.sees(REFUSED, 2)
    await site.settles()
    site.active[:] = [NEW]
    await site.settles()
    site.endpoints("two")
    await site.sees(READ, 2)
    await site.settles()
    assert await site.answer_to(OLD) == 400
    await nothing_was_refused(site)
    assert await verified(site) == {f"file {site.secrets.folder}/{name}" for name in ("one", "two")}


async def test_the_file_of_a_secret_is_swung_to_another_and_its_end_comes(site: Site) -> None:
    """The endpoints name the same files throughout; what the files hold changes, and an end comes by the clock."""
    site.endpoints("one", "two")  # before there is a second: refused, and taken when it comes
    await site.sees(REFUSED, 1)
    site.secrets.holds(one=NEW, two=OLD)
    await site.sees(READ, 1)
    site.active[:] = [NEW, OLD]
    await site.settles()
    site.active[:] = [NEW]
    await site.settles()
    ends = datetime.now(UTC) + timedelta(seconds=5)
    site.endpoints("one", f"two\n      not_after: {ends.isoformat()}")
    await site.sees(READ, 2)
    site.secrets.holds(one=NEWEST, two=NEW)
    await site.sees(READ, 3)
    await site.stripe.more(30)
    assert await site.answer_to(OLD) == 400
    site.active[:] = [NEWEST]

    async def over() -> bool:
        return datetime.now(UTC) > ends + timedelta(seconds=1)

    await until(over)
    assert (await site.answer_to(NEW), await site.answer_to(NEWEST)) == (400, 200)
    await nothing_was_refused(site)


async def nothing_was_refused(site: Site) -> None:
    await site.stripe.finish()
    assert set(site.stripe.answers) == {200}
    stored = await account_for(site.db, site.stripe.sent, list(site.stripe.acknowledged))
    assert stored == site.stripe.sent.keys()


async def verified(site: Site) -> set[str]:
    """The secrets that vouched for something."""
    owner = await asyncpg.connect(site.db.owner)
    rows = await owner.fetch("select distinct secret from ingest.event")
    await owner.close()
    return {row["secret"] for row in rows}
