"""The endpoints file: a mistake names file, line and fix, never the secret; a change is in force by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from ingest.domain import Endpoint, Secret
from ingest.endpoints import LOOK_SECONDS, Endpoints, read
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
    (tmp_path / "same").write_text("whsec_new")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "endpoints.yaml").write_text(GOOD.format(folder=tmp_path))
    return tmp_path / "endpoints.yaml"


def test_endpoints_are_read_with_their_secrets(file: Path) -> None:
    found = read(file)
    assert list(found) == ["main", "test_mode"]
    assert (found["main"].account, found["main"].livemode) == ("acct_1", True)
    assert [(s.name, s.value) for s in found["main"].secrets] == [
        ("env SECRET_NEW", b"whsec_new"),
        (f"file {file.parent}/old", b"whsec_old"),
    ]
    assert found["test_mode"].livemode is False
    assert "whsec" not in repr(found)


def test_what_is_left_out_is_the_usual(file: Path) -> None:
    usual = Endpoint("test_mode", "acct_1", False, "", (Secret("env SECRET_NEW", b"whsec_new"),))
    assert read(file)["test_mode"] == usual
    assert (usual.connect, usual.sources, usual.networks) == (False, frozenset({"webhook"}), ())


def test_everything_else_can_be_said(file: Path) -> None:
    changes = {
        "secrets: [{env: SECRET_NEW}]": "secrets: [{env: SECRET_NEW, not_after: 2026-12-01T01:00:00+01:00}]\n"
        "  connect: true\n  sources: [webhook, sweep]\n  networks: [203.0.113.0/24, '2001:db8::/32', 198.51.100.7]"
    }
    change(file, changes)
    found = read(file)["test_mode"]
    assert found.secrets == (Secret("env SECRET_NEW", b"whsec_new", datetime(2026, 12, 1, tzinfo=UTC)),)
    assert (found.connect, found.sources) == (True, frozenset({"webhook", "sweep"}))
    assert found.networks == tuple(map(ip_network, ("203.0.113.0/24", "2001:db8::/32", "198.51.100.7/32")))


NETWORKS = [
    # networks                        address                   may knock
    ((), "192.0.2.1", True),
    ((), "", True),
    (("203.0.113.0/24",), "203.0.113.255", True),
    (("203.0.113.0/24",), "203.0.114.0", False),
    (("203.0.113.0/24",), "::ffff:203.0.113.9", True),
    (("203.0.113.0/24",), "unix", False),
    (("2001:db8::/32",), "2001:db8::7", True),
    (("2001:db8::/32",), "203.0.113.9", False),
    (("203.0.113.0/24", "198.51.100.7"), "198.51.100.7", True),
]


@pytest.mark.parametrize(("networks", "address", "may"), NETWORKS)
def test_an_address_may_knock_where_its_network_is_named(
    file: Path, networks: tuple[str, ...], address: str, may: bool
) -> None:
    endpoint = replace(read(file)["main"], networks=tuple(map(ip_network, networks)))
    assert endpoint.may_knock(address) is may


def test_the_secret_that_stays_longest_comes_first(file: Path) -> None:
    change(file, {"env: SECRET_NEW\n": "env: SECRET_NEW\n      not_after: 2026-12-01T00:00:00Z\n"})
    assert [secret.name for secret in read(file)["main"].secrets] == [
        f"file {file.parent}/old",
        "env SECRET_NEW",
    ]


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
    ("[{env: SECRET_NEW}]", "[{env: SECRET_NEW}, {file: FOLDER/same}]", 11,
     "secrets[1]: file FOLDER/same and env SECRET_NEW hold one secret; keep one of them"),
    ("[{env: SECRET_NEW}]", "[{not_after: 2026-12-01T00:00:00Z}]", 11, "is not one of env and file"),
    ("[{env: SECRET_NEW}]", "[{env: SECRET_NEW, not_after: 2026-12-01}]", 11, "2026-12-01 is not an instant"),
    ("livemode: false", "livemode: false\n  connect: acct_1", 11, "connect: 'acct_1' is not a switch"),
    ("livemode: false", "livemode: false\n  sources: []", 11, "sources: needs 1 or more; write [webhook]"),
    ("livemode: false", "livemode: false\n  sources: [webhok]", 11, "'webhok' is not known; did you mean webhook?"),
    ("livemode: false", "livemode: false\n  sources: [import]", 11, "'import' is not known; use webhook or sweep or"),
    ("livemode: false", "livemode: false\n  networks: [203.0.113.7/24]", 11, "'203.0.113.7/24' is not a network: "),
    ("livemode: false", "livemode: false\n  networks: [stripe.com]", 11, "'stripe.com' is not a network: "),
    ("account: acct_1\n  livemode: false", "account: acct_1/x\n  livemode: false", 9, "is not a Stripe account"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "says"), MISTAKES, ids=[m[3][:40] for m in MISTAKES])
def test_a_mistake_names_file_line_and_fix(file: Path, old: str, new: str, line: int, says: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new.replace("FOLDER", str(file.parent)), 1))
    with pytest.raises(Misconfigured) as problem:
        read(file)
    assert str(problem.value).startswith(f"{file}:{line}: ")
    assert says.replace("FOLDER", str(file.parent)) in str(problem.value)
    assert "whsec_in_the_open" not in str(problem.value)


@pytest.mark.parametrize(
    ("text", "says"), [("", "is empty"), ("[]", "not a mapping"), ("{}", "names no endpoint")]
)
def test_a_file_without_endpoints_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(Misconfigured, match=f"e.yaml:1: .*{says}"):
        read(tmp_path / "e.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"nowhere\.yaml: cannot be read"):
        read(tmp_path / "nowhere.yaml")


# --- a change is in force by itself ---


@dataclass
class Running:
    """The endpoints of a process, and the second hand that it looks at."""

    file: Path
    second: float = 0.0

    def __post_init__(self) -> None:
        self.endpoints = Endpoints(self.file, clock=lambda: self.second)

    def later(self) -> list[bytes]:
        """The secrets of main, at the next look."""
        self.second += LOOK_SECONDS
        return [secret.value for secret in self.endpoints["main"].secrets]

    def refused(self) -> bool:
        return REGISTRY.get_sample_value("millrace_document_refused", {"document": str(self.file)}) == 1


@pytest.fixture
def running(file: Path) -> Running:
    return Running(file)


def test_it_is_a_mapping_of_what_is_in_force(running: Running, file: Path) -> None:
    assert list(running.endpoints) == ["main", "test_mode"]
    assert (len(running.endpoints), running.endpoints.get("nobody")) == (2, None)
    assert dict(running.endpoints) == read(file)


def test_a_rotation_needs_no_restart(running: Running, file: Path) -> None:
    """The old secret in a file; the new one added; the old one taken out."""
    put(file.parent / "old", "whsec_older")
    assert running.later() == [b"whsec_new", b"whsec_older"]
    put(file.parent / "newest", "whsec_newest")
    change(file, {"    - env: SECRET_NEW\n": f"    - file: {file.parent}/newest\n    - env: SECRET_NEW\n"})
    assert running.later() == [b"whsec_newest", b"whsec_new", b"whsec_older"]
    change(file, {f"    - file: {file.parent}/old\n": ""})
    assert running.later() == [b"whsec_newest", b"whsec_new"]
    assert not running.refused()


def vanish(secret: Path) -> None:
    secret.unlink()


def empty(secret: Path) -> None:
    put(secret, " \n")


def misspell(secret: Path) -> None:
    change(secret.parent / "endpoints.yaml", {"livemode: false": "livemode: fals"})


def twice(secret: Path) -> None:
    put(secret, "whsec_new")


BAD = [
    # what happens to main's second secret, or to the file     the log says                      line
    (vanish, "/old' holds no secret; put the endpoint's whsec_… there", 7),
    (empty, "/old' holds no secret", 7),
    (twice, "hold one secret; keep one of them", 7),
    (misspell, "test_mode.livemode: 'fals' is not a switch; write true or false", 10),
]


@pytest.mark.parametrize(("happen", "says", "line"), BAD, ids=[row[0].__name__ for row in BAD])
def test_what_is_bad_is_refused_and_what_was_before_stays_until_it_is_mended(
    running: Running, happen: Callable[[Path], None], says: str, line: int, caplog: pytest.LogCaptureFixture
) -> None:
    before, secret = running.file.read_text(), running.file.parent / "old"
    happen(secret)
    assert [running.later() for _ in range(3)] == [[b"whsec_new", b"whsec_old"]] * 3
    (told,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert vars(told)["problem"].startswith(f"{running.file}:{line}: ")
    assert says in vars(told)["problem"]
    assert running.refused()
    put(secret, "whsec_mended")
    put(running.file, before)
    assert running.later() == [b"whsec_new", b"whsec_mended"]
    assert not running.refused()


def test_a_new_version_that_names_a_secret_too_early_is_taken_when_the_secret_comes(
    running: Running, file: Path
) -> None:
    change(file, {"env: SECRET_NEW\n": f"file: {file.parent}/later\n"})
    assert running.later() == [b"whsec_new", b"whsec_old"]
    put(file.parent / "later", "whsec_later")
    assert running.later() == [b"whsec_later", b"whsec_old"]


def test_secrets_that_kubernetes_replaces_are_seen(tmp_path: Path) -> None:
    """A mounted secret is a link into a folder that is a link itself; only that one is swung, all at once."""
    for version, value in enumerate(("whsec_one", "whsec_two")):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "main").write_text(value)
    (tmp_path / "..data").symlink_to("..0")
    (tmp_path / "main").symlink_to("..data/main")
    file = tmp_path / "endpoints.yaml"
    file.write_text(f"main: {{account: acct_1, livemode: true, secrets: [{{file: {tmp_path}/main}}]}}")
    running = Running(file)
    assert running.later() == [b"whsec_one"]
    (tmp_path / "..next").symlink_to("..1")
    (tmp_path / "..next").replace(tmp_path / "..data")
    assert running.later() == [b"whsec_two"]


def change(file: Path, changes: dict[str, str]) -> None:
    text = file.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    put(file, text)


def put(file: Path, text: str) -> None:
    """A new version, as an editor or a mounted volume puts it there: another inode, whatever the clock says."""
    fresh = file.with_name("fresh")
    fresh.write_text(text)
    fresh.replace(file)
