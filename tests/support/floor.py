"""No suite vanishes silently: each folder of tests runs at least as many as tests/floor.json says.

A hook of the test run: a green run of whole folders in which one ran fewer tests than its floor is red. A skipped
test did not run. Part of a folder, or a run that failed anyway, is not judged. Of several workers, nobody is judged
but all of them together.

    python -m tests.support.floor      raise the floors to what is collected now (they are never lowered
                                       by this: to remove tests, edit the file and say why)
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOOR = "tests/floor.json"
SELECTION = "not bench and not nightly"  # what `make test` runs
RAN = pytest.StashKey[Counter[str]]()
SHORT = pytest.StashKey[list[str]]()


def folder(nodeid: str) -> str:
    """The folder of a test: tests/unit/ledger."""
    return nodeid.partition("::")[0].rpartition("/")[0]


def below(wanted: Mapping[str, int], ran: Mapping[str, int]) -> list[str]:
    """A sentence for each folder that ran fewer tests than its floor."""
    return [
        f"{name}: {ran.get(name, 0)} tests ran, at least {floor} should"
        for name, floor in sorted(wanted.items())
        if ran.get(name, 0) < floor
    ]


def floors(root: Path) -> dict[str, int]:
    """The committed floors."""
    found: dict[str, int] = json.loads((root / FLOOR).read_text())
    return found


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RAN] = Counter()
    config.stash[SHORT] = []


class _Count:
    """Counts what has run; needs the stash of one configuration."""

    def __init__(self, ran: Counter[str]) -> None:
        self.ran = ran

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and not report.skipped:
            self.ran[folder(report.nodeid)] += 1


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.pluginmanager.register(_Count(session.config.stash[RAN]))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    asked = _asked(session.config)
    if exitstatus == pytest.ExitCode.OK and asked:
        ran: Counter[str] = session.config.stash[RAN]
        wanted = floors(session.config.rootpath)
        left_out = session.config.getoption("ignore") or []
        judged = {name for name in wanted if _within(name, asked) and not _within(name, left_out)}
        short = below({name: wanted[name] for name in judged}, ran)
        session.config.stash[SHORT] = short
        if short:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for sentence in config.stash[SHORT]:
        terminalreporter.write_line(f"below the floor: {sentence}", red=True)


def _asked(config: pytest.Config) -> list[str]:
    """The folders that were asked for whole: nothing picked out of them, nothing only collected."""
    told = config.option
    if told.markexpr not in ("", SELECTION) or told.keyword or told.deselect or told.collectonly:
        return []
    if hasattr(config, "workerinput"):
        return []
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        return ["tests"]
    folders = [argument.rstrip("/") for argument in config.args]
    return folders if all((config.rootpath / folder).is_dir() for folder in folders) else []


def _within(name: str, folders: Iterable[str]) -> bool:
    return any(f"{name}/".startswith(f"{folder}/") for folder in folders)


def collected(root: Path = ROOT) -> Counter[str]:
    """How many tests each folder has now. Raises when one cannot be collected."""
    asked = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", SELECTION, "-p", "no:warnings"]
    ran = subprocess.run(asked, capture_output=True, text=True, cwd=root)
    if ran.returncode != pytest.ExitCode.OK:
        raise RuntimeError(ran.stdout[-2000:])
    return Counter(folder(line) for line in _nodeids(ran.stdout.splitlines()))


def _nodeids(lines: Iterable[str]) -> Iterable[str]:
    return (line for line in lines if line.startswith("tests/") and "::" in line)


def main() -> None:
    path = ROOT / FLOOR
    now = collected()
    kept = floors(ROOT) if path.exists() else {}
    raised = {name: max(now[name], kept.get(name, 0)) for name in sorted({*now, *kept})}
    path.write_text(json.dumps(raised, indent=2) + "\n")


if __name__ == "__main__":
    main()
