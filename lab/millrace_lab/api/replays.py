"""Idempotency: the same key with the same request is answered as it was the first time.

An answer is stored once the request began to be done, a 500 included; what was refused before that (a wrong
parameter, a missing permission, a limit) is not. The first API replays everything for a day, the second
successes only, for thirty days, and does a failed request again.
Source: docs.stripe.com/api/idempotent_requests, docs.stripe.com/api-v2-overview#idempotency.
"""

from __future__ import annotations

import orjson

from millrace_lab.account import DAY, Account
from millrace_lab.api.requests import Reply, Request
from millrace_lab.errors import StripeError, invalid
from millrace_lab.ids import digest

LONGEST = 255
FIRST_KEPT, SECOND_KEPT = DAY, 30 * DAY


def key_of(request: Request) -> str | None:
    """The key that counts: on writes of the first API, and on deletions of the second as well."""
    if request.method == "GET" or (request.method == "DELETE" and _first(request)):
        return None
    key = request.idempotency
    if key is not None and len(key) > LONGEST:
        raise invalid(f"Idempotency-Key is too long: {len(key)} characters, at most {LONGEST} are allowed.")
    return key or None


def recall(account: Account, request: Request, key: str) -> Reply | None:
    """The answer that a key has had. Raises StripeError 400 if it was for something else."""
    forget(account)
    stored = account.replays.get(key)
    if stored is None or stored["until"] <= account.now:
        return None
    if stored["path"] != f"{request.method} {request.path}":
        raise _reused(f"for the same endpoint they were first used for ('{stored['path']}')", key)
    if stored["print"] != _print(request):
        raise _reused("with the same parameters they were first used with", key)
    headers = {**stored["headers"], "Idempotent-Replayed": "true"}
    if stored["status"] >= 500:
        headers["Stripe-Should-Retry"] = "false"  # it would be the same again
    return Reply(stored["status"], stored["body"], headers)


def store(account: Account, request: Request, key: str, reply: Reply) -> None:
    if reply.status >= 400 and not _first(request):
        return
    kept = FIRST_KEPT if _first(request) else SECOND_KEPT
    account.replays.pop(key, None)  # a key that is used anew is the newest
    account.replays[key] = {
        "path": f"{request.method} {request.path}",
        "print": _print(request),
        "status": reply.status,
        "body": reply.body,
        "headers": {"Original-Request": reply.headers["Request-Id"], **reply.headers},
        "until": account.now + kept,
    }


def forget(account: Account) -> None:
    """Drop what is old enough, from the oldest on."""
    while account.replays:
        key, stored = next(iter(account.replays.items()))
        if stored["until"] > account.now:
            return
        del account.replays[key]


def _first(request: Request) -> bool:
    return not request.path.startswith("/v2/")


def _print(request: Request) -> str:
    return format(digest(orjson.dumps(request.params, option=orjson.OPT_SORT_KEYS)), "x")


def _reused(what: str, key: str) -> StripeError:
    return StripeError(
        400,
        f"Keys for idempotent requests can only be used {what}. "
        f"Try using a key other than '{key}' if you meant to execute a different request.",
        type="idempotency_error",
    )
