"""What every record is made of, whoever's event it carries: headers, Stripe's envelope, the claim check."""

from __future__ import annotations

from typing import Any

from millrace.events.examples import CLAIM, HEADERS, STRIPE
from millrace.schemas.payloads import DIALECT

TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
TIME: dict[str, Any] = {"type": "string", "format": "date-time", "pattern": "Z$"}
NUMBER: dict[str, Any] = {"type": "string", "pattern": "^[0-9]+$"}

HEADERS_V1: dict[str, Any] = {
    "$schema": DIALECT,
    "$id": "millrace/headers/1",
    "title": "Headers",
    "description": "The headers of a record, each once, as UTF-8 texts by their names. Others may be there.",
    "type": "object",
    "required": [
        "ce_specversion",
        "ce_id",
        "ce_type",
        "ce_source",
        "ce_subject",
        "ce_time",
        "ce_dataschema",
        "content-type",
        "millrace-outbox",
    ],
    "properties": {
        "ce_specversion": {"const": "1.0", "description": "of CloudEvents"},
        "ce_id": {**TEXT, "description": "the event's id, unique within its source"},
        "ce_type": {**TEXT, "description": "`stripe.` and Stripe's type, or `millrace.` and ours"},
        "ce_source": {
            "type": "string",
            "pattern": "^[^/]+/.+$",
            "description": "who says it: `stripe/<account>` or `millrace/<service>`",
        },
        "ce_subject": {**TEXT, "description": "the id of the object it is about"},
        "ce_time": {**TIME, "description": "when the fact happened, by its author's clock; RFC 3339 in UTC"},
        "ce_dataschema": {
            **TEXT,
            "description": "the `$id` of our schema; of Stripe's events the API version that rendered them",
        },
        "ce_recordedtime": {
            **TIME,
            "description": "when Stripe's webhook was received; an effect carries its cause's",
        },
        "ce_dataref": {
            "type": "string",
            "pattern": "^millrace:[^/]+/[0-9a-f-]{36}$",
            "description": "only where the payload is elsewhere: the value is a claim check",
        },
        "content-type": {"const": "application/json", "description": "of the payload"},
        "traceparent": {
            "type": "string",
            "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
            "description": "W3C trace context; each step of an event is a child of the one before",
        },
        "millrace-outbox": {
            "type": "string",
            "pattern": "^.+@[0-9]+$",
            "description": "which relay published it: a lane and its generation",
        },
        "millrace-outbox-id": {**NUMBER, "description": "the id of the row it was published from"},
        "millrace-pseq": {
            **NUMBER,
            "description": "its number among those of this `millrace-outbox` in this partition, without a gap",
        },
        "millrace-replay": {
            "type": "string",
            "description": "an operator's word on a record that was published again; it has no number",
        },
    },
    "anyOf": [
        {"required": ["millrace-outbox-id", "millrace-pseq"]},
        {"required": ["millrace-replay"]},
        {"properties": {"ce_type": {"const": "millrace.outbox.parked"}}},
    ],
    "examples": [HEADERS],
}

STRIPE_EVENT_V1: dict[str, Any] = {
    "$schema": DIALECT,
    "$id": "stripe/event/1",
    "title": "StripeEvent",
    "description": "Stripe's Event as its webhook brought it, of whatever API version, personal fields sealed.",
    "type": "object",
    "required": ["id", "object", "type", "created", "livemode"],
    "properties": {
        "id": {**TEXT, "description": "the event's id; ce_id repeats it"},
        "object": {
            "enum": ["event", "v2.core.event"],
            "description": "a snapshot event, or a thin one that only names its object",
        },
        "type": {**TEXT, "description": "Stripe's type; ce_type is `stripe.` and this. Any may come"},
        "created": {
            "type": ["integer", "string"],
            "description": "Unix seconds; RFC 3339 in thin events. It orders nothing: several share a second",
        },
        "livemode": {"type": "boolean", "description": "false in Stripe's test mode"},
        "api_version": {"type": ["string", "null"], "description": "what rendered `data.object`"},
        "account": {"type": "string", "description": "the connected account, where there is one"},
        "data": {"$ref": "#/$defs/data", "description": "thin events may have none"},
    },
    "if": {"properties": {"object": {"const": "event"}}},
    "then": {"required": ["data"], "properties": {"data": {"required": ["object"]}}},
    "$defs": {
        "data": {
            "type": "object",
            "properties": {
                "object": {
                    "$ref": "#/$defs/fields",
                    "description": "the object as it was at that moment: Stripe's API reference has its fields",
                },
                "previous_attributes": {
                    "$ref": "#/$defs/fields",
                    "description": "what changed, as it was before; only in `*.updated`, and not always",
                },
            },
        },
        "fields": {
            "type": "object",
            "properties": {"$sealed": {"$ref": "#/$defs/token"}},
            "additionalProperties": {
                "if": {"type": "string", "pattern": "^sealed:"},
                "then": {"$ref": "#/$defs/token"},
                "else": {
                    "if": {"type": "object", "required": ["$sealed"]},
                    "then": {"properties": {"$sealed": {"$ref": "#/$defs/token"}}},
                },
            },
        },
        "token": {
            "type": "string",
            "pattern": "^sealed:[A-Za-z0-9_-]+$",
            "description": 'a sealed value: a text or list becomes this, an object `{"$sealed": this}`',
        },
    },
    "x-ce-type": "stripe.*",
    "x-topic": "stripe.{billing,payments,catalog,other}",
    "x-key": "{account}/{customer}, or {account}/{ce_subject} where the object has no customer",
    "x-subject": "data.object.id",
    "examples": [STRIPE],
}

CLAIM_V1: dict[str, Any] = {
    "$schema": DIALECT,
    "$id": "millrace/claim/1",
    "title": "Claim",
    "description": "The value of a record whose payload is too large for Kafka: where it is, and how to know it.",
    "type": "object",
    "required": ["dataref", "bytes", "sha256"],
    "properties": {
        "dataref": {"type": "string", "pattern": "^millrace:", "description": "what ce_dataref says too"},
        "bytes": {"type": "integer", "minimum": 0, "description": "of the payload, once unpacked"},
        "sha256": {
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "description": "of the payload as it rests in PostgreSQL, perhaps packed",
        },
    },
    "examples": [CLAIM],
}

RECORDS: dict[str, dict[str, Any]] = {
    "millrace.headers.v1": HEADERS_V1,
    "millrace.claim.v1": CLAIM_V1,
    "stripe.event.v1": STRIPE_EVENT_V1,
}
