"""The end of several log files, and what is added to them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

LOOK_EVERY_SECONDS = 0.2


def lines(paths: Sequence[Path], *, last: int, forever: bool) -> Iterator[str]:
    """The last lines of each file, then, if wanted, every new one; a line names its file if there are several."""
    heads = {path: f"{path.stem} | " if len(paths) > 1 else "" for path in paths}
    ends: dict[Path, int] = {}
    for path in paths:
        text, ends[path] = _read(path, 0)
        yield from (heads[path] + line for line in deque(text, maxlen=last))
    while forever:
        time.sleep(LOOK_EVERY_SECONDS)
        for path in paths:
            text, ends[path] = _read(path, ends[path])
            yield from (heads[path] + line for line in text)


def _read(path: Path, start: int) -> tuple[list[str], int]:
    """The whole lines from here on, and where the next ones will begin; from the top in a file begun anew."""
    if not path.exists():
        return [], 0
    with path.open("rb") as file:
        file.seek(start if path.stat().st_size >= start else 0)
        begin = file.tell()
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    return whole.decode(errors="replace").splitlines(), begin + len(whole)
