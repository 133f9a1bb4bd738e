"""The process as an operator starts it: wrong configuration ends it with a sentence and a code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DEADLINE_SECONDS = 60


def started(**variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: v for name, v in os.environ.items() if not name.startswith("ENTITLEMENT_")}
    named = {f"ENTITLEMENT_{name.upper()}": value for name, value in variables.items()}
    command = [sys.executable, "-m", "entitlement"]
    return subprocess.run(
        command,
        env=environment | named,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def test_a_mistake_in_the_catalog_stops_the_start_with_file_line_and_fix(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text('version: "1"\neffective_from: soon\nfeatures: {}\nplans: {}\n')
    ended = started(database="postgresql://127.0.0.1:1/none", catalog=str(catalog))
    assert ended.returncode == 78
    assert f"entitlement: {catalog}:2: effective_from: 'soon' is not an instant; write 2026-" in ended.stderr


def test_a_missing_setting_is_named() -> None:
    ended = started(database="postgresql://127.0.0.1:1/none")
    assert (ended.returncode, "ENTITLEMENT_CATALOG" in ended.stderr) == (78, True)
