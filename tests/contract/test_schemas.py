"""The committed schemas are those of the code, and keep what was published; AsyncAPI says the same of all topics."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from millrace.events.ours import PAYLOADS
from millrace.schemas import name, schemas
from millrace.topics import DAY_MS, TOPICS

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "schemas"


def generate(at: Path, *arguments: str) -> tuple[int, str]:
    program = [sys.executable, str(at / "schemas" / "generate.py"), *arguments]
    ended = subprocess.run(program, capture_output=True, text=True, cwd=at)
    return ended.returncode, ended.stdout + ended.stderr


def copied(to: Path) -> Path:
    """The generated files in a place where they may be spoiled."""
    shutil.copytree(SCHEMAS, to / "schemas")
    (to / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "events.md", to / "docs")
    return to


def test_generating_again_changes_nothing() -> None:
    assert generate(ROOT, "--check") == (0, "")


def test_each_record_and_event_has_one_file_and_each_file_one_of_them() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.json")} == set(schemas())
    assert set(schemas()) > {name(payload) for payload in PAYLOADS}


def test_a_file_out_of_date_missing_or_left_over_is_named(tmp_path: Path) -> None:
    at = copied(tmp_path)
    (at / "schemas" / "millrace.ledger.posted.v1.json").write_text("{}\n")
    (at / "schemas" / "millrace.refresh.requested.v1.json").unlink()
    (at / "schemas" / "asyncapi.yaml").write_text("asyncapi: 3.0.0\n")
    events = at / "docs" / "events.md"
    events.write_text(
        events.read_text().replace("| `ledger.posted` | ledger |", "| `ledger.posted` | dunning |")
    )
    (at / "schemas" / "millrace.left.over.v1.json").write_text("{}\n")
    code, said = generate(at, "--check")
    assert code == 1
    assert said.splitlines() == [
        "schemas/millrace.ledger.posted.v1.json: run `make schemas`",
        "schemas/millrace.refresh.requested.v1.json: run `make schemas`",
        "schemas/asyncapi.yaml: run `make schemas`",
        "docs/events.md: run `make schemas`",
        "schemas/millrace.left.over.v1.json: run `make schemas`",
    ]
    assert generate(at)[0] == 0
    assert generate(at, "--check") == (0, "")
    assert events.read_text() == (ROOT / "docs" / "events.md").read_text()


def test_a_promise_that_the_code_no_longer_keeps_is_refused(tmp_path: Path) -> None:
    at = copied(tmp_path)
    promise = at / "schemas" / "published" / "millrace.ledger.posted.v1.json"
    body = orjson.loads(promise.read_bytes())
    body["properties"]["memo"] = {"type": "string"}
    promise.write_bytes(orjson.dumps(body))
    for asked in ("--check", "--publish"):
        assert generate(at, asked) == (
            1,
            "millrace.ledger.posted.v1: `memo` was removed; readers may need it. Keep it, or publish "
            "millrace/ledger.posted/2 beside it until the readers of version 1 have moved.\n",
        )


def test_everything_has_been_published() -> None:
    assert {path.stem for path in (SCHEMAS / "published").glob("*.json")} == set(schemas())


@pytest.fixture
def document() -> Any:
    return yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text())


def meta() -> Any:
    return json.loads((ROOT / "tests" / "fixtures" / "asyncapi" / "3.0.0.json").read_text())


def test_it_is_an_asyncapi_3_document(document: Any) -> None:
    assert document["asyncapi"] == "3.0.0"
    assert [problem.message for problem in Draft7Validator(meta()).iter_errors(document)] == []
    document["channels"]["ledger.posted"]["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] = "long"
    assert list(Draft7Validator(meta()).iter_errors(document)), "the validator looks at Kafka's bindings too"


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for part in node.values():
            yield from references(part)
    elif isinstance(node, list):
        for part in node:
            yield from references(part)


def found(root: Any, place: str) -> Any:
    for step in place.split("/")[1:]:
        root = root[step]
    return root


@pytest.mark.parametrize("file", ["asyncapi.yaml", *sorted(path.name for path in SCHEMAS.glob("*.json"))])
def test_every_reference_resolves(file: str) -> None:
    body = yaml.safe_load((SCHEMAS / file).read_text())
    for reference in set(references(body)):
        beside, _, place = reference.partition("#")
        there = yaml.safe_load((SCHEMAS / beside).read_text()) if beside else body
        assert isinstance(found(there, place), dict), reference


def test_every_topic_is_a_channel_that_is_kept_as_declared(document: Any) -> None:
    channels = {said["address"]: said for said in document["channels"].values()}
    for topic in TOPICS:
        said = channels.get(topic.name) or channels["{consumer}.dead-letter"]
        kept = said["bindings"]["kafka"]["topicConfiguration"]
        assert kept["cleanup.policy"] == [topic.policy]
        assert kept.get("retention.ms") == (
            topic.retention_days * DAY_MS if topic.policy == "delete" else None
        )
        assert said.get("x-private", False) is topic.private
        assert ("messages" in said) is not topic.private
        assert said["bindings"]["kafka"].get("partitions") == topic.partitions
    assert set(channels) - {topic.name for topic in TOPICS} == {"{consumer}.dead-letter"}


def test_every_message_is_on_a_channel_and_its_example_is_as_its_schemas_say(document: Any) -> None:
    used = {ref.rpartition("/")[2] for ref in references(document["channels"])}
    assert set(document["components"]["messages"]) == used
    headers = Draft202012Validator(schemas()["millrace.headers.v1"])
    for message in document["components"]["messages"].values():
        for example in message["examples"]:
            headers.validate(example["headers"])
            Draft202012Validator(schemas()[message["name"]]).validate(example["payload"])
