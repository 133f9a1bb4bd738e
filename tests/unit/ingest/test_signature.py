"""Stripe's signature: ours agrees with Stripe's own library, and is stricter where that one is lax."""

from __future__ import annotations

import stripe
from hypothesis import given
from hypothesis import strategies as st

from ingest.domain import signature
from ingest.domain.signature import refusal, sign

AT = 1_795_000_000
SECRET = b"whsec_test"
RAW = '{"id":"evt_é"}'.encode()


def test_what_stripes_own_library_signs_is_accepted() -> None:
    header = stripe.WebhookSignature.generate_signature_header(RAW.decode(), SECRET.decode(), AT)
    assert refusal(header.encode(), RAW, [SECRET], AT) is None
    assert sign(RAW, SECRET, AT) == header


def test_any_of_several_secrets_and_any_of_several_signatures_will_do() -> None:
    one, two = sign(RAW, b"whsec_1", AT), sign(RAW, b"whsec_2", AT)
    both = f"{one},v0=ignored,{two.split(',')[1]}".encode()
    for secrets in ([b"whsec_1"], [b"whsec_2"], [b"whsec_0", b"whsec_2"]):
        assert refusal(both, RAW, secrets, AT) is None
    assert refusal(both, RAW, [b"whsec_3"], AT) is signature.WRONG
    assert refusal(both, RAW, [], AT) is signature.WRONG


def test_the_tolerance_ends_on_the_second_both_ways() -> None:
    header = sign(RAW, SECRET, AT).encode()
    verdicts = {late: refusal(header, RAW, [SECRET], AT + late) for late in (-301, -300, 0, 300, 301)}
    assert verdicts == {-301: signature.FUTURE, -300: None, 0: None, 300: None, 301: signature.EXPIRED}


def test_who_cannot_sign_learns_nothing_about_our_clock() -> None:
    assert refusal(sign(RAW, b"whsec_x", AT - 9999).encode(), RAW, [SECRET], AT) is signature.WRONG


@given(header=st.binary(max_size=200), raw=st.binary(max_size=50))
def test_no_header_whatever_raises_or_passes(header: bytes, raw: bytes) -> None:
    assert refusal(header, raw, [SECRET], AT) in (signature.MALFORMED, signature.WRONG)


@given(raw=st.binary(min_size=1, max_size=200), place=st.integers(0), bit=st.integers(0, 7))
def test_one_flipped_bit_is_noticed(raw: bytes, place: int, bit: int) -> None:
    changed = bytearray(raw)
    changed[place % len(raw)] ^= 1 << bit
    assert refusal(sign(raw, SECRET, AT).encode(), bytes(changed), [SECRET], AT) is signature.WRONG
