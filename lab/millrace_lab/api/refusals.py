"""The first thing that is wrong with the parameters, as Stripe says it."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from millrace_lab.errors import StripeError, absent, invalid
from millrace_lab.operations import Operation
from millrace_lab.params import Params


def read(operation: Operation, params: dict[str, Any]) -> Params:
    """The parameters of an operation. Raises StripeError 400, or 501 for one that the double has not."""
    missing = sorted(operation.absent & params.keys())
    if missing:
        raise absent(f"parameter {missing[0]} of {operation.route}", operation.params.model_fields)
    try:
        return operation.params.model_validate(params)
    except ValidationError as problem:
        raise refusal(operation, problem, params) from None


def refusal(operation: Operation, problem: ValidationError, params: dict[str, Any]) -> StripeError:
    """An unknown name comes first, then what was found first."""
    errors = problem.errors(include_url=False)
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    param = _named(first, params)
    match first["type"]:
        case "extra_forbidden":
            return invalid(f"Received unknown parameter: {param}", param, "parameter_unknown")
        case "not_here":
            return absent(f"parameter {param} of {operation.route}", operation.params.model_fields)
        case "missing":
            return invalid(f"Missing required param: {param}.", param, "parameter_missing")
        case "invalid_integer" | "int_parsing" | "int_type" | "int_from_float":
            return invalid(f"Invalid integer: {_said(first)}", param, "parameter_invalid_integer")
        case "invalid_boolean" | "bool_parsing" | "bool_type":
            return invalid(f"Invalid boolean: {_said(first)}", param)
        case "string_too_short" if first["input"] == "":
            return invalid(EMPTY.format(param=param), param, "parameter_invalid_empty")
        case "literal_error":
            return invalid(f"Invalid {param}: must be one of {first['ctx']['expected']}", param)
        case "list_type":
            return invalid("Invalid array", param)
        case "dict_type" | "model_type" | "model_attributes_type":
            return invalid("Invalid object", param)
    return invalid(f"Invalid {param}: {first['msg']}", param)


EMPTY = (
    "You passed an empty string for '{param}'. We assume empty values are an attempt to unset a parameter; "
    "however '{param}' cannot be unset. You should remove '{param}' from your request or supply a non-empty value."
)


def _said(error: ErrorDetails) -> str:
    given = error["input"]
    return str(given[error["ctx"]["at"]] if "at" in error.get("ctx", {}) else given)[:100]


def _named(error: ErrorDetails, params: Any) -> str:
    """The parameter's name, without the steps of ours through alternatives: `items[0][price]`."""
    places: list[str] = []
    here = params
    steps = [*error["loc"], *([error["ctx"]["at"]] if "at" in error.get("ctx", {}) else [])]
    for number, place in enumerate(steps):
        last = number == len(steps) - 1 and error["type"] == "missing"
        if isinstance(here, dict) and (place in here or last):
            here = here.get(place)
        elif isinstance(here, list) and isinstance(place, int) and place < len(here):
            here = here[place]
        else:
            continue
        places.append(str(place))
    return places[0] + "".join(f"[{place}]" for place in places[1:]) if places else ""
