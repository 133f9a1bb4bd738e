"""AsyncAPI 3.0 over all topics: a channel each, the messages on it, and how its records are keyed and kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from millrace.events.examples import ACCOUNT, CLAIM, CUSTOMER, EXAMPLES, HEADERS, STRIPE, example_headers
from millrace.events.ours import PAYLOADS, Payload
from millrace.schemas.payloads import KEY, name, topic
from millrace.topics import DAY_MS, TOPICS, Topic, dead_letter

FORMAT = "application/schema+json;version=draft-2020-12"
STRIPE_MESSAGE, CLAIM_MESSAGE = "stripe.event.v1", "millrace.claim.v1"
DESCRIPTION = """\
Stripe's events and what our services make of them, as CloudEvents 1.0 in Kafka's binary mode. Read with
isolation.level=read_committed: then each event is there once. The relay is the only one that writes into Kafka;
`x-written-by` says whose events they are. docs/events.md says the same in prose.
"""
ORDER = (
    "events of one key are in the order in which their transactions committed; of two keys there is no order"
)
PRIVATE = "The relay's own: read nothing from it, it may look otherwise tomorrow."
PARTITIONS = (
    "murmur2 of the key, as Kafka's own clients do it; the number of partitions never changes in place"
)


def asyncapi() -> dict[str, Any]:
    """The document. It refers to the schemas as the files beside it."""
    channels = {t.name: _channel(t) for t in TOPICS if not _of_a_consumer(t)}
    channels["dead-letter"] = _dead_letters()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Millrace",
            "version": "1",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {f"say.{name}": _said(name, body) for name, body in channels.items()},
        "components": {"messages": dict(_messages())},
    }


def text(body: dict[str, Any]) -> str:
    """The document as it is written to a file: two runs give the same bytes."""
    return yaml.dump(body, Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """Repeats what occurs twice instead of pointing at it, and leaves the lines of a text as they are."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.Node:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _Plain.represent_text)


def on(topic_: Topic) -> list[type[Payload]]:
    """Our types of event on a topic."""
    return [payload for payload in PAYLOADS if topic_.name == payload.TOPIC]


def _of_a_consumer(topic_: Topic) -> bool:
    """Every consumer has a topic of notices; they are one channel with a parameter."""
    return topic_.name == dead_letter(topic_.writer) and not on(topic_)


def _channel(topic_: Topic) -> dict[str, Any]:
    names = [name(payload) for payload in on(topic_)]
    if topic_.name.startswith("stripe."):
        names = [STRIPE_MESSAGE]
    return {
        "address": topic_.name,
        "description": f"{topic_.content}. {PRIVATE}" if topic_.private else topic_.content,
        **({} if topic_.private else {"messages": _references([*names, CLAIM_MESSAGE])}),
        "bindings": {"kafka": _kafka(topic_)},
        "x-written-by": topic_.writer,
        **({"x-private": True} if topic_.private else ORDERED),
    }


def _dead_letters() -> dict[str, Any]:
    of_them = next(t for t in TOPICS if _of_a_consumer(t))
    ours = sorted(t.writer for t in TOPICS if _of_a_consumer(t))
    return {
        "address": dead_letter("{consumer}"),
        "description": "events that a consumer parked: notices only, the events are in its database",
        "messages": _references([name(p) for p in PAYLOADS if p.TOPIC == "dead-letter"] + [CLAIM_MESSAGE]),
        "parameters": {"consumer": {"description": "the consumer's name", "examples": ours}},
        "bindings": {"kafka": _kafka(of_them)},
        "x-written-by": "the consumer",
        **ORDERED,
    }


ORDERED = {"x-key": KEY, "x-ordering": ORDER, "x-partitioning": PARTITIONS}


def _kafka(topic_: Topic) -> dict[str, Any]:
    """The broker's side. Without a number of partitions it is the deployment's."""
    kept: dict[str, Any] = {"cleanup.policy": [topic_.policy]}
    if topic_.policy == "delete":
        kept["retention.ms"] = topic_.retention_days * DAY_MS
    partitions = {"partitions": topic_.partitions} if topic_.partitions else {}
    return {**partitions, "topicConfiguration": kept, "bindingVersion": "0.5.0"}


def _references(names: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _said(channel: str, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": f"{body['x-written-by']}: {body['description']}",
    }


def _messages() -> Iterator[tuple[str, dict[str, Any]]]:
    yield STRIPE_MESSAGE, _message(STRIPE_MESSAGE, "an event of Stripe's", HEADERS, STRIPE)
    for payload in PAYLOADS:
        example = next(one for one in EXAMPLES if type(one) is payload)
        yield (
            name(payload),
            _message(
                name(payload),
                (payload.__doc__ or "").splitlines()[0],
                example_headers(example, writer_of(payload)),
                example.model_dump(mode="json"),
            ),
        )
    summary = "stands in the place of any record whose payload is too large for Kafka"
    yield CLAIM_MESSAGE, _message(CLAIM_MESSAGE, summary, HEADERS | {"ce_dataref": CLAIM["dataref"]}, CLAIM)


def writer_of(payload: type[Payload]) -> str:
    """Whose events they are; of the notices of parked events, one of many."""
    return next((t.writer for t in TOPICS if t.name == topic(payload)), "ledger")


def _message(name: str, summary: str, headers: dict[str, str], payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "summary": summary,
        "contentType": "application/json",
        "headers": {"$ref": "./millrace.headers.v1.json"},
        "payload": {"schemaFormat": FORMAT, "schema": {"$ref": f"./{name}.json"}},
        "bindings": {"kafka": {"key": KEY_SCHEMA, "bindingVersion": "0.5.0"}},
        "examples": [{"headers": headers, "payload": payload}],
    }


KEY_SCHEMA = {
    "type": "string",
    "pattern": "^[^/]+/.+$",
    "description": KEY,
    "examples": [f"{ACCOUNT}/{CUSTOMER}"],
}
