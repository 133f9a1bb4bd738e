"""Write what is generated from the code: schemas/*.json, schemas/asyncapi.yaml and the tables of docs/events.md.

python schemas/generate.py             write
python schemas/generate.py --check     write nothing; exit 1 when something is out of date
python schemas/generate.py --publish   at a release: what is written becomes a promise (schemas/published/)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from millrace.schemas import asyncapi, broken, channels, page, published, schemas, text

HERE = Path(__file__).parent
PUBLISHED = HERE / "published"
EVENTS = HERE.parent / "docs" / "events.md"
ASYNCAPI = HERE / "asyncapi.yaml"


def wanted() -> dict[Path, str]:
    """Every generated file with its text."""
    found = {HERE / f"{name}.json": text(body) for name, body in schemas().items()}
    return found | {ASYNCAPI: channels.text(asyncapi()), EVENTS: page.filled(EVENTS.read_text())}


def stale() -> list[Path]:
    """Generated files that differ from the code, or that nothing generates any more."""
    wants = wanted()
    differ = [path for path, body in wants.items() if not path.exists() or path.read_text() != body]
    return differ + [path for path in HERE.glob("*.json") if path not in wants]


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate schemas/ and the tables of docs/events.md.")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--publish", action="store_true")
    asked = parser.parse_args()
    if problems := broken(published.read(PUBLISHED), schemas()):
        sys.stderr.write("".join(f"{problem}\n" for problem in problems))
        return 1
    late = stale()
    if asked.check:
        sys.stderr.write("".join(f"{path.relative_to(HERE.parent)}: run `make schemas`\n" for path in late))
        return 1 if late else 0
    for path in late:
        _write(path, wanted().get(path))
    if asked.publish:
        published.write(PUBLISHED, schemas())
    return 0


def _write(path: Path, body: str | None) -> None:
    if body is None:
        path.unlink()
    else:
        path.write_text(body)
    sys.stdout.write(f"{path.relative_to(HERE.parent)}\n")


if __name__ == "__main__":
    sys.exit(main())
