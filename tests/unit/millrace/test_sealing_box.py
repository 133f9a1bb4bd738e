"""A sealed value opens in its own place, under its own key, unchanged; and nowhere else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.sealing import DataKey, IndexKey, Place, Subject, Unopenable, key_id, token, untoken

ANNA = DataKey(7, Subject("acct_1", "cus_anna"), b"a" * 32)
BERT = DataKey(8, Subject("acct_1", "cus_bert"), b"b" * 32)
HERE = Place("event", "data.object.email", "acct_1/evt_1")
SEALED = ANNA.seal(HERE, b"anna@mill.example")

names = st.text(max_size=12)
places = st.builds(Place, names, names, names)


def test_a_sealed_value_is_laid_out_as_it_is_written_down() -> None:
    assert SEALED[:1] == b"\x01"
    assert SEALED[1:9] == (7).to_bytes(8, "big")
    assert len(SEALED) == 1 + 8 + 12 + len(b"anna@mill.example") + 16
    assert b"anna" not in SEALED
    assert key_id(SEALED) == 7
    assert ANNA.open(HERE, SEALED) == b"anna@mill.example"


@pytest.mark.parametrize(
    ("moved", "key", "place", "sealed"),
    [
        ("to another row", ANNA, HERE._replace(row="acct_1/evt_2"), SEALED),
        ("to another column", ANNA, HERE._replace(column="data.object.name"), SEALED),
        ("to another table", ANNA, HERE._replace(table="invoice"), SEALED),
        ("to another customer", BERT, HERE, SEALED),
        (
            "to another customer, and renamed",
            BERT,
            HERE,
            SEALED[:1] + BERT.id.to_bytes(8, "big") + SEALED[9:],
        ),
        ("to the key's other name", DataKey(9, ANNA.subject, b"a" * 32), HERE, SEALED),
        ("and renamed too", DataKey(9, ANNA.subject, b"a" * 32), HERE, SEALED[:8] + b"\x09" + SEALED[9:]),
        ("nowhere, but cut short", ANNA, HERE, SEALED[:-1]),
        ("nowhere, but lengthened", ANNA, HERE, SEALED + b"\0"),
        ("nowhere, but emptied", ANNA, HERE, b""),
        ("nowhere, but of a later version", ANNA, HERE, b"\x02" + SEALED[1:]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_was_moved_does_not_open(moved: str, key: DataKey, place: Place, sealed: bytes) -> None:
    with pytest.raises(Unopenable):
        key.open(place, sealed)


def test_what_has_one_bit_flipped_does_not_open() -> None:
    for bit in range(len(SEALED) * 8):
        flipped = bytearray(SEALED)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Unopenable):
            ANNA.open(HERE, bytes(flipped))


@given(here=places, there=places, plain=st.binary(max_size=64))
def test_it_opens_in_one_place_only(here: Place, there: Place, plain: bytes) -> None:
    sealed = ANNA.seal(here, plain)
    assert ANNA.open(here, sealed) == plain
    if here != there:
        with pytest.raises(Unopenable):
            ANNA.open(there, sealed)


@given(parts=st.lists(names, min_size=3, max_size=3), cut=st.integers(0, 12))
def test_letters_do_not_move_from_one_part_of_a_place_to_the_next(parts: list[str], cut: int) -> None:
    table, column, row = parts
    here, there = Place(table, column, row), Place(table, column + row[:cut], row[cut:])
    if here != there:
        with pytest.raises(Unopenable):
            ANNA.open(there, ANNA.seal(here, b"x"))


@pytest.mark.timeout(60)
def test_a_nonce_does_not_repeat_in_a_million_seals() -> None:
    row = ANNA.row(HERE.table, HERE.row)
    nonces = {row.seal(HERE.column, b"")[9:21] for _ in range(1_000_000)}
    assert len(nonces) == 1_000_000


def test_a_key_does_not_print_itself() -> None:
    assert "aaaa" not in repr(ANNA)
    assert not hasattr(ANNA, "__dict__")


def test_a_sealed_value_is_one_word_in_json() -> None:
    text = token(SEALED)
    assert text.startswith("sealed:")
    assert "=" not in text
    assert untoken(text) == SEALED


@given(plain=st.binary(max_size=40))
def test_every_length_comes_back_from_json(plain: bytes) -> None:
    sealed = ANNA.seal(HERE, plain)
    assert untoken(token(sealed)) == sealed


@pytest.mark.parametrize(
    "text",
    [
        "", "sealed:", "anna@mill.example", "sealed:AQ", "sealed:ä", "sealed:" + "!" * 64, "sealed:" + "A" * 64,
        "SEALED:" + token(SEALED)[7:], token(SEALED)[:20], token(SEALED) + "=", token(SEALED) + "\n",
        token(SEALED).replace("sealed:AQ", "sealed:Ag"), " " + token(SEALED),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_what_only_looks_like_one_is_none(text: str) -> None:
    assert untoken(text) is None


@pytest.mark.parametrize(
    "sealed",
    [b"", b"\x01", b"\x02" + SEALED[1:], SEALED[:36]],
    ids=["empty", "a byte", "another version", "cut"],
)
def test_what_is_not_sealed_names_no_key(sealed: bytes) -> None:
    with pytest.raises(Unopenable):
        key_id(sealed)


KEY = IndexKey(3, b"i" * 32)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (("customer.email", "anna@mill.example"), ("customer.email", " Anna@Mill.Example\n"), True),
        (("customer.email", "STRASSE"), ("customer.email", "straße"), True),
        (("customer.email", "anna@mill.example"), ("customer.email", "ann@mill.example"), False),
        (("customer.email", "anna"), ("customer.name", "anna"), False),
        (("customer.email", "xanna"), ("customer.emailx", "anna"), False),
    ],
)
def test_a_blind_index_knows_equal_from_unlike(
    one: tuple[str, str], other: tuple[str, str], equal: bool
) -> None:
    assert (KEY.digest(*one) == KEY.digest(*other)) is equal
    assert len(KEY.digest(*one)) == 32
    assert KEY.digest(*one) != IndexKey(4, b"j" * 32).digest(*one)
