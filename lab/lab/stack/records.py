"""What a stack's folder remembers between commands: one small JSON file for each server, and a lock.

Written by rename, so that a reader never meets half a file. A record that cannot be read is said
so by name rather than taken for "nothing runs here": servers might be left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.stack.errors import StackError

Record = dict[str, Any]


def load(path: Path) -> Record | None:
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as broken:
        raise StackError(
            f"{path} is not readable ({broken}); remove it if no server of this stack runs"
        ) from None
    if not isinstance(record, dict):
        raise StackError(f"{path} does not hold a record; remove it if no server of this stack runs")
    return record


def store(path: Path, record: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(record, indent=2) + "\n")
    fresh.replace(path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time: two `up` of one folder must not start two servers on one data folder.

    The lock ends with its holder, however that ends; children never inherit the descriptor.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
