"""Write what the double's pages take from its code: the operations, the parameters it lacks, the profiles.

python docs/lab/generate.py           write
python docs/lab/generate.py --check   write nothing; exit 1 when something is out of date
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from millrace_lab.composition import OPERATIONS
from millrace_lab.delivery.schedule import KNOBS, PROFILES

HERE = Path(__file__).parent
HOME = HERE.parents[1]
README, SCHEDULES, ABSENT = HOME / "lab" / "README.md", HERE / "schedules.md", HERE / "absent.md"
SPACES = (
    "/v1/billing/",
    "/v1/billing_portal/",
    "/v1/checkout/",
    "/v1/entitlements/",
    "/v1/test_helpers/",
    "/v2/",
)
METHODS = ("GET", "POST", "DELETE")


def operations() -> str:
    """A row for each noun: its paths, each with what may be done there. `…` stands for the noun's own path."""
    methods: dict[str, set[str]] = defaultdict(set)
    for each in OPERATIONS:
        methods[each.path].add(each.method)
    rows: dict[str, list[str]] = defaultdict(list)
    for path in sorted(methods):
        told = " ".join(method for method in METHODS if method in methods[path])
        rest = path.removeprefix(_noun(path))
        rows[_noun(path)].append(f"`{told}{f' …{rest}' if rest else ''}`")
    lines = [f"| `{noun}` | {', '.join(paths)} |" for noun, paths in rows.items()]
    return "\n".join([f"{len(OPERATIONS)} operations:", "", "| | |", "|---|---|", *lines])


def _noun(path: str) -> str:
    """/v1/customers of /v1/customers/{customer}/tax_ids; one part more where Stripe has a space for several."""
    parts = 4 if path.startswith(SPACES) else 3
    return "/".join(path.split("/")[:parts])


def profiles() -> str:
    rows = {name: asdict(profile) for name, profile in PROFILES.items()}
    lines = [
        f"| `{knob}` | {' | '.join(f'{row[knob]:.1%}' if row[knob] else '' for row in rows.values())} |"
        for knob in KNOBS
    ]
    return "\n".join([f"| knob | {' | '.join(rows)} |", f"|---|{'---:|' * len(rows)}", *lines])


def absent() -> str:
    lines = [
        f"| `{each.route}` | {', '.join(f'`{name}`' for name in sorted(each.absent))} |"
        for each in sorted(OPERATIONS, key=lambda each: (each.path, each.method))
        if each.absent
    ]
    return "\n".join(["| operation | answers 501 for |", "|---|---|", *lines])


SECTIONS = {README: {"operations": operations}, SCHEDULES: {"profiles": profiles}, ABSENT: {"absent": absent}}


def wanted() -> Iterator[tuple[Path, str]]:
    """Every page, with its generated sections as they have to be."""
    for page, sections in SECTIONS.items():
        text = page.read_text()
        for name, section in sections.items():
            begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
            between = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
            text, found = between.subn(lambda _, section=section: f"{section()}\n", text)  # type: ignore[misc]
            assert found == 1, f"{page} has no section {name}"
        yield page, text


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate what the double's pages take from its code.")
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    late = [(page, text) for page, text in wanted() if page.read_text() != text]
    for page, text in late:
        sys.stdout.write(f"{page.relative_to(HOME)}\n")
        if not asked.check:
            page.write_text(text)
    return 1 if asked.check and late else 0


if __name__ == "__main__":
    sys.exit(main())
