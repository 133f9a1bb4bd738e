"""Card numbers are cut out wherever people write them, and nothing else is touched."""

# ruff: noqa: RUF001  people write numbers with dashes and digits of every kind
from __future__ import annotations

import json
import random
import time
import uuid

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ingest.domain import cards
from ingest.domain.cards import cut
from lab.northwind.quarter import build

ONE = "[card number 1 removed]"

CUT = [
    # what stands in the JSON text                      what is left of it
    # each issuer's
    ('"4242424242424242"', f'"{ONE}"'),
    ('"4222222222222"', f'"{ONE}"'),  # thirteen digits
    ('"5555555555554444"', f'"{ONE}"'),
    ('"2223003122003222"', f'"{ONE}"'),
    ('"378282246310005"', f'"{ONE}"'),
    ('"30569309025904"', f'"{ONE}"'),
    ('"36227206271667"', f'"{ONE}"'),
    ('"3566002020360505"', f'"{ONE}"'),
    ('"6011111111111117"', f'"{ONE}"'),
    ('"6759649826438453"', f'"{ONE}"'),
    ('"6205500000000000004"', f'"{ONE}"'),  # nineteen
    # as people write them
    ('"4242 4242 4242 4242"', f'"{ONE}"'),
    ('"4242-4242-4242-4242"', f'"{ONE}"'),
    ('"4242.4242.4242.4242"', f'"{ONE}"'),
    ('"4242_4242_4242_4242"', f'"{ONE}"'),
    ('"3782 822463 10005"', f'"{ONE}"'),
    ('"4242 – 4242 – 4242 – 4242"', f'"{ONE}"'),
    ('"4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2"', f'"{ONE}"'),
    ('"my card is 4242424242424242, thanks"', f'"my card is {ONE}, thanks"'),
    ('"(4242424242424242)"', f'"({ONE})"'),
    ('"4242 4242 4242 4242 12/27 123"', f'"{ONE} 12/27 123"'),
    ('"２ cards: ４２４２ ４２４２ ４２４２ ４２４２"', f'"２ cards: {ONE}"'),
    ('"٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢"', f'"{ONE}"'),
    # as JSON writes them
    ("4242424242424242", f'"{ONE}"'),
    ("[1, 4242424242424242 ]", f'[1, "{ONE}" ]'),
    ('{"4242424242424242": 1}', f'{{"{ONE}": 1}}'),
    (r'"4242\n4242\t4242\u00a04242"', f'"{ONE}"'),
    (r'"4242\/4242\"4242\\4242"', f'"{ONE}"'),
    (r'"424242424242424\u0032"', f'"{ONE}"'),
    (r'"\u0034242424242424242\n"', rf'"{ONE}\n"'),
    (r'"\uff14\uff12424242\u06644242424242"', r'"\uff14\uff12424242\u06644242424242"'),  # no check digit
    (r'"\uff14\uff12424242424242\u0664\u0662"', f'"{ONE}"'),
    (r'"x\n4242424242424242"', rf'"x\n{ONE}"'),
    # several
    (
        '"4242424242424242 5555555555554444"',
        '"[card number 1 removed] [card number 2 removed]"',
    ),
    (
        '{"4242424242424242": 1, "4242 4242 4242 4242": 4242424242424242}',
        '{"[card number 1 removed]": 1, "[card number 2 removed]": "[card number 3 removed]"}',
    ),
    (f'{{"{ONE}": 1, "4242424242424242": 2}}', f'{{"{ONE}": 1, "[card number 2 removed]": 2}}'),
    # two readings that share digits go together
    ('"4242 4242 4242 4242 006"', f'"{ONE}"'),
    ('"5555 5555 5555 4444 0002"', f'"{ONE}"'),
]  # fmt: skip


@pytest.mark.parametrize(("written", "left"), CUT, ids=[row[0][:40] for row in CUT])
def test_a_card_number_is_cut_out_in_its_place(written: str, left: str) -> None:
    raw = f'{{"id": "evt_1", "é": {written}, "amount": 2900}}'.encode()
    expected = f'{{"id": "evt_1", "é": {left}, "amount": 2900}}'.encode()
    assert cut(raw) == (expected, left.count("removed]") - written.count("removed]"))
    json.loads(expected)


KEPT = [
    '"in_4242424242424242"', '"4242424242424242_x"', '"x4242424242424242"', '"4242424242424242x"',
    '"é4242424242424242"', r'"\u00e94242424242424242"', r'"4242424242424242\u0041"',
    '"4242424242424241"',  # no check digit
    '"42424242424242424242"',  # twenty digits
    '"00000000000000"', '"1111111111111117"', '"7992739871300003"',  # nobody issues these
    '"42424242424242"', '"424242424242424242"', '"5555555555555550"', '"370000000000000010"',  # not this long
    '"4242 4242    4242 4242"', '"4242 and 4242 4242 4242"', '["4242", "4242", "4242", "4242"]',
    "[4242, 4242, 4242, 4242]", "4242424242424242.5", "4.242424242424242", "-4242424242424242", "4.2e15",
    '"+4242424242424242"', '"+49 170 1234 5678 9"', '"4242.424242424242"', '"0.4242424242424242"',
    '"42424242-4242-4242-b242-424242424242"', '"3f2504e0-4242-4242-4242-424242424242"',
    '"30.06.2026 - 31.07.2026"', '"2026-06-30, 30/06/2026"', '"30.06.2026 12:00:00"',
    "1795000000000", "1795000000000000", "[1795000000,1795000001]",
    '{"network_transaction_id":"378282246310005"}',
]  # fmt: skip


@pytest.mark.parametrize("written", KEPT)
def test_what_is_no_card_number_stays(written: str) -> None:
    raw = f'{{"id": "evt_1", "a": {written}, "amount": 2900}}'.encode()
    assert cut(raw) == (raw, 0)


EXCEPTIONS = [
    # what would not be a card, were it not for the rest
    '"+49 4242424242424242"', '"2026-06-30 4242424242424242"', '"1.5 4242424242424242"',
    '{"metadata":{"network_transaction_id":"4242424242424242"}}', '"4242.4242 4242.4242"',
    '"30.06.2026-4242424242424242"', '"4242424242424242.00"', '"4242424242424242.12"',
]  # fmt: skip


@pytest.mark.parametrize("written", EXCEPTIONS)
def test_a_card_number_beside_what_is_none_is_found(written: str) -> None:
    left, found = cut(f'{{"a": {written}}}'.encode())
    assert (found, b"42424242" in left or b"4242.4242" in left) == (1, False)


# --- any number, anywhere ---

ISSUED = [
    ("4", 13), ("4", 16), ("4", 19), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15),
    ("300", 14), ("305", 14), ("309", 14), ("36", 14), ("38", 19), ("39", 16), ("3528", 16), ("3589", 19),
    ("50", 13), ("56", 19), ("60", 16), ("62", 17), ("69", 18),
]  # fmt: skip
BETWEEN = st.text(" \u00a0\u2009\u202f-\u2010\u2013\u2212./,:;_|*·\n\t'\"\\😀", max_size=3)
AROUND = st.text(st.characters(exclude_categories=["Nd", "Cs"], exclude_characters="+"), max_size=20)


NOT_ISSUED = ["1", "2220", "2721", "306", "308", "31", "3527", "3590", "7", "9", "0"]


def checked(body: str) -> str:
    """With its check digit, as Luhn has it."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in body[::-2])
    return body + str(-(doubled + sum(int(digit) for digit in body[-2::-2])) % 10)


@pytest.mark.parametrize(("begin", "length"), ISSUED)
def test_every_beginning_that_is_issued_is_known(begin: str, length: int) -> None:
    whole = checked(begin.ljust(length - 1, "5"))
    assert cut(f'"{whole}"'.encode()) == (f'"{ONE}"'.encode(), 1)


@pytest.mark.parametrize("begin", NOT_ISSUED)
def test_a_beginning_that_nobody_issues_is_none(begin: str) -> None:
    for length in range(13, 20):
        raw = f'"{checked(begin.ljust(length - 1, "5"))}"'.encode()
        assert cut(raw) == (raw, 0)


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """A number with its check digit, split anyhow."""
    begin, length = draw(st.sampled_from(ISSUED))
    body = begin + draw(
        st.text("0123456789", min_size=length - len(begin) - 1, max_size=length - len(begin) - 1)
    )
    whole = checked(body)
    sparse = draw(st.booleans())  # a few gaps, or any
    gaps = [draw(BETWEEN) if not sparse or place % 4 == 3 else "" for place in range(length - 1)]
    return "".join(digit + gap for digit, gap in zip(whole, [*gaps, ""], strict=True))


def quoted(text: str, escaped: list[bool]) -> str:
    """The inside of a JSON string: every letter by its number, only what is not ASCII, or nothing."""
    whole = "".join(
        f"\\u{ord(char):04x}" if bit and ord(char) < 2**16 else json.dumps(char, ensure_ascii=False)[1:-1]
        for char, bit in zip(text, escaped, strict=False)
    )
    return whole + json.dumps(text[len(escaped) :], ensure_ascii=False)[1:-1]


@given(
    number=numbers(), before=AROUND, after=AROUND, is_key=st.booleans(), bits=st.lists(st.booleans(), max_size=70)
)  # fmt: skip
def test_a_number_planted_anywhere_is_found_and_nothing_else_changes(
    number: str, before: str, after: str, is_key: bool, bits: list[bool]
) -> None:
    assume(not before[-1:].isalnum() and not after[:1].isalnum() and before[-1:] != "_" and after[:1] != "_")
    assume(not cards.NOT_A_CARD.search(number))
    shape = '{"a":[1,{"%s":true}]}' if is_key else '{"a":{"b":[null,"%s"]},"c":1795000000}'
    head, tail = shape.split("%s")
    start, end = head + quoted(before, []), quoted(after, []) + tail
    assert cut((start + quoted(number, bits) + end).encode()) == ((start + ONE + end).encode(), 1)


@given(raw=st.binary(max_size=300) | st.text('0123456789" \\u[]{}:,.-\0é４', max_size=200).map(str.encode))
def test_no_bytes_whatever_raise(raw: bytes) -> None:
    left, found = cut(raw)
    assert (left == raw) == (found == 0)


# --- what a company receives ---


def test_a_quarter_of_a_company_holds_no_card_number() -> None:
    """Amounts, times, ids, addresses, telephone numbers: none of them in any body."""
    assert sum(cut(orjson.dumps(event))[1] for _, event in build(seed=1, customers=12).events) == 0


def test_idempotency_keys_and_times_to_the_millisecond_are_not_taken_for_cards() -> None:
    dice = random.Random(1)
    keys = [str(uuid.UUID(int=dice.getrandbits(128), version=4)) for _ in range(20_000)]
    times = [dice.randrange(1_700_000_000_000, 1_999_999_999_999) for _ in range(20_000)]
    raw = orjson.dumps({"keys": keys, "times": times})
    assert cut(raw) == (raw, 0)


# --- what nobody sends but to hurt ---

M = 2**20
HOSTILE = {
    "digits": '"' + "4" * M + '"',
    "a bare number": "4" * M,
    "digits, spaced": '"' + "4 " * (M // 2) + '"',
    "digits, escaped": '"' + "\\u0034" * (M // 6) + '"',
    "digits between line ends": '"' + "4\\n" * (M // 3) + '"',
    "line ends": '"' + "\\n" * (M // 2) + '4242424242424242"',
    "just too far apart": '"' + "4...." * (M // 5) + '4242424242424242"',
    "one too few": '"' + "424242424242x" * (M // 13) + '4242424242424242"',
    "card after card": '"' + "4242424242424242 " * (M // 17) + '"',
    "decimals": '"' + "4.4242424242424242 " * (M // 19) + '"',
    "dates": '"' + "30.06.2026 " * (M // 11) + '"',
    "half a UUID": '"' + "42424242-" * (M // 9) + '"',
    "quotes": '"' * M + "4242424242424242",
    "backslashes": "\\" * M + "4242424242424242",
    "numbers": "[" + "4," * (M // 2) + "4242424242424242]",
    "full-width": '"' + "４" * (M // 3) + '"',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_megabyte_meant_to_hurt_costs_no_more_than_its_length(kind: str) -> None:
    raw = HOSTILE[kind].encode()
    started = time.process_time()
    cut(raw)
    assert time.process_time() - started < 5  # some tenths; were it quadratic, hours


def test_a_row_too_long_to_be_judged_is_cut_out_whole() -> None:
    long = "4 " * (cards.GROUPS_MAX + 1)
    assert cut(f'{{"a":"{long}end"}}'.encode()) == (f'{{"a":"{ONE} end"}}'.encode(), 1)
