"""The house: what is packaged is what is there, and the library stands alone."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from millrace.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "libs" / "millrace"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
SERVICES = [Path(package) for package in PACKAGES if package.startswith("services/")]


def python_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder.parent)) for path in folder.rglob("*.py")}


def test_every_service_is_packaged_and_every_package_is_there() -> None:
    there = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("services/*/*/__init__.py")}
    assert {str(service) for service in SERVICES} == there
    assert {*PACKAGES} - there == {"lab"}


def test_a_service_folder_is_named_as_its_package() -> None:
    for service in SERVICES:
        assert service.parent.name.replace("-", "_") == service.name


def test_every_service_is_within_the_import_contracts() -> None:
    contracts = PROJECT["tool"]["importlinter"]
    assert set(contracts["root_packages"]) == {"millrace", "lab", *(service.name for service in SERVICES)}


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
    """Both distributions, built as the image builds them: by hatchling, from the environment."""
    to = tmp_path_factory.mktemp("wheels")
    for source in (LIBRARY, ROOT):
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(to)]
        subprocess.run(build, cwd=source, check=True, capture_output=True)
    return {path.name.partition("-")[0]: path for path in to.glob("*.whl")}


def test_the_library_ships_its_migrations_and_its_types(wheels: dict[str, Path]) -> None:
    shipped = set(zipfile.ZipFile(wheels["millrace"]).namelist())
    sql = {str(path.relative_to(LIBRARY)) for path in LIBRARY.rglob("*.sql")}
    assert sql
    assert sql | python_files(LIBRARY / "millrace") | {"millrace/py.typed"} <= shipped


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
        ("millrace_services", {"lab", *(service.name for service in SERVICES)}),
    ):
        shipped = {path.partition("/")[0] for path in zipfile.ZipFile(wheels[name]).namelist()}
        assert {top for top in shipped if not top.endswith(".dist-info")} == tops


# --- the library alone ---

TOOLS = ["pytest", "pytest-asyncio", "pytest-timeout", "hypothesis", "jsonschema"]
SUITES = ["tests/unit/millrace", "tests/unit/consumer"]
NEEDS_CLI = "tests/unit/millrace/test_cli.py"
IMPORT_ALL = """
import importlib, pkgutil, millrace
names = [m.name for m in pkgutil.walk_packages(millrace.__path__, "millrace.")]
for name in sorted(set(names) - {"millrace.commands"}):
    importlib.import_module(name)
print(len(names))
"""


def uv() -> str:
    """The machine's own, or the one that `make setup` brought; a version manager's stub may find none."""
    places = [shutil.which("uv"), str(ROOT / ".millrace" / "tools" / "bin" / "uv")]
    found = next((place for place in places if place and Path(place).exists() and _runs(place)), None)
    assert found, "uv is missing: run `make setup`"
    return found


def interpreters() -> list[str]:
    """This one, and the one that the image runs, where it is found."""
    places = [shutil.which("python3.13"), *map(str, Path.home().glob(".pyenv/versions/3.13*/bin/python3.13"))]
    newer = next((place for place in places if place and _runs(place)), None)
    return [sys.executable, newer] if newer and sys.version_info < (3, 13) else [sys.executable]


def _runs(place: str) -> bool:
    return subprocess.run([place, "--version"], capture_output=True).returncode == 0


@pytest.mark.timeout(600)
def test_the_library_stands_alone(wheels: dict[str, Path], tmp_path: Path) -> None:
    for interpreter in interpreters():  # one test, so that every machine counts alike
        stands_alone(interpreter, wheels["millrace"], Path(mkdtemp(dir=tmp_path)))


def stands_alone(interpreter: str, wheel: Path, folder: Path) -> None:
    """In an environment of its own every module imports, and with the test tools added its tests pass."""
    python = folder / "bin" / "python"
    run(uv(), "venv", "-q", "--allow-existing", "--python", interpreter, str(folder))
    install = [uv(), "pip", "install", "-q", "--python", str(python), "-c", str(ROOT / "requirements.lock")]
    run(*install, str(wheel))
    assert int(run(str(python), "-c", IMPORT_ALL)) > 20
    said = subprocess.run([str(python.parent / "millrace"), "topics"], capture_output=True, text=True)
    assert (said.returncode, "install millrace[cli]" in said.stderr) == (78, True)
    run(*install, *TOOLS)
    ended = run(
        str(python), "-m", "pytest", "-q", "--confcutdir", "tests/unit", "--ignore", NEEDS_CLI, *SUITES
    )
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
