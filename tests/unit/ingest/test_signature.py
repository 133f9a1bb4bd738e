"""Stripe's signature: ours agrees with Stripe's own library, and is stricter where that one is lax."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from ingest.domain import Refused, Secret, signature
from ingest.domain.signature import head, sign, verify

AT = 1_795_000_000
SECRET = b"whsec_test"
RAW = '{"id":"evt_é"}'.encode()


def verdict(header: bytes | None, raw: bytes, secrets: Sequence[Secret], now: int) -> str:
    """The name of the secret that vouches for a body, or of the refusal."""
    signed = head(header, now)
    found = signed if isinstance(signed, Refused) else verify(signed, raw, secrets, now)
    return found.name


def named(*values: bytes) -> list[Secret]:
    return [Secret(value.decode(), value) for value in values]


def until(value: bytes, end: int) -> Secret:
    return Secret(value.decode(), value, datetime.fromtimestamp(end, UTC))


def test_what_stripes_own_library_signs_is_accepted() -> None:
    header = stripe.WebhookSignature.generate_signature_header(RAW.decode(), SECRET.decode(), AT)
    assert verdict(header.encode(), RAW, named(SECRET), AT) == "whsec_test"
    assert sign(RAW, SECRET, AT) == header


ROLLED = [
    # the endpoint's secrets                 who verifies what both 1 and 2 have signed
    (named(b"whsec_1"), "whsec_1"),
    (named(b"whsec_2"), "whsec_2"),
    (named(b"whsec_0", b"whsec_2"), "whsec_2"),
    (named(b"whsec_2", b"whsec_1"), "whsec_2"),  # the endpoint's first, not the header's
    (named(b"whsec_3"), "signature_wrong"),
    ([], "signature_wrong"),
    ([until(b"whsec_1", AT + 1)], "whsec_1"),
    ([until(b"whsec_1", AT)], "signature_retired"),  # from its not_after on it opens nothing
    ([until(b"whsec_1", AT), *named(b"whsec_2")], "whsec_2"),
    ([until(b"whsec_3", AT), *named(b"whsec_4")], "signature_wrong"),
]


@pytest.mark.parametrize(("secrets", "says"), ROLLED, ids=[f"{row[0]} {row[1]}" for row in ROLLED])
def test_any_live_secret_and_any_of_several_signatures_will_do(secrets: list[Secret], says: str) -> None:
    one, two = sign(RAW, b"whsec_1", AT), sign(RAW, b"whsec_2", AT)
    both = f"{one},v0=ignored,{two.split(',')[1]}".encode()
    assert verdict(both, RAW, secrets, AT) == says


def test_the_tolerance_ends_on_the_second_both_ways() -> None:
    header = sign(RAW, SECRET, AT).encode()
    verdicts = {late: verdict(header, RAW, named(SECRET), AT + late) for late in (-301, -300, 0, 300, 301)}
    good = dict.fromkeys((-300, 0, 300), "whsec_test")
    assert verdicts == {-301: "signature_future", **good, 301: "signature_expired"}


def test_who_cannot_sign_learns_nothing_about_our_clock_or_our_secrets() -> None:
    told = {x.reason for x in (signature.WRONG, signature.EXPIRED, signature.FUTURE, signature.RETIRED)}
    assert len(told) == 1


def test_a_secret_shows_its_name_and_never_its_value() -> None:
    assert repr(Secret("env S", SECRET)) == "Secret(name='env S', not_after=None)"


HEADS = [
    # header                                       says
    (None, signature.MISSING),
    (b"", signature.MALFORMED),
    (b"t=%d" % AT, signature.MALFORMED),
    (b"t=%d,v0=00" % AT, signature.MALFORMED),
    (b"v1=00", signature.MALFORMED),
    (b"t=1e9,v1=00", signature.MALFORMED),
    (b"t=%d,t=%d,v1=00" % (AT, AT), signature.MALFORMED),
    (b"t=%d,v1=\xe9" % AT, signature.MALFORMED),
    (b"t=%d" % AT + b",v1=00" * 17, signature.MALFORMED),
    (b"t=%d,v1=00" % (AT - 301), signature.EXPIRED),
    (b"t=%d,v1=00" % (AT + 301), signature.FUTURE),
]


@pytest.mark.parametrize(("header", "says"), HEADS, ids=[str(row[0])[:40] for row in HEADS])
def test_a_bad_header_is_known_before_the_body_is_read(header: bytes | None, says: Refused) -> None:
    assert head(header, AT) is says


@given(header=st.binary(max_size=200), raw=st.binary(max_size=50))
def test_no_header_whatever_raises_or_passes(header: bytes, raw: bytes) -> None:
    assert verdict(header, raw, named(SECRET), AT).startswith("signature_")


@given(raw=st.binary(min_size=1, max_size=200), place=st.integers(0), bit=st.integers(0, 7))
def test_one_flipped_bit_is_noticed(raw: bytes, place: int, bit: int) -> None:
    changed = bytearray(raw)
    changed[place % len(raw)] ^= 1 << bit
    assert verdict(sign(raw, SECRET, AT).encode(), bytes(changed), named(SECRET), AT) == "signature_wrong"
