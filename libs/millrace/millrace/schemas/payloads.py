"""The JSON Schema of a typed body: ours, or another team's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from millrace.events.examples import EXAMPLES
from millrace.events.ours import PAYLOADS, Payload
from millrace.topics import dead_letter

DIALECT = "https://json-schema.org/draft/2020-12/schema"
KEY = "{account}/{customer}, or {account}/{ce_subject} where customer is empty"


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out the title of each field, which only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def name(payload: type[Payload]) -> str:
    """The schema's name, and its file's: millrace.dunning.changed.v1."""
    return f"{payload.TYPE}.v{payload.VERSION}"


def topic(payload: type[Payload]) -> str:
    """The topic its events travel on; a dead letter's depends on the consumer."""
    return dead_letter("{consumer}") if payload.TOPIC == "dead-letter" else payload.TOPIC


def schemas(
    payloads: Sequence[type[Payload]] = PAYLOADS, examples: Sequence[Payload] = EXAMPLES
) -> dict[str, dict[str, Any]]:
    """The schema of each payload, by its name."""
    return {name(payload): schema(payload, examples) for payload in payloads}


def schema(payload: type[Payload], examples: Sequence[Payload] = EXAMPLES) -> dict[str, Any]:
    """The JSON Schema of a payload. `$id` is what its events carry as ce_dataschema."""
    body = _opened(payload.model_json_schema(schema_generator=_WithoutTitles, mode="validation"))
    shown = [example.model_dump(mode="json") for example in examples if type(example) is payload]
    return {
        "$schema": DIALECT,
        "$id": payload.schema_id(),
        **body,
        "x-ce-type": payload.TYPE,
        "x-topic": topic(payload),
        "x-key": KEY,
        "x-subject": payload.SUBJECT,
        **({"examples": shown} if shown else {}),
    }


def _opened(node: Any) -> Any:
    """Without what forbids further fields: ours to forbid when writing, not the readers'."""
    if isinstance(node, list):
        return [_opened(part) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _opened(part)
        for key, part in node.items()
        if not (key == "additionalProperties" and part is False)
    }
