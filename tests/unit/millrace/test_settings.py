"""Settings: from the environment, frozen, and whatever is wrong is named as the variable it came from."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict

from millrace.errors import Misconfigured
from millrace.settings import ServiceSettings


class MillSettings(ServiceSettings):
    """A service called mill."""

    model_config = SettingsConfigDict(env_prefix="MILL_")

    wheels: int = Field(default=1, description="wheels that turn")
    databases: list[str] = Field(default_factory=list, description="DSNs")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("MILL_DATABASE", "postgresql://millrace_mill:hunter2@db/mill")
    return monkeypatch


def refused(environment: pytest.MonkeyPatch, **variables: str) -> str:
    for name, value in variables.items():
        environment.setenv(name, value)
    with pytest.raises(Misconfigured) as problem:
        MillSettings.read()
    return str(problem.value)


def test_settings_are_read_from_prefixed_variables(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MILL_KAFKA", "k1:9092,k2:9092")
    environment.setenv("MILL_WHEELS", "3")
    environment.setenv("MILL_DATABASES", '["a", "b"]')
    read = MillSettings.read()
    assert (read.kafka, read.wheels, read.databases) == ("k1:9092,k2:9092", 3, ["a", "b"])


def test_a_missing_variable_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("MILL_DATABASE")
    assert refused(environment).startswith("MILL_DATABASE: ")


def test_every_wrong_variable_is_named_at_once_and_none_is_quoted(environment: pytest.MonkeyPatch) -> None:
    said = refused(environment, MILL_WHEELS="pk_live_x", MILL_HEALTH_PORT="70000", MILL_LOG_LEVEL="loud")
    assert [part.split(": ")[0] for part in said.split("; ")] == [
        "MILL_HEALTH_PORT",
        "MILL_LOG_LEVEL",
        "MILL_WHEELS",
    ]
    assert "pk_live" not in said


def test_a_list_that_is_not_json_names_its_field(environment: pytest.MonkeyPatch) -> None:
    said = refused(environment, MILL_DATABASES="postgresql://u:hunter2@db/x")
    assert "databases" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("level", ["info", "INFO", "Warning"])
def test_a_log_level_is_known_in_any_case(environment: pytest.MonkeyPatch, level: str) -> None:
    environment.setenv("MILL_LOG_LEVEL", level)
    assert MillSettings.read().log_level == level


def test_settings_do_not_change_and_do_not_show_their_secrets() -> None:
    read = MillSettings.read()
    with pytest.raises(ValidationError, match="frozen"):
        read.kafka = "elsewhere:9092"  # type: ignore[misc]  # that it is refused is the point
    assert "hunter2" not in f"{read!r} {read} {read.model_dump()}"
    assert read.database.get_secret_value().endswith("@db/mill")


def test_variables_of_others_are_no_matter(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MILL_UNHEARD_OF", "1")
    assert MillSettings.read().wheels == 1
