"""The bytes of one POST: the event in the endpoint's own version, signed at the moment of sending."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from millrace_lab import ids
from millrace_lab.account import Account, Told
from millrace_lab.delivery import signing
from millrace_lab.delivery.mail import Letter
from millrace_lab.errors import Body
from millrace_lab.platform import destinations, endpoints, events
from millrace_lab.rendering import shown

BALANCE_TRANSACTIONS = ("balance_transaction", "failure_balance_transaction")


@dataclass(frozen=True, slots=True)
class Post:
    url: str
    body: bytes
    headers: dict[str, str]


def written(account: Account, letter: Letter, wall: int) -> Post:
    """The POST of a letter. `wall` is the real time of its signature: the receiver checks it by its own clock."""
    endpoint, told = account.objects[letter.endpoint], account.told(letter.event)
    assert told is not None
    event = _event(account, endpoint, told)
    if letter.way == "stray":
        event |= {"id": _foreign(told.id), "livemode": not account.livemode}
    body = orjson.dumps(event, option=orjson.OPT_INDENT_2)
    secrets = endpoints.active_secrets(endpoint, account.now)
    if letter.fault == "rotated":
        secrets = [_foreign(secrets[0], "whsec")]
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        "Stripe-Signature": signing.header(body, wall, secrets, livemode=bool(event["livemode"])),
    }
    return Post(_url(endpoint), body, headers)


def envelope(account: Account, told: Told, version: str | None = None) -> Body:
    """An event as a webhook carries it, with how many endpoints have yet to accept it."""
    owner = account.owner(told)
    event = events.rendered(owner, told, version, pending=account.pending.get(told.id, 0))
    if account.settings["expand_balance_transactions"]:
        _expand(owner, event["data"]["object"], told.object)
    return event


def _event(account: Account, endpoint: Body, told: Told) -> Body:
    if endpoint["object"] == destinations.KIND:
        pending = account.pending.get(told.id, 0)
        return destinations.payload(account, endpoint, told, pending=pending)
    return envelope(account, told, endpoint["api_version"])


def _expand(account: Account, body: Body, kept: Body) -> None:
    """Ours, for a receiver that has no way to ask: balance transactions whole instead of by their ids, and
    every line of an invoice instead of the first ten."""
    for name in BALANCE_TRANSACTIONS:
        found = account.find(body[name]) if isinstance(body.get(name), str) else None
        if found is not None:
            body[name] = shown(found)
    if "_lines" in kept and body.get("lines", {}).get("has_more"):
        body["lines"] = {**body["lines"], "data": shown(kept["_lines"]), "has_more": False}


def _url(endpoint: Body) -> str:
    return str(
        endpoint["webhook_endpoint"]["url"] if endpoint["object"] == destinations.KIND else endpoint["url"]
    )


def _foreign(id_: str, prefix: str = "evt") -> str:
    """An id or a secret that this account does not have."""
    return f"{prefix}_{ids.letters(ids.digest('foreign', id_), 24)}"
