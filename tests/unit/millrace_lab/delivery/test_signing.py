"""Signatures that stripe-python accepts, and those that it must not."""

from __future__ import annotations

import pytest
import stripe

from millrace_lab.delivery.signing import header

BODY, AT = b'{"id": "evt_1"}', 1_782_864_000
OLD, NEW = "whsec_old", "whsec_new"


def accepts(given: str, secret: str, body: bytes = BODY) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body.decode(), given, secret)
    except stripe.SignatureVerificationError:
        return False
    return True


@pytest.mark.parametrize(
    ("signing", "secret", "good"),
    [
        ([NEW], NEW, True),
        ([NEW], OLD, False),
        ([NEW, OLD], OLD, True),  # while a secret is rolled, both are good
        ([NEW, OLD], NEW, True),
        ([], NEW, False),
    ],
)
def test_every_active_secret_signs(signing: list[str], secret: str, good: bool) -> None:
    assert accepts(header(BODY, AT, signing), secret) == good


def test_the_time_and_every_byte_of_the_body_are_signed() -> None:
    assert not accepts(header(BODY, AT, [NEW]), NEW, BODY + b" ")
    assert not accepts(header(BODY, AT, [NEW]).replace(str(AT), str(AT + 1)), NEW)


def test_the_decoy_of_test_mode_is_no_signature() -> None:
    assert "v0=" in header(BODY, AT, [NEW])
    assert "v0=" not in header(BODY, AT, [NEW], livemode=True)
