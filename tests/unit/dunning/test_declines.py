"""Which kind of no a bank's answer is."""

from __future__ import annotations

import pytest

from dunning.domain import kind_of

ANSWERS = """
code                     decline_code              advice             network  kind
card_declined            insufficient_funds        try_again_later    -        soft
card_declined            generic_decline           -                  -        soft
card_declined            a_code_of_next_year       -                  -        soft
card_declined            lost_card                 do_not_try_again   -        hard
card_declined            stolen_card               -                  -        hard
card_declined            a_code_of_next_year       do_not_try_again   -        hard
card_declined            do_not_honor              -                  03       hard
card_declined            do_not_honor              -                  21       hard
card_declined            do_not_honor              try_again_later    03       soft
expired_card             expired_card              confirm_card_data  -        needs_customer
incorrect_cvc            incorrect_cvc             -                  -        needs_customer
card_declined            do_not_honor              -                  01       needs_customer
authentication_required  authentication_required   -                  -        authentication
card_declined            authentication_required   do_not_try_again   -        authentication
"""


@pytest.mark.parametrize("row", ANSWERS.strip().splitlines()[1:])
def test_an_answer_is_of_a_kind(row: str) -> None:
    code, decline_code, advice, network, kind = (None if word == "-" else word for word in row.split())
    codes = frozenset(filter(None, (code, decline_code)))
    assert kind_of(codes=codes, advice=advice, network_advice=network) == kind
