"""compose.yaml gives the same two servers as the native way, and to this machine alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.stack import docker, kafka, postgres

COMPOSE: dict[str, Any] = yaml.safe_load(docker.COMPOSE.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


@pytest.mark.parametrize("name", docker.IMAGES)
def test_each_service_has_its_image_a_health_check_and_a_loopback_port(name: str) -> None:
    service = SERVICES[name]
    assert service["image"] == docker.IMAGES[name]
    assert service["healthcheck"]["test"]
    assert [port for port in service["ports"] if not port.startswith("127.0.0.1:")] == []
    assert f"MILLRACE_{name.upper()}_PORT" in service["ports"][0]


def test_kafka_is_set_as_it_is_natively() -> None:
    """All but addresses, folders and numbers of nodes."""
    inside = SERVICES["kafka"]["environment"]
    places = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}
    native = kafka.properties(1, [kafka.Ports(9092, 9093)], Path("data"))
    expected = {key: str(value) for key, value in native.items() if key not in places}
    assert {key: inside[f"KAFKA_{key.upper().replace('.', '_')}"] for key in expected} == expected


def test_postgres_is_set_as_it_is_natively() -> None:
    words = SERVICES["postgres"]["command"]
    inside = dict(word.split("=") for word in words if word != "-c")
    assert inside == {key: str(postgres.SETTINGS[key]) for key in inside}
    assert {"max_connections", "shared_buffers"} <= inside.keys()
