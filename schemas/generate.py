"""Write what is generated from the code: schemas/*.json and the examples in docs/events.md.

python schemas/generate.py             write
python schemas/generate.py --check     write nothing; exit 1 when something is out of date
python schemas/generate.py --publish   at a release: what is written becomes a promise (schemas/published/)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson

from millrace.schemas import broken, schemas, text

HERE = Path(__file__).parent
PUBLISHED = HERE / "published"
EVENTS = HERE.parent / "docs" / "events.md"
BEGIN, END = "<!-- generated from schemas/ by `make schemas`: begin -->", "<!-- generated: end -->"


def wanted() -> dict[Path, str]:
    """Every generated file with its text."""
    files = {HERE / f"{name}.json": text(body) for name, body in schemas().items()}
    before, _, rest = EVENTS.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return files | {EVENTS: f"{before}{BEGIN}\n{_examples()}\n{END}{after}"}


def published() -> dict[str, dict[str, object]]:
    """The schemas that were released, by name."""
    return {path.stem: orjson.loads(path.read_bytes()) for path in sorted(PUBLISHED.glob("*.json"))}


def stale() -> list[Path]:
    """Generated files that differ from the code, or that nothing generates any more."""
    files = wanted()
    differ = [path for path, body in files.items() if not path.exists() or path.read_text() != body]
    return differ + [path for path in HERE.glob("*.json") if path not in files]


def _examples() -> str:
    return "\n".join(
        f"\n### {body['x-ce-type']}\n\n{body['description']}\n\n"
        f"Topic `{body['x-topic']}` · schema `{body['$id']}` · [{name}.json](../schemas/{name}.json)\n\n"
        f"```json\n{text(body['examples'][0])}```"
        for name, body in schemas().items()
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate schemas/ and the examples in docs/events.md.")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--publish", action="store_true")
    asked = parser.parse_args()
    if problems := broken(published(), schemas()):
        sys.stderr.write("".join(f"{problem}\n" for problem in problems))
        return 1
    late = stale()
    if asked.check:
        sys.stderr.write("".join(f"{path.relative_to(HERE.parent)}: run `make schemas`\n" for path in late))
        return 1 if late else 0
    for path in late:
        _write(path, wanted().get(path))
    if asked.publish:
        PUBLISHED.mkdir(exist_ok=True)
        for name, body in schemas().items():
            _write(PUBLISHED / f"{name}.json", text(body))
    return 0


def _write(path: Path, body: str | None) -> None:
    if body is None:
        path.unlink()
    else:
        path.write_text(body)
    sys.stdout.write(f"{path.relative_to(HERE.parent)}\n")


if __name__ == "__main__":
    sys.exit(main())
