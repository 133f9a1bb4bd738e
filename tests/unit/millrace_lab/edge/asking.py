"""Asking the double as a stranger does: with a key, headers and a version of one's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from millrace_lab.api import Api, Reply, Request
from millrace_lab.composition import OPERATIONS
from tests.support.double import Double

Body = dict[str, Any]


def ask(
    stripe: Double,
    method: str,
    path: str,
    *,
    api_key: str | None = "sk_test_lab",
    version: str | None = None,
    idempotency: str | None = None,
    at: float | None = None,
    **params: Any,
) -> Reply:
    return stripe.api.call(Request(method, path, params, api_key, version, idempotency, at))


def message(reply: Reply) -> str:
    return str(reply.body["error"]["message"])


def with_run(stripe: Double, route: str, run: Callable[..., Any]) -> None:
    """Let one operation do something else."""
    changed = tuple(dataclasses.replace(o, run=run) if o.route == route else o for o in OPERATIONS)
    stripe.api = Api(stripe.account, changed)
