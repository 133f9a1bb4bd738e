"""What a published schema allows: fields that may be absent are added, and nothing else changes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from millrace.events.examples import EXAMPLES
from millrace.events.ours import PAYLOADS
from millrace.schemas import broken, name, schemas, text

PUBLISHED: dict[str, Any] = {
    "title": "Turned",
    "type": "object",
    "required": ["wheel", "turns"],
    "properties": {
        "wheel": {"type": "string", "description": "which one"},
        "turns": {"type": "integer"},
        "stage": {"enum": ["slow", "fast"], "type": "string"},
        "by": {"$ref": "#/$defs/By"},
        "stops": {"type": "array", "items": {"type": "string", "description": "where"}},
    },
    "$defs": {"By": {"type": "object", "properties": {"who": {"type": "string"}}, "required": ["who"]}},
}
Change = Callable[[Any], object]

ALLOWED: dict[str, Change] = {
    "nothing": lambda s: None,
    "another title": lambda s: s.update(title="Wheel turned"),
    "a better description": lambda s: s["properties"]["wheel"].update(description="the wheel's name"),
    "a description deep inside": lambda s: s["properties"]["stops"]["items"].update(description="mill"),
    "an example": lambda s: s.update(examples=[{"wheel": "w", "turns": 1}]),
    "an optional field": lambda s: s["properties"].update(water={"type": "string", "default": ""}),
    "an optional field below": lambda s: s["$defs"]["By"]["properties"].update(why={"type": "string"}),
    "a definition": lambda s: s["$defs"].update(Water={"type": "object"}),
    "required in another order": lambda s: s["required"].reverse(),
}
REFUSED: dict[str, tuple[Change, str]] = {
    "a field removed": (lambda s: s["properties"].pop("stage"), "stage: was removed"),
    "a field renamed": (
        lambda s: s["properties"].update(rounds=s["properties"].pop("turns")),
        "turns: was removed",
    ),
    "another type": (lambda s: s["properties"]["turns"].update(type="number"), "turns: type"),
    "a narrower value": (lambda s: s["properties"]["turns"].update(minimum=0), "turns: minimum"),
    "fewer words": (lambda s: s["properties"]["stage"]["enum"].remove("slow"), "stage: enum"),
    "more words": (lambda s: s["properties"]["stage"]["enum"].append("still"), "stage: enum"),
    "a field that may now be missing": (lambda s: s["required"].remove("turns"), "turns was always there"),
    "a field now demanded": (lambda s: s["required"].append("stage"), "stage is required, but"),
    "a new field demanded": (
        lambda s: (s["properties"].update(water={"type": "string"}), s["required"].append("water")),
        "water is required, but",
    ),
    "other elements": (
        lambda s: s["properties"]["stops"]["items"].update(type="integer"),
        "stops: items is no longer",
    ),
    "a field below removed": (lambda s: s["$defs"]["By"]["properties"].pop("who"), "By.who: was removed"),
    "another type below": (
        lambda s: s["$defs"]["By"]["properties"]["who"].update(type="null"),
        "By.who: type is no longer",
    ),
    "closed to new fields": (lambda s: s.update(additionalProperties=False), "additionalProperties"),
    "another topic": (lambda s: s.update({"x-topic": "elsewhere"}), "x-topic is no longer"),
}


def changed(change: Change) -> dict[str, Any]:
    now = copy.deepcopy(PUBLISHED)
    change(now)
    return now


@pytest.mark.parametrize("what", ALLOWED)
def test_readers_do_not_notice(what: str) -> None:
    assert broken({"turned.v1": PUBLISHED}, {"turned.v1": changed(ALLOWED[what])}) == []


@pytest.mark.parametrize("what", REFUSED)
def test_readers_would_break(what: str) -> None:
    change, named = REFUSED[what]
    (problem,) = broken({"turned.v1": PUBLISHED}, {"turned.v1": changed(change)})[:1]
    assert problem.startswith("turned.v1: ")
    assert named in "\n".join(broken({"turned.v1": PUBLISHED}, {"turned.v1": changed(change)}))


def test_a_published_event_does_not_go_away_and_a_new_one_may_come() -> None:
    assert broken({"turned.v1": PUBLISHED}, {"turned.v2": PUBLISHED}) == [
        "turned.v1: was published and is gone"
    ]
    assert broken({}, {"turned.v1": PUBLISHED}) == []


def test_every_event_of_ours_has_a_schema_with_an_example_that_it_accepts() -> None:
    known = schemas()
    assert set(known) == {name(payload) for payload in PAYLOADS}
    assert {type(example) for example in EXAMPLES} == set(PAYLOADS)
    for body in known.values():
        Draft202012Validator.check_schema(body)
        for example in body["examples"]:
            Draft202012Validator(body).validate(example)


def test_an_example_survives_the_wire() -> None:
    for example in EXAMPLES:
        event = example.event(id="evt_1", source="millrace/test", at=datetime(2026, 7, 1, tzinfo=UTC))
        assert type(example).of(event) == example


def test_a_schema_is_open_to_fields_that_come_later() -> None:
    for body in schemas().values():
        Draft202012Validator(body).validate(body["examples"][0] | {"added_later": True})


def test_a_schema_is_written_the_same_way_every_time() -> None:
    for body in schemas().values():
        assert orjson.loads(text(body)) == body
        assert text(body).endswith("}\n")
