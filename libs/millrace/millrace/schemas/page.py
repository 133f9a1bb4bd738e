"""The tables of docs/events.md: what a schema says, for people.

A part of the page stands between `<!-- headers: generated -->` and `<!-- headers: end -->`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from millrace.events.examples import ACCOUNT, CUSTOMER, EXAMPLES, HEADERS, STRIPE, example_headers
from millrace.events.ours import PAYLOADS, Payload
from millrace.schemas.channels import on, writer_of
from millrace.schemas.payloads import name, schema, topic
from millrace.schemas.promises import Schema, leaves, resolved
from millrace.schemas.records import CLAIM_V1, HEADERS_V1, STRIPE_EVENT_V1
from millrace.topics import TOPICS, Topic

ANY = re.compile(r"(<!-- (\w+): generated -->\n).*?(<!-- \2: end -->)", re.DOTALL)


def filled(page: str) -> str:
    """The page with its generated parts written anew."""
    return ANY.sub(lambda part: f"{part[1]}{PARTS[part[2]]()}{part[3]}", page)


def headers() -> str:
    known = HEADERS_V1["properties"]
    rows = (
        (f"`{header}`", "always" if header in HEADERS_V1["required"] else "", said["description"],
         f"`{HEADERS[header]}`" if header in HEADERS else "")
        for header, said in known.items()
    )  # fmt: skip
    return _table(("header", "there", "holds", "example"), rows)


def topics() -> str:
    rows = ((f"`{t.name}`", t.writer, _keeps(t), _types(t), t.content) for t in TOPICS)
    return _table(("topic", "whose events", "keeps", "`ce_type`", "content"), rows)


def stripes() -> str:
    return _fields(STRIPE_EVENT_V1) + _example("", HEADERS, STRIPE)


def claims() -> str:
    return _fields(CLAIM_V1)


def ours() -> str:
    return "\n" + "\n".join(_type(payload) for payload in PAYLOADS)


PARTS = {"headers": headers, "topics": topics, "stripes": stripes, "claims": claims, "ours": ours}


def _keeps(topic_: Topic) -> str:
    if topic_.policy == "compact":
        return "the newest of each key"
    return f"{topic_.retention_days} day{'s' if topic_.retention_days > 1 else ''}"


def _types(topic_: Topic) -> str:
    if topic_.private:
        return "private"
    if topic_.name.startswith("stripe."):
        return "`stripe.…`"
    return ", ".join(f"`{payload.TYPE}`" for payload in on(topic_)) or "`millrace.dead-letter`"


def _type(payload: type[Payload]) -> str:
    body = schema(payload)
    example = next(one for one in EXAMPLES if type(one) is payload)
    written = example.model_dump(mode="json")
    return (
        f"### {payload.TYPE}\n\n{body['description']}\n\n"
        f"Topic `{topic(payload)}` · `ce_dataschema` `{body['$id']}` · `ce_subject` is `{payload.SUBJECT}` · "
        f"[{name(payload)}.json](../schemas/{name(payload)}.json)\n\n"
        f"{_fields(body)}{_example(example.customer, example_headers(example, writer_of(payload)), written)}"
    )


def _fields(body: Schema) -> str:
    return _table(("field", "holds", "meaning"), _rows(body, body, ""))


def _rows(node: Schema, root: Schema, at: str) -> Iterator[tuple[str, str, str]]:
    """A row for each field, and below it one for each field of what it holds. What contains itself is told once."""
    required = node.get("required", ())
    for field, said in node.get("properties", {}).items():
        told = _said(said, root) + ("" if field in required else ", or absent")
        yield f"`{at}{field}`", told, said.get("description") or _seen(said, root).get("description", "")
        inner, step = _inside(said, root)
        if inner and (inner.get("title") is None or inner["title"] != node.get("title")):
            yield from _rows(inner, root, f"{at}{field}{step}.")


def _inside(node: Schema, root: Schema) -> tuple[Schema | None, str]:
    """The object that a field holds, or whose list or map it holds."""
    seen = _seen(node, root)
    for keyword, step in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(seen.get(keyword), Mapping):
            found = _seen(seen[keyword], root)
            return (found, step) if "properties" in found else (None, "")
    return (seen, "") if "properties" in seen else (None, "")


def _seen(node: Schema, root: Schema) -> Schema:
    """A node without its reference, and without the null beside it."""
    solid = [leaf for leaf in leaves(node) if leaf.get("type") != "null"]
    return resolved(solid[0] if solid else node, root)


def _said(node: Schema, root: Schema) -> str:
    """What may stand in a field, in words."""
    if "anyOf" in node:
        alternatives = list(leaves(node))
        if any("enum" in leaf for leaf in alternatives):
            null = ", or null" if any(leaf.get("type") == "null" for leaf in alternatives) else ""
            return f"{_said(alternatives[0], root)}{null}, or a later word"
        return " or ".join(dict.fromkeys(_said(leaf, root) for leaf in alternatives))
    node = resolved(node, root)
    if "enum" in node:
        return ", ".join(f"`{word}`" for word in node["enum"])
    if node.get("format") == "date-time":
        return "time"
    if node.get("type") == "array":
        return f"list of {_said(node['items'], root)}"
    if isinstance(node.get("additionalProperties"), Mapping) and "properties" not in node:
        return f"map of {_said(node['additionalProperties'], root)}"
    types = node.get("type", "anything")
    return " or ".join(NAMES.get(one, one) for one in ([types] if isinstance(types, str) else types))


BAR = "\\|"  # a bar within a cell
NAMES = {"string": "text", "boolean": "true or false", "integer": "integer", "null": "null"}


def _example(customer: str, headers_: Mapping[str, str], value: Mapping[str, Any]) -> str:
    key = f"{ACCOUNT}/{customer or CUSTOMER}"
    told = "".join(f"{header}: {said}\n" for header, said in headers_.items())
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return f"\nA record, its key, its headers and its value:\n\n```\n{key}\n\n{told}\n{body}\n```\n"


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', BAR) for cell in line)} |\n" for line in lines)
