"""Where the commands look, and what they say when nobody told them."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.errors import Misconfigured
from operations.settings import Settings


def test_a_missing_database_is_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MILLRACE_DATABASE", raising=False)
    with pytest.raises(Misconfigured, match=r"MILLRACE_DATABASE: .*make demo"):
        Settings.read()


def test_the_file_that_the_demo_writes_is_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".millrace").mkdir()
    (tmp_path / ".millrace" / "env").write_text(
        "MILLRACE_DATABASE=postgresql://file\nMILLRACE_KAFKA=file:1\n"
    )
    monkeypatch.setenv("MILLRACE_KAFKA", "environment:1")
    settings = Settings.read()
    assert settings.database.get_secret_value() == "postgresql://file"
    assert settings.kafka == "environment:1"
    assert "file" not in repr(settings.database)
