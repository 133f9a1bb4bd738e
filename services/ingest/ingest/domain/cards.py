"""Card numbers, cut out of what came in before anything of it is kept.

A card number is 13 to 19 digits that pass the Luhn check, with the beginning and a length that an issuer
gives, in any string of the JSON text or as a bare number: together, or with up to three characters between
two digits that are neither letter nor digit; plain, escaped, or in full-width, Arabic or Indic digits. It
begins and ends where no letter, digit or underscore touches it, so that ids stay as they are.

Not a card, though the digits would do: a number after a plus (a telephone), a decimal number, a part of a
UUID, a date, and the number that a card network gave to a payment. One in ten of all other long numbers
with such a beginning passes the check by chance and is cut out too.

Not found: a number split over two fields, in words, in base64, with letters or percent signs between its
digits (`4242%204242`, `4242<br>4242`), or glued to a word (`Visa4242…`).
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

Span = tuple[int, int]


class Place(NamedTuple):
    """Where digits stand in the text."""

    start: int
    end: int
    quote: str  # what a mark in their place needs around it: a bare number becomes a string


DIGITS_MIN, DIGITS_MAX = 13, 19
GROUPS_MAX = 50_000  # judged in one body; no invoice has as many. A row beyond it is cut out unjudged

LENGTHS = {
    "visa": (13, 16, 19),
    "mastercard": (16,),
    "amex": (15,),
    "diners": (14, 16, 17, 18, 19),
    "jcb": range(16, 20),
    "others": range(13, 20),  # Maestro, Discover, UnionPay, RuPay
}
ISSUER = re.compile(
    rb"(?P<visa>4)"
    rb"|(?P<mastercard>5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720)"
    rb"|(?P<amex>3[47])"
    rb"|(?P<diners>30[0-59]|3[689])"
    rb"|(?P<jcb>35(?:2[89]|[3-8]))"
    rb"|(?P<others>50|5[6-9]|6)"
)
VALUE = bytes.maketrans(b"0123456789", bytes(range(10)))
DOUBLED = bytes.maketrans(b"0123456789", bytes([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]))

# The quick look: every digit a nought, everything gone that may stand between two, and the quotes kept.
NOUGHTS = bytes.maketrans(b"123456789", b"000000000")
BETWEEN = bytes(set(range(256)) - set((string.ascii_letters + string.digits + '"').encode()))
ENOUGH = b"0" * DIGITS_MIN
OTHER_DIGITS = (b"\xef\xbc", b"\xd9", b"\xdb", b"\xe0")  # how full-width, Arabic, Persian, Indic ones begin

# The text as it reads: an escape becomes fill and its character, as wide as it was, so that places stay places.
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
OTHER_DIGIT = re.compile(r"[^\D0-9]")
ESCAPE_WIDTH = 6
FILL = "\0"  # which JSON text never holds

TOKEN = re.compile(r'"[^"]*+"|-?[0-9][0-9.eE+-]*+')
NUMBER = re.compile(rf"[0-9]{{{DIGITS_MIN},{DIGITS_MAX}}}")
DIGIT = r"\0{0,5}+[0-9]"
GAP = r'\0{0,5}+(?:[^\w"\0]|_)'
ROW = re.compile(rf"{DIGIT}(?:(?:{GAP}){{0,3}}+{DIGIT})*+")
GROUP = re.compile(rf"(?P<open>(?<![\w+]))?(?:{DIGIT})++(?P<shut>(?!\0{{0,5}}+\w))?")
NOT_A_DIGIT = re.compile(r"[^0-9]")
DAY, MONTH, YEAR = r"(?:0?[1-9]|[12][0-9]|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:19|20)[0-9]{2}"
NOT_A_CARD = re.compile(
    "|".join(
        (
            r"(?<![\w.])(?=(?:[0-9]\.?){13})[0-9]{1,12}\.[0-9]+(?!\w|\.[0-9])",  # a price with its decimals
            r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b",
            rf"(?<![\w./-])(?:{DAY}([./-]){MONTH}\1|{MONTH}([./-]){DAY}\2){YEAR}(?!\w|[./-][0-9])",
            rf"(?<![\w./-]){YEAR}([./-]){MONTH}\3{DAY}(?!\w|[./-][0-9])",
            r'"network_transaction_id"\s*:\s*"[0-9]{15}"',
        )
    )
)
MARK = "[card number {} removed]"
MARKS = re.compile(r"\[card number ([0-9]{1,9}) removed\]")


def cut(raw: bytes) -> tuple[bytes, int]:
    """The JSON text without card numbers, and how many were cut out.

    In the place of each stands `[card number N removed]`, N counting up, so that keys stay distinct; a bare
    number becomes a string. All other bytes stay as they were.
    """
    odd = b"\\" in raw or (not raw.isascii() and any(begin in raw for begin in OTHER_DIGITS))
    if not odd and not _has_digits_enough(raw):
        return raw, 0
    text = raw.decode("utf-8", "surrogateescape")
    plain = _plain(text) if odd else text
    if odd and not _has_digits_enough(plain.encode("utf-8", "surrogatepass")):
        return raw, 0
    places = _places(plain) and _places(NOT_A_CARD.sub(lambda other: "x" * len(other[0]), plain))
    return _marked(text, places).encode("utf-8", "surrogateescape") if places else raw, len(places)


def _has_digits_enough(raw: bytes) -> bool:
    """Whether enough digits may stand in a row somewhere; true for some texts without."""
    return ENOUGH in raw.translate(NOUGHTS, BETWEEN)


def _plain(text: str) -> str:
    """The text as it reads, each character in its place."""
    plain = ESCAPE.sub(_unescaped, text)
    return plain if plain.isascii() else OTHER_DIGIT.sub(lambda digit: str(int(digit[0])), plain)


def _unescaped(escape: re.Match[str]) -> str:
    char = chr(int(escape[1], 16)) if escape[1] else " "
    return (char if char.isalnum() else " ").rjust(len(escape[0]), FILL)


def _places(plain: str) -> list[Place]:
    """Where the card numbers are, in order."""
    found: list[Place] = []
    judged = 0
    for row in _rows(plain):
        near = GROUP.finditer(
            plain, row.start, row.end + ESCAPE_WIDTH
        )  # far enough to see what touches the last
        groups = [group for group in islice(near, GROUPS_MAX + 1) if group.start() < row.end]
        judged += len(groups)
        if len(groups) == 1 or judged <= GROUPS_MAX:
            found += (Place(start, end, row.quote) for start, end in _joined(_windows(groups)))
        else:
            found.append(row)
    return found


def _rows(plain: str) -> Iterator[Place]:
    """The rows of digits, each in one string or a number of its own, that may hold a card number."""
    for token in TOKEN.finditer(plain):
        start, end = token.span()
        if end - start < DIGITS_MIN:
            continue
        if plain[start] == '"':
            rows = (row.span() for row in ROW.finditer(plain, start + 1, end - 1))
            yield from (Place(*row, "") for row in rows if row[1] - row[0] >= DIGITS_MIN)
        elif NUMBER.fullmatch(plain, start, end):
            yield Place(start, end, '"')


def _windows(groups: Sequence[re.Match[str]]) -> Iterator[Span]:
    """Every run of whole groups that is a card number, by where it begins."""
    parts = [NOT_A_DIGIT.sub("", group[0]).encode() for group in groups]
    for first, group in enumerate(groups):
        if group["open"] is None:
            continue
        digits = b""
        for last in range(first, len(groups)):
            digits += parts[last]
            if len(digits) > DIGITS_MAX:
                break
            if groups[last]["shut"] is not None and _is_card(digits):
                yield group.start(), groups[last].end()


def _is_card(digits: bytes) -> bool:
    issuer = ISSUER.match(digits)
    if issuer is None or len(digits) not in LENGTHS[str(issuer.lastgroup)]:
        return False
    # Luhn: from the right, every second digit doubled, the two digits of what comes out added.
    return (sum(digits[-1::-2].translate(VALUE)) + sum(digits[-2::-2].translate(DOUBLED))) % 10 == 0


def _joined(windows: Iterable[Span]) -> list[Span]:
    """Windows that share digits made one: no digit of any of them may stay."""
    found: list[Span] = []
    for start, end in windows:
        if found and start < found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def _marked(text: str, places: Iterable[Place]) -> str:
    """The text with a mark in each place, counted on from those that it holds already."""
    held = max((int(mark[1]) for mark in MARKS.finditer(text)), default=0)
    parts, done = [], 0
    for number, (start, end, quote) in enumerate(places, start=held + 1):
        parts += [text[done:start], quote, MARK.format(number), quote]
        done = end
    return "".join((*parts, text[done:]))
