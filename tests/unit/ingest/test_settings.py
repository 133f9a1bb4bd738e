"""The endpoints file: a mistake names file, line and fix, and never the secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.settings import read_endpoints
from millrace.errors import Misconfigured

GOOD = """\
main:
  account: acct_1
  livemode: true
  api_version: 2026-10-28.endive
  secrets:
    - env: SECRET_NEW
    - file: {folder}/old
test_mode:
  account: acct_1
  livemode: false
  secrets: [{{env: SECRET_NEW}}]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SECRET_NEW", "whsec_new")
    (tmp_path / "old").write_text("whsec_old\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "endpoints.yaml").write_text(GOOD.format(folder=tmp_path))
    return tmp_path / "endpoints.yaml"


def test_endpoints_are_read_with_their_secrets(file: Path) -> None:
    found = read_endpoints(file)
    assert list(found) == ["main", "test_mode"]
    assert (found["main"].account, found["main"].livemode) == ("acct_1", True)
    assert found["main"].secrets == (b"whsec_new", b"whsec_old")
    assert found["test_mode"].livemode is False
    assert "whsec" not in repr(found)


MISTAKES = [
    # replace                         by                         line  says
    ("  livemode: true\n", "", 1, "main: 'livemode' is missing; add `livemode:`"),
    (
        "livemode: true",
        "livemode: 'true'",
        3,
        "livemode: 'true' is not a switch; write true or false, without quotes",
    ),
    ("account: acct_1\n  livemode: true", "account: cus_1\n  livemode: true", 2, "not a Stripe account"),
    ("account: acct_1\n  livemode: true", "account:\n  livemode: true", 2, "main.account: has no value"),
    ("api_version", "api-version", 4, "main.api-version: is not known here; did you mean api_version?"),
    ("env: SECRET_NEW\n", "env: NOT_SET\n", 6, "env: 'NOT_SET' holds no secret; put the endpoint's whsec_"),
    ("/old", "/older", 7, "holds no secret"),
    ("/old", "/binary", 7, "holds no secret"),
    ("    - env: SECRET_NEW\n", "    - whsec_in_the_open\n", 6, "main.secrets[0]: is not a mapping"),
    (
        "    - env: SECRET_NEW\n",
        "    - vault: x\n",
        6,
        "secrets[0].vault: is not known here; use env or file",
    ),
    (
        "    - env: SECRET_NEW\n",
        "    - env: whsec_in_the_open\n",
        6,
        "secrets[0].env: 'whsec_…' holds no secret",
    ),
    ("[{env: SECRET_NEW}]", "[{env: A, file: b}]", 11, "is not one of env and file; write `- env: NAME` or"),
    ("secrets: [{env: SECRET_NEW}]", "secrets: []", 11, "secrets: needs 1 or more; write `- env: NAME` or"),
    ("secrets: [{env: SECRET_NEW}]", "secrets: SECRET_NEW", 11, "secrets: is not a list"),
    ("test_mode:", "main:", 8, "main: is there twice; keep one of them"),
    ("test_mode:", "test/mode:", 8, "does not fit in a URL; use letters"),
    ("livemode: false", "livemode: }", 10, "is not YAML"),
]


@pytest.mark.parametrize(("old", "new", "line", "says"), MISTAKES, ids=[m[3][:40] for m in MISTAKES])
def test_a_mistake_names_file_line_and_fix(file: Path, old: str, new: str, line: int, says: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(Misconfigured) as problem:
        read_endpoints(file)
    assert str(problem.value).startswith(f"{file}:{line}: ")
    assert says in str(problem.value)
    assert "whsec_in_the_open" not in str(problem.value)


@pytest.mark.parametrize(
    ("text", "says"), [("", "is empty"), ("[]", "not a mapping"), ("{}", "names no endpoint")]
)
def test_a_file_without_endpoints_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(Misconfigured, match=f"e.yaml:1: .*{says}"):
        read_endpoints(tmp_path / "e.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"nowhere\.yaml: cannot be read"):
        read_endpoints(tmp_path / "nowhere.yaml")
