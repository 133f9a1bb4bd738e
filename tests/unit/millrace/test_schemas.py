"""What a published schema allows: optional fields, words on open lists, and what only people read; nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import orjson
import pytest
from jsonschema import Draft202012Validator

from millrace.events.examples import EXAMPLES
from millrace.events.ours import PAYLOADS, Part, Payload, left_out, means
from millrace.events.words import words
from millrace.schemas import broken, name, of_payloads, schemas, text


class By(Part):
    who: str = means("a name")
    before: By | None = left_out("whoever was there before")


class Turned(Payload):
    """A wheel turned."""

    TYPE: ClassVar[str] = "mill.wheel.turned"
    TOPIC: ClassVar[str] = "wheels"

    wheel: str = means("which one")
    turns: int
    speed: Annotated[str, words("slow", "fast")]
    by: By
    stops: tuple[By, ...]
    tags: dict[str, By]
    water: str | None
    gauge: int = 5


PUBLISHED = of_payloads([Turned], ())["mill.wheel.turned.v1"]
PUBLISHED["properties"]["turns"] |= {"minimum": 0, "maximum": 99}
PUBLISHED["properties"]["wheel"] |= {"pattern": "^w"}
PUBLISHED["properties"]["state"] = {"enum": ["up", "down"], "type": "string"}
PUBLISHED["properties"]["at"] = {"type": "string", "format": "date-time"}
BESIDE = ", or publish mill/wheel.turned/2 beside it until the readers of version 1 have moved."

Change = Callable[[Any, Any], object]  # of the schema and its properties
NULL = {"type": "null"}
TEXT = {"type": "string"}

ALLOWED: dict[str, Change] = {
    "nothing": lambda s, p: None,
    "another title": lambda s, p: s.update(title="Wheel turned"),
    "a better description": lambda s, p: p["wheel"].update(description="the wheel's name"),
    "a description deep inside": lambda s, p: p["stops"]["items"].update(description="mill"),
    "an example": lambda s, p: s.update(examples=[{"wheel": "w", "turns": 1}]),
    "an optional field": lambda s, p: p.update(depth={"type": "string", "default": ""}),
    "an optional field below": lambda s, p: s["$defs"]["By"]["properties"].update(why=TEXT),
    "a definition": lambda s, p: s["$defs"].update(Water={"type": "object"}),
    "a definition under another name": lambda s, p: _renamed(s, "By", "Somebody"),
    "required in another order": lambda s, p: s["required"].reverse(),
    "a word on an open list": lambda s, p: p["speed"]["anyOf"][0]["enum"].append("still"),
    "words for what was any text": lambda s, p: p.update(water={"anyOf": [{"enum": ["low"]} | TEXT, TEXT, NULL]}),
    "the same alternatives in another order": lambda s, p: p["water"]["anyOf"].reverse(),
}  # fmt: skip
REFUSED: dict[str, tuple[Change, str]] = {
    "a field removed": (
        lambda s, p: _without(s, "gauge"), "`gauge` was removed; readers may need it. Keep it"),
    "a field renamed": (
        lambda s, p: (s["required"].remove("turns"), p.update(rounds=p.pop("turns"))),
        "`turns` was renamed to `rounds`; readers look for `turns`. Keep `turns`, and write `rounds` beside it"),
    "a field below removed": (
        lambda s, p: _without(s["$defs"]["By"], "who"), "`by.who` was removed; readers may need it. Keep it"),
    "another type": (
        lambda s, p: p["turns"].update(type="number"),
        "`turns` was integer and is now number; readers take it for what it was. Add another field beside it"),
    "one type more": (
        lambda s, p: p["gauge"].update(type=["integer", "string"]),
        "`gauge` was integer and is now integer or string; readers take it for what it was. "
        "Add another field beside it"),
    "another type below": (
        lambda s, p: s["$defs"]["By"]["properties"]["who"].update(type="integer"),
        "`by.who` was string and is now integer; readers take it for what it was. Add another field beside it"),
    "a higher bound below": (
        lambda s, p: p["turns"].update(minimum=1),
        "`turns` takes less than it did: minimum is 1 and was 0; events that do not fit have been published. "
        "Put minimum back"),
    "a lower bound above": (
        lambda s, p: p["turns"].update(maximum=9),
        "`turns` takes less than it did: maximum is 9 and was 99; events that do not fit have been published. "
        "Put maximum back"),
    "a new bound": (
        lambda s, p: p["wheel"].update(maxLength=9),
        "`wheel` takes less than it did: maxLength is 9; events that do not fit have been published. "
        "Put maxLength back"),
    "a bound gone": (
        lambda s, p: p["turns"].pop("maximum"),
        "`turns` takes more than it did: maximum was 99; readers rely on it. Put maximum back"),
    "another pattern": (
        lambda s, p: p["wheel"].update(pattern="^v"),
        "`wheel` has another pattern: '^v', and it was '^w'; a record must fit the schema of its day and of every "
        "later one. Put pattern back"),
    "another format": (
        lambda s, p: p["at"].update(format="date"),
        "`at` had the format 'date-time' and now has 'date'; readers parse it as what it was. "
        "Add another field beside it"),
    "fewer words on an open list": (
        lambda s, p: p["speed"]["anyOf"][0]["enum"].remove("slow"),
        "`speed` no longer knows 'slow'; readers wait for it, and it has been published. "
        "Keep the word, even if nobody writes it any more"),
    "an open list closed": (
        lambda s, p: p.update(speed=p["speed"]["anyOf"][0]),
        "`speed` is now a closed list of words; events with others may have been published. Leave it open"),
    "fewer words on a closed list": (
        lambda s, p: p["state"]["enum"].remove("up"),
        "`state` no longer knows 'up'; readers wait for it, and it has been published. "
        "Keep the word, even if nobody writes it any more"),
    "more words on a closed list": (
        lambda s, p: p["state"]["enum"].append("stuck"),
        "`state` may now be 'stuck'; readers rely on there being no such word. "
        "Keep to the words that were published"),
    "a closed list opened": (
        lambda s, p: p.update(state={"anyOf": [p["state"], TEXT]}),
        "`state` is now an open list of words; readers rely on there being no others. Leave it closed"),
    "a text made a closed list": (
        lambda s, p: p.update(at=p["at"] | {"enum": ["noon"]}),
        "`at` is now a list of words; readers take it for what it was. Add another field beside it"),
    "a field that may now be missing": (
        lambda s, p: s["required"].remove("turns"),
        "`turns` was always there and may now be missing; readers rely on it. Keep writing it, without a default"),
    "a field now demanded": (
        lambda s, p: s["required"].append("gauge"),
        "`gauge` is required; events without it have been published. Give it a default"),
    "a new field demanded": (
        lambda s, p: (p.update(depth=TEXT), s["required"].append("depth")),
        "`depth` is required; events without it have been published. Give it a default"),
    "a field that may now be null": (
        lambda s, p: p.update(turns={"anyOf": [p["turns"], NULL]}),
        "`turns` may now be null; readers of it do not expect that. "
        "Leave it out of the field, or add another field that may be null"),
    "a field that may no longer be null": (
        lambda s, p: p.update(water=TEXT),
        "`water` may no longer be null; events with null have been published. "
        "Let null stay allowed, even if nobody writes it any more"),
    "another default": (
        lambda s, p: p["gauge"].update(default=6),
        "`gauge` had the default 5 and now has 6; events without it would mean something else. Keep the default"),
    "the default gone": (
        lambda s, p: p["gauge"].pop("default"),
        "`gauge` had the default 5 and now has none; events without it would mean something else. "
        "Keep the default"),
    "other elements of a list": (
        lambda s, p: p["stops"].update(items=TEXT),
        "`stops[]` was object and is now string; readers take it for what it was. Add another field beside it"),
    "other values of a map": (
        lambda s, p: p["tags"].update(additionalProperties=TEXT),
        "`tags.*` was object and is now string; readers take it for what it was. Add another field beside it"),
    "closed to new fields": (
        lambda s, p: s.update(additionalProperties=False),
        "the event forbids further fields; readers must expect them, and so must it. Leave it open"),
    "another topic": (
        lambda s, p: s.update({"x-topic": "elsewhere"}),
        "the event had the topic 'wheels' and now has 'elsewhere'; readers of the old one would hear nothing more. "
        "Leave them there"),
    "another key": (
        lambda s, p: s.update({"x-key": "{wheel}"}),
        "the event had the key '{account}/{customer}, or {account}/{ce_subject} where customer is empty' and now has "
        "'{wheel}'; it decides partition and order, and compaction. Keep the key"),
    "another subject": (
        lambda s, p: s.update({"x-subject": "wheel"}),
        "the event had the subject 'customer' and now has 'wheel'; readers look objects up by it. Keep it"),
    "another ce_type": (
        lambda s, p: s.update({"x-ce-type": "mill.wheel.spun"}),
        "the event had the ce_type 'mill.wheel.turned' and now has 'mill.wheel.spun'; readers choose events by it. "
        "Keep it"),
    "a rule that is not understood here": (
        lambda s, p: s.update({"not": {"required": ["water"]}}),
        "the event takes less than it did: not is {'required': ['water']}; "
        "events that do not fit have been published. Put not back"),
}  # fmt: skip


def _without(node: Any, field: str) -> None:
    del node["properties"][field]
    if field in node["required"]:
        node["required"].remove(field)


def _renamed(schema: Any, old: str, new: str) -> None:
    renamed = orjson.loads(orjson.dumps(schema).replace(f'$defs/{old}"'.encode(), f'$defs/{new}"'.encode()))
    schema.update(renamed)
    schema["$defs"][new] = schema["$defs"].pop(old)


def compared(change: Change) -> list[str]:
    now = copy.deepcopy(PUBLISHED)
    change(now, now["properties"])
    return [str(problem) for problem in broken({"turned.v1": PUBLISHED}, {"turned.v1": now})]


@pytest.mark.parametrize("what", ALLOWED)
def test_readers_do_not_notice(what: str) -> None:
    assert compared(ALLOWED[what]) == []


@pytest.mark.parametrize("what", REFUSED)
def test_readers_would_break_and_the_sentence_says_what_to_do(what: str) -> None:
    change, sentence = REFUSED[what]
    assert compared(change) == [f"turned.v1: {sentence}{BESIDE}"]


def test_a_published_event_does_not_go_away_and_a_new_one_may_come() -> None:
    assert [str(problem) for problem in broken({"turned.v1": PUBLISHED}, {"turned.v2": PUBLISHED})] == [
        "turned.v1: the event was published and is gone; its records are read for as long as they are kept. "
        "Put it back, and write a new version beside it."
    ]
    assert broken({}, {"turned.v1": PUBLISHED}) == []


def test_a_field_called_like_a_word_of_the_schema_is_a_field() -> None:
    """`title` is an annotation beside a type, and a field among properties."""
    titled = {"type": "object", "properties": {"title": TEXT}, "required": ["title"]}
    before: Any = {"properties": {"a": {"anyOf": [titled, TEXT, {"type": "integer"}]}}}
    after = copy.deepcopy(before)
    after["properties"]["a"]["anyOf"][0]["properties"]["title"] = {"type": "integer"}
    assert broken({"x": before}, {"x": after})


def test_what_only_a_condition_refers_to_is_compared_too() -> None:
    before: Any = {"$defs": {"token": {"type": "string", "pattern": "^a"}}, "then": {"$ref": "#/$defs/token"}}
    after = copy.deepcopy(before)
    after["$defs"]["token"]["pattern"] = "^b"
    (problem,) = broken({"s": before}, {"s": after})
    assert (problem.where, problem.what) == ("token", "has another pattern: '^b', and it was '^a'")


def test_every_event_of_ours_has_a_schema_with_an_example_that_it_accepts() -> None:
    assert set(of_payloads()) == {name(payload) for payload in PAYLOADS}
    assert {type(example) for example in EXAMPLES} == set(PAYLOADS)
    for body in schemas().values():
        Draft202012Validator.check_schema(body)
        assert body["examples"]
        for example in body["examples"]:
            Draft202012Validator(body).validate(example)


def test_a_schema_is_open_to_fields_and_words_that_come_later() -> None:
    for body in schemas().values():
        Draft202012Validator(body).validate(body["examples"][0] | {"added_later": True})
    state = schemas()["millrace.entitlement.state.v1"]
    later = copy.deepcopy(state["examples"][0])
    later["features"]["exports"] |= {"verdict": "on_request", "added_later": [1]}
    Draft202012Validator(state).validate(later)


def test_every_field_says_what_it_means() -> None:
    for schema_name, body in schemas().items():
        for node in (body, *body.get("$defs", {}).values()):
            for field, said in node.get("properties", {}).items():
                assert "description" in said or said.get("$ref") == "#/$defs/token", (schema_name, field)


def test_a_schema_is_written_the_same_way_every_time() -> None:
    for body in schemas().values():
        assert orjson.loads(text(body)) == body
        assert text(body).endswith("}\n")
