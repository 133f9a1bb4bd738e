"""Finding what a machine has, and saying what it lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.stack import MissingPiece, StackError, packages, programs
from lab.stack.jars import CHECKOUT, Jars, jars

UNHEARD: list[str] = []  # what is said, to nobody


@pytest.mark.parametrize(
    ("words", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25.0.2" 2026-01-20 LTS', 25),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", 0),
        ("", 0),
    ],
)
def test_javas_many_ways_to_tell_its_version(words: str, major: int) -> None:
    assert programs.java_major(words) == major


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return folder


def installation(root: Path, version: str) -> Path:
    program(root / version / "bin", "initdb", "exit 0")
    return program(root / version / "bin", "postgres", f"echo 'postgres (PostgreSQL) {version}'")


def test_the_newest_postgres_of_the_system_is_taken_and_old_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("9.6.24", "14.12", "15.18", "17.2", "17.10"):
        installation(tmp_path, version)
    monkeypatch.setattr(programs, "POSTGRES_FOLDERS", (f"{tmp_path}/*/bin",))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [each.version for each in programs.system_postgres()] == ["17.10", "17.2", "15.18"]


def bare(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """A machine without Java, Maven or PostgreSQL, whose only programs are those in `path`."""
    monkeypatch.setattr(programs, "POSTGRES_FOLDERS", ())
    monkeypatch.setattr(programs, "wheel_postgres", list)
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.delenv("JAVA_HOME", raising=False)


@pytest.mark.parametrize(
    ("look", "lines"),
    [
        (
            programs.java,
            ["apt-get install default-jre-headless", "dnf install java-", "brew install openjdk"],
        ),
        (programs.maven, ["apt-get install maven", "dnf install maven", "brew install maven"]),
        (
            programs.postgres,
            ["apt-get install postgresql", "dnf install postgresql-server", "brew install postgresql"],
        ),
    ],
)
def test_a_missing_piece_is_one_sentence_with_the_line_to_type(
    look: Callable[[programs.Say], object], lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch, tmp_path)
    with pytest.raises(MissingPiece) as missing:
        look(UNHEARD.append)
    assert "\n" not in str(missing.value)
    assert [line for line in lines if line not in str(missing.value)] == []


def test_the_command_line_tells_a_missing_piece_without_a_traceback(tmp_path: Path) -> None:
    """Java is looked for in a PATH that has none; PostgreSQL is not needed, its address is given."""
    environment = {
        "PATH": str(tmp_path),
        "MILLRACE_LAB_POSTGRES": "postgresql://postgres@127.0.0.1:1/postgres",
    }
    command = [sys.executable, "-m", "lab", "up", f"--folder={tmp_path}/stack"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("lab: Java 17 or newer is missing; install it with")
    assert "Traceback" not in done.stderr


def apt(path: Path, monkeypatch: pytest.MonkeyPatch, script: str = "") -> Path:
    """A machine of root's with an apt-get that writes down what it is asked."""
    asked = path / "asked"
    program(
        path, "apt-get", f'echo "$DEBIAN_FRONTEND $@ $(cat {path}/setting 2>/dev/null)" >> {asked}\n{script}'
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(packages, "CLUSTER_SETTING", path / "setting")
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    packages._update_once.cache_clear()
    return asked


def test_root_on_debian_installs_says_so_and_updates_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    asked = apt(tmp_path, monkeypatch)
    packages.install(packages.JAVA, said.append)
    packages.install(packages.MAVEN, said.append)
    assert [line.split(" -q ")[1].split(" create")[0].strip() for line in asked.read_text().splitlines()] == [
        "update",
        "install --yes --no-install-recommends default-jre-headless",
        "install --yes --no-install-recommends maven",
    ]
    assert asked.read_text().count("noninteractive") == 3
    assert [line.partition(":")[0] for line in said] == ["Java 17 or newer is missing", "Maven is missing"]


def test_debians_own_cluster_is_not_made_and_its_setting_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = apt(tmp_path, monkeypatch)
    packages.install(packages.POSTGRES, UNHEARD.append)
    assert asked.read_text().splitlines()[-1].endswith("postgresql create_main_cluster = false")
    assert not (tmp_path / "setting").exists()


def test_a_failed_installation_is_told_in_apts_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt(tmp_path, monkeypatch, script="echo E: no network >&2; exit 100")
    with pytest.raises(StackError, match="`apt-get update` failed: E: no network"):
        packages.install(packages.JAVA, UNHEARD.append)


def test_nobody_but_root_changes_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = apt(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    packages.install(packages.JAVA, UNHEARD.append)
    assert not asked.exists()


# The jars


POM = "<project><properties><kafka.version>4.3.1</kafka.version></properties></project>"


def fetch(path: Path, monkeypatch: pytest.MonkeyPatch, script: str, pom: str = POM) -> tuple[Jars, list[str]]:
    said: list[str] = []
    (path / "pom.xml").write_text(pom)
    program(path, "mvn", script)
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    return jars(said.append, cache=path / "cache", pom=path / "pom.xml"), said


COPIES = 'for word; do case $word in -DoutputDirectory=*) mkdir -p "${word#*=}";; esac; done'


def test_jars_are_fetched_once_and_anew_when_the_pom_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, said = fetch(tmp_path, monkeypatch, COPIES)
    assert (first.version, len(said)) == ("4.3.1", 1)
    assert fetch(tmp_path, monkeypatch, "exit 1") == (first, [])
    assert len(fetch(tmp_path, monkeypatch, COPIES, POM + "<!-- another dependency -->")[1]) == 1


def test_mavens_first_error_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "echo '[ERROR] Could not resolve kafka'; echo '[ERROR] Re-run with -X'; exit 1"
    with pytest.raises(StackError, match=r"could not fetch Kafka 4\.3\.1: Could not resolve kafka$"):
        fetch(tmp_path, monkeypatch, script)
    assert not (tmp_path / "cache" / "kafka-4.3.1" / "pom.sha256").exists()  # so the next time fetches again
