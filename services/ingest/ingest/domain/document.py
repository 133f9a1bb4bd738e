"""Reading JSON that everybody reads the same way.

A document that two parsers may understand differently is refused: a key twice in one object (which one
counts?), NaN and Infinity (not JSON), nesting so deep that some parser gives up. All consumers read the same
bytes later, with parsers of their own.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import orjson

from ingest.domain.refusal import Refused

DEPTH_MAX = 254  # orjson writes no more

EMPTY = Refused("body_empty", "body is empty")
NOT_UTF8 = Refused("body_not_utf8", "body is not UTF-8")
NOT_JSON = Refused("body_not_json", "body is not JSON")
NOT_AN_OBJECT = Refused("body_not_object", "body is not a JSON object")
TOO_DEEP = Refused("body_too_deep", "body is nested too deeply")
DUPLICATE_KEY = Refused("body_duplicate_key", "body has a key twice in one object")


def read(raw: bytes) -> dict[str, Any] | Refused:
    """The object that the bytes say."""
    if not raw:
        return EMPTY
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = _thoroughly(raw)
    else:
        body = _if_every_key_survived(raw, body)
    if isinstance(body, (dict, Refused)):
        return body
    return NOT_AN_OBJECT


def _if_every_key_survived(raw: bytes, body: Any) -> Any:
    """The body, unless the parser dropped a member whose key came twice.

    Each member has one colon of its own, and written back without it the document has fewer: colons are
    never escaped on the way out, and strings keep theirs. Only where the input may have escaped one does
    counting prove nothing, and the slow reader decides.
    """
    if b"\\" in raw and b"\\u003" in raw:  # to look for one byte first costs a fiftieth
        return _thoroughly(raw)
    try:
        written = orjson.dumps(body)
    except orjson.JSONEncodeError:  # it reads 1,024 levels and writes fewer
        return TOO_DEEP
    return body if written.count(b":") == raw.count(b":") else DUPLICATE_KEY


class _TwiceError(Exception):
    """A key came twice."""


def _thoroughly(raw: bytes) -> Any:
    """The slow reader: tells what is wrong, and takes the lone surrogates that orjson does not."""
    try:
        body = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
        return TOO_DEEP if _deeper_than(body, DEPTH_MAX) else body
    except UnicodeDecodeError:
        return NOT_UTF8
    except _TwiceError:
        return DUPLICATE_KEY
    except RecursionError:
        return TOO_DEEP
    except ValueError:
        return NOT_JSON


def _deeper_than(value: Any, levels: int) -> bool:
    """Whether objects and lists are nested deeper than so many levels."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels < 1 or any(_deeper_than(one, levels - 1) for one in inner)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _TwiceError
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
