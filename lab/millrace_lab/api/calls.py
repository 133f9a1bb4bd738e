"""The order of a request: key, route, permission, limit, replay, parameters, the step, the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from millrace_lab import ids
from millrace_lab.account import Account, Step, Told
from millrace_lab.api import keys, replays
from millrace_lab.api.expanding import answer, paths_of
from millrace_lab.api.lagging import LateReader
from millrace_lab.api.limits import Limiter, limits_of
from millrace_lab.api.refusals import read, refusal
from millrace_lab.api.requests import Reply, Request
from millrace_lab.clockwork import advance
from millrace_lab.composition import OPERATIONS
from millrace_lab.errors import Body, StripeError, absent
from millrace_lab.operations import Operation, Page
from millrace_lab.params import Params
from millrace_lab.platform import accounts, clocks
from millrace_lab.versions import KNOWN
from millrace_lab.versions.requests import translated

METHODS = ("GET", "POST", "DELETE")
NOT_AN_ID = frozenset({"GET /v1/invoices/search"})  # Stripe's own routes that would be taken for an id here
OURS = (
    "An unknown error occurred: this is a mistake of the double's, not of the request. "
    "It is in the log of the double."
)
log = logging.getLogger("millrace_lab")


class Api:
    """The operations over one account."""

    def __init__(self, account: Account, operations: tuple[Operation, ...] = OPERATIONS) -> None:
        self.account, self.operations = account, operations
        self.limiter = Limiter()
        self.asked = 0
        self._connected: dict[str, Api] = {}
        self._tree = _tree(operations)

    # From outside.

    def call(self, request: Request) -> Reply:
        """Answer one request, errors included."""
        self.asked += 1
        version = request.version or self.account.settings["api_version"]
        headers = {"Request-Id": self._request_id()}
        try:
            if request.account not in (None, self.account.id):
                return self._on_behalf(request)
            operation, ids_ = self._admitted(request, version)
            headers["Stripe-Version"] = version
            key = replays.key_of(request)
            if key is None:
                return self._done(request, operation, ids_, headers)
            headers["Idempotency-Key"] = key
            if (reply := replays.recall(self.account, request, key)) is not None:
                return reply
            return self._done(request, operation, ids_, headers)
        except StripeError as error:
            return Reply(error.status, error.body(), headers | error.headers)

    def _on_behalf(self, request: Request) -> Reply:
        """As the platform, for an account that is connected to it. Source: docs.stripe.com/connect/authentication."""
        keys.check(self.account, request.key)
        id_ = str(request.account)
        account = self.account.reach(id_)
        if account is None:
            raise accounts.out_of_reach(id_)
        if (request.method, request.path) in accounts.NOT_ON_BEHALF:
            there = (operation.route for operation in self.operations)
            raise absent(f"{request.method} {request.path} for connected accounts", there)
        if id_ not in self._connected:
            self._connected[id_] = Api(account, self.operations)
        reply = self._connected[id_].call(replace(request, account=None))
        return replace(reply, headers={**reply.headers, "Stripe-Account": id_})

    def _admitted(self, request: Request, version: str) -> tuple[Operation, list[str]]:
        """The operation, for someone who may ask for it now."""
        keys.check(self.account, request.key)
        if version not in KNOWN:
            raise _no_version(version)
        operation, ids_ = self.find(request.method, request.path)
        keys.permit(self.account, request.key, operation)
        limits = limits_of(self.account.settings, self.account.livemode)
        if limits is not None and request.at is not None:
            self.limiter.admit(operation.route, request.at, limits)
        return operation, ids_

    def _done(
        self, request: Request, operation: Operation, ids_: list[str], headers: dict[str, str]
    ) -> Reply:
        """Read the parameters, do it, and store the answer for its key: from here on even a failure stays."""
        version, second = headers["Stripe-Version"], operation.path.startswith("/v2/")
        params = dict(request.params)
        paths = [] if second else paths_of(params.pop("expand", []))
        read_ = read(operation, translated(operation.route, params, version))
        step = self._step(operation, request)

        def shown(result: Body | Page) -> Body:
            return answer(step, result, paths, version, second=second)

        def act() -> Reply:
            body = self._run(step, operation, read_, ids_, shown)
            return Reply(200, body, headers | self._request_header(operation, step))

        reply = _outcome(act, f"{request.method} {request.path}", headers)
        if key := headers.get("Idempotency-Key"):
            replays.store(self.account, request, key, reply)
        return reply

    def _step(self, operation: Operation, request: Request) -> Step:
        lag = int(self.account.settings["lag_seconds"])
        if operation.method == "GET" and lag:
            return LateReader(self.account, lag)
        step = self.account.step(key=request.idempotency)
        step.caller = request.key
        return step

    def _request_id(self) -> str:
        """Of a request that changes nothing: another series than those of events, which reads must not move."""
        return f"req_{ids.letters(ids.digest(self.account.seed, 'request', self.asked), 14)}"

    def _request_header(self, operation: Operation, step: Step) -> dict[str, str]:
        return {} if operation.method == "GET" else {"Request-Id": step.request["id"]}

    # From inside this process: no key, the kept body and not a copy, errors raised.

    def post(self, path: str, /, **params: Any) -> Body:
        return self._within("POST", path, params)

    def get(self, path: str, /, **params: Any) -> Body:
        return self._within("GET", path, params)

    def delete(self, path: str, /, **params: Any) -> Body:
        return self._within("DELETE", path, params)

    def _within(self, method: str, path: str, params: Body) -> Body:
        operation, ids_ = self.find(method, path)
        return self._run(self.account.step(), operation, read(operation, params), ids_, _as_kept)

    # Both.

    def find(self, method: str, path: str) -> tuple[Operation, list[str]]:
        """The operation of a route and the ids in its path. Raises StripeError 404 or 501."""
        if method not in METHODS or not path.startswith(("/v1/", "/v2/")):
            raise _no_such_url(method, path)
        node = self._tree
        ids_: list[str] = []
        for part in path.strip("/").split("/"):
            if part in node:
                node = node[part]
            elif "{}" in node:
                node, ids_ = node["{}"], [*ids_, part]
            else:
                break
        else:
            if (found := node.get(f" {method}")) and f"{method} {path}" not in NOT_AN_ID:
                return found, ids_
        raise absent(f"{method} {path}", (operation.route for operation in self.operations))

    def _run(
        self,
        step: Step,
        operation: Operation,
        params: Params,
        ids_: list[str],
        shown: Callable[[Body | Page], Body],
    ) -> Body:
        """Run an operation; a refusal leaves the account as it was, unless what was done before it is kept.

        The answer is made before anything happens for good: an impossible `expand` refuses the whole.
        """
        try:
            body = shown(operation.run(step, params, *ids_))
        except ValidationError as problem:  # of what the parameters were made into
            raise refusal(operation, problem, params.model_dump()) from None
        except StripeError as error:
            if error.keep:
                self._commit(step)
            raise
        if operation.method != "GET":
            self._commit(step)
        return body

    def _commit(self, step: Step) -> None:
        for told in step.commit():
            if told.type == clocks.ADVANCING:
                self._advance(told)

    def _advance(self, told: Told) -> None:
        """Let a test clock go where it was told to; the request that told it has its answer already."""
        clock = told.object["id"]
        advance(self.account, told.object["status_details"]["advancing"]["target_frozen_time"], clock)
        step = self.account.step(clock=clock, automatic=True)
        clocks.arrived(step, clock)
        step.commit()


def _outcome(act: Callable[[], Reply], what: str, headers: dict[str, str]) -> Reply:
    """What became of it. A mistake of our own is told to the log and to nobody else."""
    try:
        return act()
    except StripeError as error:
        return Reply(error.status, error.body(), headers | error.headers)
    except Exception:
        log.exception("%s", what)
        return Reply(500, StripeError(500, OURS, type="api_error").body(), headers)


def _as_kept(result: Body | Page) -> Body:
    if isinstance(result, Page):
        return {"object": "list", "data": result.data, "has_more": result.has_more, "url": result.url}
    return result


def _no_such_url(method: str, path: str) -> StripeError:
    return StripeError(
        404,
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at "
        "https://support.stripe.com/.",
    )


def _no_version(version: str) -> StripeError:
    return StripeError(
        400,
        f"Invalid Stripe API version: {version[:100]}. You can find available versions at "
        f"https://docs.stripe.com/upgrades. This double of Stripe has {', '.join(KNOWN)}.",
    )


def _tree(operations: tuple[Operation, ...]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for operation in operations:
        node = root
        for part in operation.path.strip("/").split("/"):
            node = node.setdefault("{}" if part.startswith("{") else part, {})
        assert f" {operation.method}" not in node, f"{operation.route} is there twice"
        node[f" {operation.method}"] = operation
    return root
