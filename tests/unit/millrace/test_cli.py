"""The command: the library's own, whatever others add, and one line for what is wrong."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import orjson
import pytest
import typer
from typer.testing import CliRunner

from millrace import cli
from millrace.cli import GROUP, application
from millrace.errors import Misconfigured
from millrace.schemas import schemas
from millrace.topics import TOPICS

HERE = f"{__name__}:"


def grind(app: typer.Typer) -> None:
    """Adds a command, as another distribution would."""

    @app.command("grind")
    def _grind(broken: bool = False) -> None:
        if broken:
            raise Misconfigured("mill.yaml line 3: no stones")
        typer.echo("flour")


def millrace(*arguments: str, others: tuple[EntryPoint, ...] = ()) -> tuple[int, str]:
    result = CliRunner().invoke(application(others), list(arguments))
    return result.exit_code, result.output


def test_without_a_word_it_explains_itself() -> None:
    _, said = millrace()
    assert "topics" in said
    assert "schemas" in said


def test_topics_are_told_to_people_and_to_programs() -> None:
    code, said = millrace("topics")
    assert code == 0
    assert all(topic.name in said for topic in TOPICS)
    code, told = millrace("topics", "--json")
    assert code == 0
    by_name = {topic["name"]: topic for topic in orjson.loads(told)}
    assert list(by_name) == [topic.name for topic in TOPICS]
    assert by_name["entitlement.state"]["config"] == {"cleanup.policy": "compact"}
    assert by_name["entitlement.state"]["retention_days"] is None
    assert by_name["stripe.billing"]["retention_days"] == 30


def test_schemas_are_listed_and_printed() -> None:
    assert millrace("schemas") == (0, "\n".join(schemas()) + "\n")
    code, one = millrace("schemas", "millrace.ledger.posted.v1")
    assert (code, orjson.loads(one)) == (0, schemas()["millrace.ledger.posted.v1"])
    code, every = millrace("schemas", "--json")
    assert (code, orjson.loads(every)) == (0, schemas())


def test_a_schema_that_is_unknown_is_a_misspelling() -> None:
    code, said = millrace("schemas", "millrace.ledger.posted")
    assert code == 2
    assert "millrace.ledger.posted.v1" in said.replace("\n", "").replace("│", "").replace(" ", "")


def test_others_add_commands_by_entry_point() -> None:
    other = EntryPoint("mill", f"{HERE}grind", GROUP)
    assert millrace("grind", others=(other,)) == (0, "flour\n")


@pytest.mark.parametrize("value", ["no_such_module:commands", f"{HERE}no_such_function"])
def test_commands_that_cannot_be_loaded_are_named(value: str) -> None:
    with pytest.raises(Misconfigured, match=r"the commands of 'mill' \(.*\) cannot be loaded"):
        application([EntryPoint("mill", value, GROUP)])


def test_a_wrong_configuration_ends_with_78_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = EntryPoint("mill", f"{HERE}grind", GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [other] if group == GROUP else [])
    monkeypatch.setattr(sys, "argv", ["millrace", "grind", "--broken"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 78
    assert capsys.readouterr() == ("", "millrace: mill.yaml line 3: no stones\n")


WITHOUT_TYPER = """
import sys
sys.modules["typer"] = None
from millrace.cli import main
main()
"""


def test_without_its_extra_it_says_what_to_install() -> None:
    ended = subprocess.run([sys.executable, "-c", WITHOUT_TYPER], capture_output=True, text=True)
    assert ended.returncode == 78
    assert ended.stderr == (
        "millrace: the command needs the extra 'cli': install millrace[cli]; the library works without it\n"
    )
