"""`millrace endpoints check` without a database: the file is judged before anything is asked of one."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from millrace.cli import application
from millrace.errors import Misconfigured


@pytest.mark.parametrize("by_variable", [True, False])
def test_an_invalid_file_is_refused_with_line_and_fix(tmp_path: Path, by_variable: bool) -> None:
    file = tmp_path / "endpoints.yaml"
    file.write_text("main:\n  account: acct_1\n  livemode: true\n  secrets:\n    - env: NOT_SET\n")
    asked = ["endpoints", "check"] if by_variable else ["endpoints", "check", "--file", str(file)]
    done = CliRunner().invoke(
        application(), asked, env={"INGEST_ENDPOINTS": str(file)} if by_variable else {}
    )
    assert isinstance(done.exception, Misconfigured)  # which `millrace.cli.main` ends with 78
    assert str(done.exception) == (
        f"{file}:5: main.secrets[0].env: 'NOT_SET' holds no secret; put the endpoint's whsec_… there"
    )


def test_the_help_has_an_example() -> None:
    done = CliRunner().invoke(application(), ["endpoints", "check", "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "Example: millrace endpoints check --file endpoints.yaml --since 1h" in done.output
