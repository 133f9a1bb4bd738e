"""The house: what is packaged is what is there, and the library stands alone."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import millrace
from millrace.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "libs" / "millrace"
LAB = ROOT / "lab"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
SERVICES = [Path(package) for package in PACKAGES if package.startswith("services/")]


def python_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder.parent)) for path in folder.rglob("*.py")}


def test_every_service_is_packaged_and_every_package_is_there() -> None:
    there = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("services/*/*/__init__.py")}
    assert {str(service) for service in SERVICES} == there
    assert {*PACKAGES} - there == {"lab/lab"}


def test_a_service_folder_is_named_as_its_package() -> None:
    for service in SERVICES:
        assert service.parent.name.replace("-", "_") == service.name


def test_every_service_is_within_the_import_contracts() -> None:
    contracts = PROJECT["tool"]["importlinter"]
    assert set(contracts["root_packages"]) == {
        "millrace",
        "lab",
        "millrace_lab",
        *(service.name for service in SERVICES),
    }


def test_every_service_says_what_it_keeps() -> None:
    for service in SERVICES:
        assert importlib.import_module(service.name).__doc__, f"{service}/__init__.py has no docstring"


def settings() -> Iterator[tuple[str, type[ServiceSettings]]]:
    yield "millrace", ServiceSettings
    for service in SERVICES:
        if (ROOT / service / "settings.py").exists():
            yield service.name, importlib.import_module(f"{service.name}.settings").Settings


@pytest.mark.parametrize(("service", "found"), list(settings()), ids=str)
def test_every_setting_says_what_it_means(service: str, found: type[ServiceSettings]) -> None:
    silent = [name for name, field in found.model_fields.items() if not field.description]
    assert silent == [], f"{service}: {silent}"
    assert found.model_config["frozen"] is True


# --- the wheels ---


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every distribution, built as the image builds them: by hatchling, from the environment."""
    to = tmp_path_factory.mktemp("wheels")
    for source in (LIBRARY, LAB, ROOT):
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(to)]
        subprocess.run(build, cwd=source, check=True, capture_output=True)
    return {path.name.partition("-")[0]: path for path in to.glob("*.whl")}


ALONE = [(LIBRARY, "millrace", "millrace/migrations/consumer/0001_processed.sql"),
         (LAB, "millrace_lab", "millrace_lab/edge/static/page.css")]  # fmt: skip


@pytest.mark.parametrize(("source", "name", "one"), ALONE, ids=["library", "lab"])
def test_a_distribution_ships_whatever_stands_in_its_folder(
    wheels: dict[str, Path], source: Path, name: str, one: str
) -> None:
    """Migrations, types, templates, style sheets: nothing is left behind because of its name."""
    shipped = {each for each in zipfile.ZipFile(wheels[name]).namelist() if ".dist-info/" not in each}
    there = {path for path in (source / name).rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert shipped == {str(path.relative_to(source)) for path in there}
    assert {f"{name}/py.typed", one} <= shipped


LIGHT = {
    "": {"aiokafka", "asyncpg", "cramjam", "cryptography", "orjson", "prometheus-client", "pyyaml"}
    | {"pydantic", "pydantic-settings"},
    "cli": {"typer", "rich"},
    "tracing": {"opentelemetry-api"},
}  # fmt: skip


def test_the_library_asks_for_little() -> None:
    project = tomllib.loads((LIBRARY / "pyproject.toml").read_text())["project"]
    asked = {"": project["dependencies"], **project["optional-dependencies"]}
    names = {extra: {re.split("[<>=!~ ]", one)[0] for one in some} for extra, some in asked.items()}
    assert names == LIGHT


NOTHING_LOADED = """
import sys, millrace
print(sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[1].split())))
print(sorted(name for name in sys.modules if name.startswith("millrace.")))
"""


def test_importing_the_library_loads_nothing_until_it_is_asked_for() -> None:
    heavy = (
        "aiokafka asyncpg asyncio cramjam cryptography orjson prometheus_client pydantic yaml opentelemetry"
    )
    assert run(sys.executable, "-c", NOTHING_LOADED, heavy) == "[]\n[]\n"


def test_every_name_that_is_offered_is_there_and_no_other() -> None:
    for name in millrace.__all__:
        assert getattr(millrace, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        getattr(millrace, "nothing_of_the_kind")  # noqa: B009 a checker would refuse the other spelling


def test_the_services_ship_their_migrations(wheels: dict[str, Path]) -> None:
    shipped = set(zipfile.ZipFile(wheels["millrace_services"]).namelist())
    sql = {str(path.relative_to(ROOT / "services").relative_to(path.relative_to(ROOT / "services").parts[0]))
           for path in (ROOT / "services").rglob("*.sql")}  # fmt: skip
    assert sql
    assert sql <= shipped
    for service in SERVICES:
        assert python_files(ROOT / service) <= shipped


def test_a_wheel_carries_no_tests_and_nobody_elses_names(wheels: dict[str, Path]) -> None:
    for name, tops in (
        ("millrace", {"millrace"}),
        ("millrace_lab", {"millrace_lab"}),
        ("millrace_services", {"lab", *(service.name for service in SERVICES)}),
    ):
        shipped = {path.partition("/")[0] for path in zipfile.ZipFile(wheels[name]).namelist()}
        assert {top for top in shipped if not top.endswith(".dist-info")} == tops


# --- the library alone ---

TOOLS = ["pytest", "pytest-asyncio", "pytest-timeout", "hypothesis", "jsonschema"]
SUITES = ["tests/unit/millrace", "tests/unit/consumer", "tests/unit/testing"]
NEEDS_MORE = [
    "tests/unit/millrace/test_cli_operating.py",  # reads runbooks, which name the services' commands too
    "tests/unit/millrace/test_tracing.py",  # collects spans with the SDK that an application brings
    "tests/unit/millrace/test_view.py",  # holds our reading against Stripe's own client
    "tests/unit/testing/test_bus.py",  # holds the builders against ingest
]
SAME_ANYWHERE = [  # what they count or wait for does not hang on what is installed
    "test_sealing_box.py::test_a_nonce_does_not_repeat_in_a_million_seals",
    "test_keys.py::test_a_hash_is_the_clients",
    "test_clock.py::test_a_clock_turned_by_another_process_is_seen_here_and_never_half",
    "test_documents.py::test_a_file_that_cannot_be_used_says_why[too deep]",
    "test_service.py::test_a_loop_that_is_stuck_is_told_from_outside_while_it_is_stuck",
    "test_service.py::test_a_process_that_was_asked_to_stop_ends_with_0",
]
BRIEFLY = """
import sys, pytest

class FewExamples:
    def pytest_configure(self):
        from hypothesis import settings
        settings.register_profile("few", max_examples=5)
        settings.load_profile("few")

sys.exit(pytest.main(sys.argv[1:], plugins=[FewExamples()]))
"""
IMPORT_ALL = """
import importlib, pkgutil, millrace, millrace.testing
from millrace import Consumer, Each, Fold, events, run
needs_more = ("millrace.commands", "millrace.scaffold.command", "millrace.testing.fixtures")  # typer, or pytest
names = {m.name for m in pkgutil.walk_packages(millrace.__path__, "millrace.")}
for name in sorted(name for name in names if not name.startswith(needs_more)):
    importlib.import_module(name)
print(len(names))
"""


def uv() -> str:
    """The machine's own, or the one that `make setup` brought; a version manager's stub may find none."""
    places = [shutil.which("uv"), str(ROOT / ".millrace" / "tools" / "bin" / "uv")]
    found = next((place for place in places if place and Path(place).exists() and _runs(place)), None)
    assert found, "uv is missing: run `make setup`"
    return found


def interpreter() -> str:
    """The one that the image runs, where it is found: every other test runs in this one."""
    places = [shutil.which("python3.13"), *map(str, Path.home().glob(".pyenv/versions/3.13*/bin/python3.13"))]
    return next((place for place in places if place and _runs(place)), sys.executable)


def _runs(place: str) -> bool:
    return subprocess.run([place, "--version"], capture_output=True).returncode == 0


@pytest.mark.timeout(600)
def test_the_library_stands_alone(wheels: dict[str, Path], tmp_path: Path) -> None:
    """In an environment of its own every module imports; with its extras and the test tools its tests pass."""
    python, command = str(tmp_path / "bin" / "python"), str(tmp_path / "bin" / "millrace")
    run(uv(), "venv", "-q", "--allow-existing", "--python", interpreter(), str(tmp_path))
    install = [uv(), "pip", "install", "-q", "--python", python, "-c", str(ROOT / "requirements.lock")]
    run(*install, str(wheels["millrace"]))
    assert int(run(python, "-c", IMPORT_ALL)) > 20
    said = subprocess.run([command, "topics"], capture_output=True, text=True)
    assert (said.returncode, "install millrace[cli]" in said.stderr) == (78, True)
    run(*install, f"millrace[cli,tracing] @ file://{wheels['millrace']}", *TOOLS)
    assert "stripe.billing" in run(command, "topics", "--json")
    passed_over = [f"--ignore={suite}" for suite in NEEDS_MORE]
    passed_over += [f"--deselect=tests/unit/millrace/{test}" for test in SAME_ANYWHERE]
    ended = run(python, "-c", BRIEFLY, "-q", "--confcutdir", "tests/unit", *passed_over, *SUITES)
    assert int(re.findall(r"(\d+) deselected", ended)[0]) >= len(SAME_ANYWHERE)
    assert " passed" in ended
    assert "skipped" not in ended


def run(*arguments: str) -> str:
    """Runs to a good end in the checkout, without what this environment has set for others."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))
    }
    ended = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert ended.returncode == 0, f"{arguments}\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    return ended.stdout
