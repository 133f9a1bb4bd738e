"""The published form of our events: one JSON Schema each, and what a published one allows to change.

A schema describes what readers may rely on, so it stays open: a newer writer may add optional fields,
and readers pass over what they do not know (`Payload.of`). Anything else is a new version beside the old.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from pydantic.json_schema import GenerateJsonSchema

from millrace.events.examples import EXAMPLES
from millrace.events.ours import PAYLOADS, Payload
from millrace.topics import dead_letter

Schema = Mapping[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
WORDS = frozenset(
    {"title", "description", "examples", "$comment"}
)  # may change: nothing is validated by them


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out the title of each field, which only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def name(payload: type[Payload]) -> str:
    """The schema's name, and its file's: millrace.dunning.changed.v1."""
    return f"{payload.TYPE}.v{payload.VERSION}"


def topic(payload: type[Payload]) -> str:
    """The topic its events travel on; a dead letter's depends on the consumer."""
    return dead_letter("<consumer>") if payload.TOPIC == "dead-letter" else payload.TOPIC


def schema(payload: type[Payload]) -> dict[str, Any]:
    """The JSON Schema of a payload. `$id` is what its events carry as ce_dataschema."""
    body = payload.model_json_schema(schema_generator=_WithoutTitles, mode="validation")
    body.pop("additionalProperties")  # ours to forbid when writing, not the readers'
    return {
        "$schema": DIALECT,
        "$id": payload.schema_id(),
        **body,
        "x-ce-type": payload.TYPE,
        "x-topic": topic(payload),
        "examples": [example.model_dump(mode="json") for example in EXAMPLES if type(example) is payload],
    }


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema by its name."""
    return {name(payload): schema(payload) for payload in PAYLOADS}


def text(body: Schema) -> str:
    """A schema as it is written to a file: two runs give the same bytes."""
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n"


def broken(published: Mapping[str, Schema], now: Mapping[str, Schema]) -> list[str]:
    """What a reader of the published schemas could no longer rely on; nothing when all is well."""
    gone = [f"{name}: was published and is gone" for name in sorted(set(published) - set(now))]
    kept = sorted(set(published) & set(now))
    return gone + [f"{name}: {what}" for name in kept for what in _broken(published[name], now[name], "")]


def _broken(before: Schema, after: Schema, at: str) -> Iterator[str]:
    """The differences at one place and below it, other than added optional fields."""
    where = at or "the event"
    for keyword in sorted((set(before) | set(after)) - WORDS - {"properties", "$defs", "required"}):
        if _bare(before.get(keyword)) != _bare(after.get(keyword)):
            yield f"{where}: {keyword} is no longer what it was"
    for lost in sorted(set(before.get("required", [])) - set(after.get("required", []))):
        yield f"{where}: {lost} was always there and may now be missing"
    for demanded in sorted(set(after.get("required", [])) - set(before.get("required", []))):
        yield f"{where}: {demanded} is required, but events without it have been published"
    for group in ("properties", "$defs"):
        yield from _fields(before.get(group, {}), after.get(group, {}), at)


def _fields(before: Mapping[str, Schema], after: Mapping[str, Schema], at: str) -> Iterator[str]:
    for field, old in before.items():
        path = f"{at}.{field}".lstrip(".")
        if field in after:
            yield from _broken(old, after[field], path)
        else:
            yield f"{path}: was removed"


def _bare(value: Any) -> Any:
    """A schema's value without the words that only people read."""
    if isinstance(value, Mapping):
        return {key: _bare(part) for key, part in value.items() if key not in WORDS}
    return [_bare(part) for part in value] if isinstance(value, list) else value
