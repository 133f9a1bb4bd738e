"""One reader for every kind of file that events are kept in. It holds a piece of the file, not the file."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import Misconfigured
from operations import recorded
from operations.recorded import PIECE_BYTES, Found, events, events_in


def read(text: bytes) -> list[Found]:
    return list(events_in(io.BufferedReader(io.BytesIO(text)), "kept"))


A, B, C = b'{"id": "evt_1",  "x": 1.10}', b'{"id":"evt_2","s":"}]\\"\\u003a["}', b'{"id":"evt_3"}'
LIST = b'{"object": "list", "data": [%s], "has_more": false, "url": "/v1/events?starting_after=evt_\\"1"}'

KINDS = {
    "lines": (b"%s\n%s\n%s\n" % (A, B, C), ["kept:1", "kept:2", "kept:3"], False),
    "lines, blank ones between, the last one open": (
        b"\n%s\n\n%s\r\n%s" % (A, B, C), ["kept:2", "kept:4", "kept:5"], False
    ),
    "an array": (b"[%s, %s\n,%s]" % (A, B, C), ["kept: event 1", "kept: event 2", "kept: event 3"], True),
    "a list": (LIST % b", ".join((A, B, C)), ["kept: event 1", "kept: event 2", "kept: event 3"], True),
    "a list that says so at the end": (
        b'{"data":[%s,%s,%s],"has_more":true,"object":"list"}' % (A, B, C),
        ["kept: event 1", "kept: event 2", "kept: event 3"], True,
    ),
    "pages, one behind the other": (
        LIST % A + b"\n" + LIST % b"" + LIST % (B + b"," + C) + b"\n",
        ["kept: event 1", "kept: event 2", "kept: event 3"], True,
    ),
    "events over several lines": (
        b"{\n" + A[1:] + b"\n" + B + b" " + C, ["kept: event 1", "kept: event 2", "kept: event 3"], False
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_events_as_they_stand(kind: str) -> None:
    text, places, listed = KINDS[kind]
    found = read(text)
    assert [one.raw.replace(b"{\n", b"{") for one in found] == [A, B, C]
    assert [one.place for one in found] == places
    assert {one.listed for one in found} == {listed}


@pytest.mark.parametrize("text", [b"", b" \n\n", b"[]", LIST % b""])
def test_a_file_may_hold_nothing(text: bytes) -> None:
    assert read(text) == []


def test_a_list_on_a_line_among_lines_is_opened() -> None:
    found = read(A + b"\n[%s, %s]\n" % (B, C))
    assert [(one.place, one.raw) for one in found] == [("kept:1", A), ("kept:2", B), ("kept:2", C)]


def test_a_bad_line_is_handed_on_and_does_not_end_the_file() -> None:
    assert [one.raw for one in read(b"nonsense\n" + A + b'\n{"torn": "\xff\n' + C)] == [
        b"nonsense", A, b'{"torn": "\xff', C
    ]  # fmt: skip


def test_a_torn_list_on_a_line_is_a_bad_line_like_others() -> None:
    torn = b"[%s, {" % B
    assert [one.raw for one in read(A + b"\n" + torn + b"\n" + C)] == [A, B, torn, C]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"[%s,\n%s,\n oops]" % (A, B), "kept:3: is not JSON behind event 2"),
        (b"[%s, %s" % (A, B), "kept:1: is not JSON behind event 2"),
        (b"[%s}" % A, "kept:1: is not JSON behind event 1"),
        (LIST[:-1] % A, "kept:1: is not JSON behind event 1"),
        (b"[" * 100_000, "kept:1: is not JSON behind event 0"),
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_read_on_is_told_with_its_line(text: bytes, sentence: str) -> None:
    with pytest.raises(Misconfigured) as problem:
        read(text)
    assert str(problem.value) == f"{sentence}; expected one event a line, an array or a list"


BODIES = st.lists(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=8,
        ),
        max_size=4,
    ),
    max_size=5,
)  # fmt: skip


@given(BODIES, st.sampled_from(["lines", "array", "list", "indented"]), st.integers(1, 40), st.booleans())
def test_whatever_is_written_is_read_in_pieces_of_any_size(
    bodies: list[dict[str, Any]], kind: str, piece: int, ascii_: bool
) -> None:
    whole: Any = {"object": "list", "has_more": False, "data": bodies} if kind == "list" else bodies
    text = (
        "\n".join(json.dumps(body, ensure_ascii=ascii_) for body in bodies)
        if kind == "lines"
        else json.dumps(whole, indent=1 if kind == "indented" else None, ensure_ascii=ascii_)
    )
    try:
        raw = text.encode()
    except UnicodeEncodeError:  # a lone surrogate can be escaped and not written
        raw = json.dumps(whole).encode()
    recorded.PIECE_BYTES, before = piece, PIECE_BYTES
    try:
        assert [json.loads(one.raw) for one in read(raw)] == bodies
    finally:
        recorded.PIECE_BYTES = before


class Counting(io.BytesIO):
    """A file that knows how much of it was asked for."""

    given = 0

    def readinto(self, into: Any) -> int:
        size = super().readinto(into)
        self.given += size
        return size


def test_the_file_is_read_as_far_as_its_events_were_asked_for() -> None:
    event = orjson.dumps({"id": "evt", "note": "x" * 1000})
    file = Counting(b"[" + b",".join([event] * 5000) + b"]")
    found = events_in(io.BufferedReader(file), "kept")
    for taken in range(1, 5001):
        next(found)
        assert file.given - taken * len(event) < 2 * PIECE_BYTES + taken
    assert next(found, None) is None


def test_a_file_tells_how_far_it_has_been_read(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_bytes(b"%s\n%s\n" % (A, B))
    told: list[int] = []
    assert len(list(events(tmp_path / "e.jsonl", told.append))) == 2
    assert told[-1] == (tmp_path / "e.jsonl").stat().st_size
