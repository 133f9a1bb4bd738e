"""A real browser for tests: Debian's Chromium, driven by Playwright. It reaches the loopback only."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from lab.stack import packages

CHROMIUM = packages.Package("Chromium", "chromium", "chromium", "chromium")
QUIET = [  # no sandbox as root, and nothing of its own over the network
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]  # fmt: skip


def program() -> str:
    """The path of Chromium. Takes it from Debian's packages where the machine has none."""
    if shutil.which("chromium") is None:
        packages.install(CHROMIUM, print)
    found = shutil.which("chromium")
    assert found, packages.sentence(CHROMIUM)
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program(), args=QUIET)
        try:
            yield started
        finally:
            started.close()
