"""A program of `run` that cannot start says what is wrong, on one line, with a code that tells."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from millrace import Each, Event, Fold, run

MISSING = "127.0.0.1:1"


async def handle(tx: Any, event: Event) -> None:
    raise AssertionError("nothing is handled here")


async def load(tx: Any, keys: Any) -> dict[str, int]:
    raise AssertionError("nothing is loaded here")


async def save(tx: Any, changes: Any) -> None:
    raise AssertionError("nothing is saved here")


EACH = Each("crm", {"stripe.customer.created": handle})
FOLD: Fold[int, None] = Fold("crm", {}, lambda event: None, load, save, lambda: None)
DATABASE = {"CRM_DATABASE": f"postgresql://millrace_crm@{MISSING}/none"}
OWNER = {"MILLRACE_DATABASE": f"postgresql://postgres@{MISSING}/none"}

REFUSED: list[tuple[str, dict[str, Any], list[str], dict[str, str], int, str]] = [
    ("a word that is none", {}, ["migrat"], DATABASE, 2, "crm: 'migrat' is not known: give no word to consume"),
    ("no folder", {"migrations": "nowhere"}, [], DATABASE, 78, "nowhere: no such folder"),
    ("a fold that opens", {"consumer": FOLD, "opens": "receipt"}, [], DATABASE, 78, "a fold opens no sealed field"),
    ("no database", {}, [], {}, 78, "CRM_DATABASE: Field required"),
    ("a wrong port", {}, [], {**DATABASE, "CRM_HEALTH_PORT": "high"}, 78, "CRM_HEALTH_PORT: Input should be"),
    ("no owner", {}, ["migrate"], DATABASE, 78, "MILLRACE_DATABASE: Field required"),
    ("a server that is away", {}, ["migrate"], OWNER, 1, "crm: MILLRACE_DATABASE: ConnectionRefusedError"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "words", "environment", "code", "says"), [case[1:] for case in REFUSED],
                         ids=[case[0] for case in REFUSED])  # fmt: skip
def test_it_says_why_it_does_not_start(
    given: dict[str, Any], words: list[str], environment: dict[str, str], code: int, says: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("CRM_DATABASE", "MILLRACE_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["crm.py", *words])
    with pytest.raises(SystemExit) as ended:
        run(**{"consumer": EACH, "topics": ["stripe.billing"], **given})
    assert ended.value.code == code
    [told] = capsys.readouterr().err.splitlines()
    assert says in told
