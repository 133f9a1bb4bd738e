"""The schemas that were released, as files in a folder: one JSON Schema each, named after it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from millrace.schemas.promises import Schema


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """By name; none in a folder that is not there. Raises ValueError, naming the file that is no schema."""
    return {path.stem: _schema(path) for path in sorted(folder.glob("*.json"))}


def write(folder: Path, schemas: Mapping[str, Schema]) -> list[Path]:
    """Make them the promise; those of events that are no longer written stay. Returns the files that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {folder / f"{name}.json": text(body) for name, body in schemas.items()}
    late = [path for path, body in wanted.items() if not path.exists() or path.read_text() != body]
    for path in late:
        path.write_text(wanted[path])
    return late


def text(body: Schema) -> str:
    """A schema as it is written to a file: two runs give the same bytes."""
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n"


def _schema(path: Path) -> dict[str, Any]:
    try:
        body = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as problem:
        raise ValueError(f"{path} is not JSON: {problem.msg} at {problem.pos}") from None
    if not isinstance(body, dict):
        raise ValueError(f"{path} is no JSON Schema but {type(body).__name__}")
    return body
