"""One request: who asks, for what, with which parameters; and the answer in the caller's version."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from millrace_lab.account import Account, Step
from millrace_lab.composition import INCLUDED, OPERATIONS
from millrace_lab.errors import Body, StripeError, absent, invalid
from millrace_lab.operations import Operation, Page
from millrace_lab.params import Params
from millrace_lab.rendering import shown


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in: `params` already nested, from the query, a form or JSON."""

    method: str
    path: str
    params: Body
    key: str | None = None
    version: str | None = None
    idempotency: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Body
    headers: dict[str, str] = field(default_factory=dict)


class Api:
    """The operations over one account."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._tree = _tree(OPERATIONS)

    def call(self, request: Request) -> Reply:
        """Answer one request, errors included."""
        try:
            operation, ids = self.find(request.method, request.path)
            params = dict(request.params)
            expand = params.pop("expand", [])
            step, result = self.perform(operation, params, ids, request.idempotency)
            body = _rendered(step, result, expand)
            return Reply(200, body, {"Request-Id": step.request["id"]})
        except StripeError as error:
            return Reply(error.status, error.body(), error.headers)

    def post(self, path: str, /, **params: Any) -> Body:
        """A write from inside this process: the kept body, not a copy. Raises StripeError."""
        return self._within("POST", path, params)

    def get(self, path: str, /, **params: Any) -> Body:
        return self._within("GET", path, params)

    def delete(self, path: str, /, **params: Any) -> Body:
        return self._within("DELETE", path, params)

    def _within(self, method: str, path: str, params: Body) -> Body:
        operation, ids = self.find(method, path)
        _, result = self.perform(operation, params, ids)
        if isinstance(result, Page):
            return {"object": "list", "data": result.data, "has_more": result.has_more, "url": result.url}
        return result

    def find(self, method: str, path: str) -> tuple[Operation, list[str]]:
        """The operation of a route and the ids in its path. Raises StripeError 501."""
        node = self._tree
        ids: list[str] = []
        for part in path.strip("/").split("/"):
            if part in node:
                node = node[part]
            elif "{}" in node:
                node, ids = node["{}"], [*ids, part]
            else:
                break
        else:
            if found := node.get(f" {method}"):
                return found, ids
        raise absent(f"{method} {path}", (operation.route for operation in OPERATIONS))

    def perform(
        self, operation: Operation, params: Body, ids: list[str], key: str | None = None
    ) -> tuple[Step, Body | Page]:
        """Run an operation in a step of its own; a refusal leaves the account as it was, unless it is kept."""
        read = _read(operation, params)
        step = self.account.step(key=key)
        try:
            result = operation.run(step, read, *ids)
        except StripeError as error:
            if error.keep:
                step.commit()
            raise
        if operation.method != "GET":
            step.commit()
        return step, result


def _tree(operations: tuple[Operation, ...]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for operation in operations:
        node = root
        for part in operation.path.strip("/").split("/"):
            node = node.setdefault("{}" if part.startswith("{") else part, {})
        assert f" {operation.method}" not in node, f"{operation.route} is there twice"
        node[f" {operation.method}"] = operation
    return root


def _read(operation: Operation, params: Body) -> Params:
    missing = sorted(operation.absent & params.keys())
    if missing:
        raise absent(f"parameter {missing[0]} of {operation.route}", operation.params.model_fields)
    try:
        return operation.params.model_validate(params)
    except ValidationError as problem:
        raise _refusal(problem) from None


def _refusal(problem: ValidationError) -> StripeError:
    """The first thing that is wrong, as Stripe says it."""
    errors = problem.errors(include_url=False)
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    places = [str(place) for place in first["loc"]]
    param = places[0] + "".join(f"[{place}]" for place in places[1:]) if places else ""
    match first["type"]:
        case "extra_forbidden":
            return invalid(f"Received unknown parameter: {param}", param, "parameter_unknown")
        case "missing":
            return invalid(f"Missing required param: {param}.", param, "parameter_missing")
        case "int_parsing" | "int_type" | "int_from_float":
            return invalid(f"Invalid integer: {first['input']}", param, "parameter_invalid_integer")
    return invalid(f"Invalid {param}: {first['msg']}", param)


def _rendered(step: Step, result: Body | Page, expand: list[str]) -> Body:
    if isinstance(result, Page):
        data = [_expanded(step, shown(body), _within_data(expand)) for body in result.data]
        return {"object": "list", "data": data, "has_more": result.has_more, "url": result.url}
    return _expanded(step, shown(result), expand)


def _within_data(expand: list[str]) -> list[str]:
    for path in expand:
        if not path.startswith("data."):
            raise invalid(f"This property cannot be expanded ({path}). You may want to expand 'data.{path}'.")
    return [path.removeprefix("data.") for path in expand]


def _expanded(step: Step, body: Body, paths: list[str]) -> Body:
    for path in paths:
        _expand(step, body, path.split("."), path)
    return body


def _expand(step: Step, body: Any, parts: list[str], path: str) -> None:
    """Replace the ids along a path by what they name."""
    if isinstance(body, list):
        for each in body:
            _expand(step, each, parts, path)
        return
    if not isinstance(body, dict) or not parts:
        return
    name = parts[0]
    if (included := INCLUDED.get((body.get("object", ""), name))) and name not in body:
        body[name] = shown(included(step, body))
    if name not in body:
        raise invalid(f"This property cannot be expanded ({path}).", "expand")
    body[name] = _named(step, body[name])
    _expand(step, body[name], parts[1:], path)


def _named(step: Step, value: Any) -> Any:
    if isinstance(value, str) and (found := step.find(value)) is not None:
        return shown(found)
    if isinstance(value, list):
        return [_named(step, each) for each in value]
    return value
