"""A consumer's project as `millrace consumer new` writes it: it passes its own checks, untouched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from millrace.cli import application
from millrace.scaffold import LENGTH_MAX, Form, Refused, create, template, why_not
from tests.support.manifests import WORKLOADS, wrong

BIN = Path(sys.executable).parent
FORMS: dict[Form, str] = {"fold": "crm_mail", "each": "welcome"}
LONGEST = "a" + "_1234" * 5 + "5678"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both forms, written by the command."""
    into = tmp_path_factory.mktemp("scaffold")
    for form, name in FORMS.items():
        ended = CliRunner().invoke(application(), ["consumer", "new", name, f"--{form}", "--into", str(into)])
        assert ended.exit_code == 0, ended.output
        assert f"cd {into / name}" in ended.output
    return {form: into / name for form, name in FORMS.items()}


def run(folder: Path, *command: str) -> str:
    """Runs in a generated project to a good end, by its own settings; both share what mypy has read."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment["MYPY_CACHE_DIR"] = str(folder.parent / "mypy")
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, f"{folder.name}: {command}\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    return ended.stdout


@pytest.mark.parametrize("form", FORMS)
def test_make_check_passes_as_written(written: dict[str, Path], form: Form) -> None:
    said = run(written[form], "make", "check", f"BIN={BIN}")
    for each in ("files already formatted", "All checks passed!", "no issues found", "0 broken"):
        assert each in said


@pytest.mark.parametrize("form", FORMS)
def test_its_unit_tests_pass_as_written(written: dict[str, Path], form: Form) -> None:
    said = run(written[form], "make", "unit", f"BIN={BIN}")
    assert " passed" in said
    assert "skipped" not in said


@pytest.mark.parametrize("form", FORMS)
def test_a_long_name_breaks_no_line(tmp_path: Path, form: Form) -> None:
    assert len(LONGEST) == LENGTH_MAX
    create(LONGEST, tmp_path, form)
    run(tmp_path / LONGEST, str(BIN / "ruff"), "format", "--check", ".")
    run(tmp_path / LONGEST, str(BIN / "ruff"), "check", ".")


@pytest.mark.parametrize("form", FORMS)
def test_nothing_of_the_template_is_left_and_its_shape_is_the_houses(tmp_path: Path, form: Form) -> None:
    name = FORMS[form]
    texts = {
        str(path.relative_to(tmp_path / name)): path.read_text() for path in create(name, tmp_path, form)
    }
    assert not [path for path, text in texts.items() if "newcomer" in (path + text.replace("-", "")).lower()]
    edge = "fold" if form == "fold" else "handlers"
    shape = ("__init__", "__main__", "app", edge, "store", "domain", "settings", "metrics")
    assert {f"{name}/{module}.py" for module in shape} <= set(texts)
    assert {"README.md", "Makefile", "pyproject.toml"} <= set(texts)
    assert "Invariants" in texts[f"{name}/__init__.py"]


@pytest.mark.parametrize("form", FORMS)
def test_kubernetes_would_take_its_manifest(written: dict[str, Path], form: Form) -> None:
    name, dashed = FORMS[form], FORMS[form].replace("_", "-")
    found = list(yaml.safe_load_all((written[form] / "deploy" / "k8s" / f"{dashed}.yaml").read_text()))
    assert {m["kind"] for m in found} == {
        "ServiceAccount",
        "Service",
        "Job",
        "StatefulSet",
        "PodDisruptionBudget",
    }
    assert [problem for m in found if (problem := wrong(m))] == []
    for manifest in found:
        assert manifest["metadata"]["name"].startswith(dashed)
    pods = {m["kind"]: m["spec"]["template"]["spec"] for m in found if m["kind"] in WORKLOADS}
    assert pods["StatefulSet"]["containers"][0]["command"] == ["python", "-m", name]
    assert pods["Job"]["containers"][0]["command"] == ["python", "-m", f"{name}.migrate"]
    variables = {v["name"] for v in pods["StatefulSet"]["containers"][0]["env"]}
    assert variables == {
        f"{name.upper()}_{what}" for what in ("DATABASE", "INSTANCE", "KAFKA", "HEALTH_PORT")
    }


def test_every_file_of_the_template_has_one_place(written: dict[str, Path]) -> None:
    for form in FORMS:
        paths = [path for path, _ in template(form)]
        assert len(paths) == len(set(paths)) > 20


NAMES = [
    # name               why it cannot be
    ("welcome",          ""),
    ("crm_2",            ""),
    (LONGEST,            ""),
    (LONGEST + "x",      "at most 30 lower-case letters"),
    ("",                 "at most 30 lower-case letters"),
    ("Welcome",          "at most 30 lower-case letters"),
    ("2crm",             "at most 30 lower-case letters"),
    ("crm-mail",         "at most 30 lower-case letters"),
    ("crm_",             "at most 30 lower-case letters"),
    ("_crm",             "at most 30 lower-case letters"),
    ("../crm",           "at most 30 lower-case letters"),
    ("crm;drop",         "at most 30 lower-case letters"),
    ("lambda",           "a word of Python"),
    ("match",            "a word of Python"),
    ("user",             "a word of PostgreSQL's"),
    ("order",            "a word of PostgreSQL's"),
    ("pg_crm",           "a word of PostgreSQL's"),
    ("json",             "Python's own library"),
    ("millrace",         "a package of that name is installed"),
    ("asyncpg",          "a package of that name is installed"),
    ("ledger",           "a service of Millrace's own"),
    ("outbox",           "the outbox is called that"),
    ("public",           "PostgreSQL has a schema of that name"),
    ("tests",            "the project's own tests"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "why"), NAMES)
def test_a_name_that_would_be_in_the_way_is_refused_with_its_reason(name: str, why: str) -> None:
    assert why in why_not(name)
    assert bool(why) == bool(why_not(name))


def test_a_refused_name_writes_nothing(tmp_path: Path) -> None:
    ended = CliRunner().invoke(application(), ["consumer", "new", "user", "--into", str(tmp_path)])
    assert (ended.exit_code, list(tmp_path.iterdir())) == (2, [])
    with pytest.raises(Refused, match="a word of PostgreSQL's"):
        create("user", tmp_path)


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "welcome").mkdir()
    (tmp_path / "welcome" / "README.md").write_text("mine")
    ended = CliRunner().invoke(application(), ["consumer", "new", "welcome", "--into", str(tmp_path)])
    assert ended.exit_code == 1
    assert "exists already: choose another name or --into another folder" in ended.stderr
    assert [path.read_text() for path in (tmp_path / "welcome").iterdir()] == ["mine"]


def test_programs_are_told_what_was_written(tmp_path: Path) -> None:
    ended = CliRunner().invoke(
        application(), ["consumer", "new", "welcome", "--each", "--json", "--into", str(tmp_path)]
    )
    said = json.loads(ended.stdout)
    assert (ended.exit_code, said["name"], said["form"]) == (0, "welcome", "each")
    there = {
        str(p.relative_to(tmp_path / "welcome")) for p in (tmp_path / "welcome").rglob("*") if p.is_file()
    }
    assert set(said["files"]) == there
