"""Every model, whole, and every mistake that it must find.

python -m model        ends with 1 when a model is wrong, or a mistake was not found
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from model import MISTAKES, Verdict, check

WHOLE = {"relay": ("ROWS=4", "ROWS=3"), "undecided": ("MEMORY=4", "MEMORY=3")}  # for safety, and for progress


def main() -> int:
    wrong = 0
    for name, verdict, fine in searches():
        wrong += not fine
        words = verdict.found or "nothing is wrong, everything was visited"
        sys.stdout.write(
            f"{'ok ' if fine else 'BAD'} {name:32}{verdict.states:>12,} states {verdict.seconds:7.1f} s  {words}\n"
        )
        sys.stdout.flush()
    return bool(wrong)


def searches() -> Iterator[tuple[str, Verdict, bool]]:
    """Each search, its verdict, and whether that is the one that was meant."""
    for model, mistakes in MISTAKES.items():
        for cycles, size in enumerate(WHOLE[model]):
            made = check(model, size, cycles=bool(cycles))
            yield f"{model} {'progress' if cycles else 'safety'}", made, made.complete and not made.errors
        for mistake, wanted in mistakes.items():
            made = check(model, mistake, quick=True, cycles="cycle" in wanted)
            yield f"{model} -D{mistake}", made, wanted in made.found


if __name__ == "__main__":
    sys.exit(main())
