"""JSON that everybody reads the same way: the fast reader agrees with a slow and careful one."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.domain import document
from ingest.domain.document import read
from ingest.domain.refusal import Refused

TABLE = [
    (b"", document.EMPTY),
    (b"{", document.NOT_JSON),
    (b'{"a":NaN}', document.NOT_JSON),
    (b'{"a":1e400,"a":1}', document.DUPLICATE_KEY),
    (b'{"a":Infinity}', document.NOT_JSON),
    (b'{"a":1} x', document.NOT_JSON),
    (b"{'a':1}", document.NOT_JSON),
    (b'{"a":"\xff"}', document.NOT_UTF8),
    (b'{"a":"\xed\xa0\x80"}', document.NOT_UTF8),
    (b"[1]", document.NOT_AN_OBJECT),
    (b"null", document.NOT_AN_OBJECT),
    (b'"text"', document.NOT_AN_OBJECT),
    (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", document.TOO_DEEP),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, document.TOO_DEEP),
    (b'{"a":' + b"[" * 10_000, document.TOO_DEEP),
    (b'{"a":1,"a":1}', document.DUPLICATE_KEY),
    (b'{"a":1,"\\u0061":1}', document.DUPLICATE_KEY),
    (b'{"o":[{"a":1,"b":{"c":1,"c":2}}]}', document.DUPLICATE_KEY),
    (b'{"a":{"x:y":":"},"a":1}', document.DUPLICATE_KEY),
    (b'{"a":"\\u003a","b":1,"b":":"}', document.DUPLICATE_KEY),  # an escaped colon in for a lost one
    (b'{"a":"\\u003A","a\\u003a":1,"a:":2}', document.DUPLICATE_KEY),
]


@pytest.mark.parametrize(("raw", "refused"), TABLE, ids=[repr(raw[:40]) for raw, _ in TABLE])
def test_what_two_parsers_could_read_differently_is_refused(raw: bytes, refused: Refused) -> None:
    assert read(raw) is refused


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":"::::","b:":{"c":":"}}',
        b'{"a":"\\u003a:\\\\u003a"}',
        b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}',  # one key in several objects is not twice in one
        b'{"nul":"\\u0000","lone":"\\ud800"}',  # PostgreSQL's json would not take either
        b' \n{"a" : 1}\t',
    ],
)
def test_what_is_odd_but_clear_is_read(raw: bytes) -> None:
    assert read(raw) == json.loads(raw)


TEXT = st.text(alphabet='ab:"\\u003a{}é\x00', max_size=6)
KEY = st.sampled_from(["a", "b", ":", "\\u003a", ""]) | TEXT


def members(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """The text of an object, in which keys may come twice, written with and without escapes."""

    def written(pairs: list[tuple[str, str, bool]]) -> str:
        return "{" + ",".join(f"{quoted(key, escape)}:{value}" for key, value, escape in pairs) + "}"

    return st.lists(st.tuples(KEY, values, st.booleans()), max_size=4).map(written)


def quoted(text: str, escape: bool) -> str:
    return '"' + "".join(f"\\u{ord(c):04x}" for c in text) + '"' if escape else json.dumps(text)


SCALARS = st.sampled_from(["1", "null", "1.5", "true"]) | st.tuples(TEXT, st.booleans()).map(
    lambda t: quoted(*t)
)
DOCUMENTS = members(
    st.recursive(
        SCALARS,
        lambda v: members(v) | st.lists(v, max_size=3).map(lambda e: f"[{','.join(e)}]"),
        max_leaves=8,
    )
)


def careful(raw: str) -> Any:
    """The same document by the standard library, or None when a key comes twice."""

    class Twice(Exception):
        pass

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise Twice
        return dict(pairs)

    try:
        return json.loads(raw, object_pairs_hook=unique)
    except Twice:
        return None


@given(raw=DOCUMENTS)
@example(raw='{"a":"\\u003a","b":1,"b":":"}')
def test_the_fast_reader_agrees_with_the_careful_one(raw: str) -> None:
    expected = careful(raw)
    assert read(raw.encode()) == (document.DUPLICATE_KEY if expected is None else expected)


@given(raw=st.binary(max_size=100))
def test_no_bytes_whatever_raise(raw: bytes) -> None:
    assert isinstance(read(raw), (dict, Refused))


def test_the_counting_rests_on_colons_that_are_never_escaped() -> None:
    """What `document._if_every_key_survived` assumes of orjson; an upgrade that breaks it fails here."""
    everything = "".join(map(chr, range(0x20, 0xD800, 7))) + ":"
    assert orjson.dumps({everything: everything}).count(b":") == 2 + 1


@pytest.mark.parametrize("inner", [b"", b"1", b'"x"'])
@pytest.mark.parametrize("levels", [100, 252, 253, 254, 255, 500, 1100])
def test_both_readers_take_the_same_depth(levels: int, inner: bytes) -> None:
    nested = b"[" * levels + inner + b"]" * levels
    plain, odd = (
        document.read(b'{"a":' + nested + b"}"),
        document.read(b'{"s":"\\ud800","a":' + nested + b"}"),
    )
    assert (plain is document.TOO_DEEP) == (odd is document.TOO_DEEP) == (levels > 253)
