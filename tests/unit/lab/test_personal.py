"""The company's customers are persons, and the account's own list of what is personal is what its events tell."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest

from lab.northwind import quarter, truth

KINDS = {  # what a customer surely has
    "an e-mail address": "@",
    "a telephone": "+49 30 ",
    "a free text": "not before nine",
    "the last digits of a card": '"last4":',
    "an invoice's page": "invoice.stripe.com",
    "a receipt": "/receipts/",
    "a client secret": "_secret_",
}


@pytest.fixture(scope="module")
def company() -> quarter.Quarter:
    return quarter.build(7, customers=24)


def test_every_personal_value_is_told_in_some_event(company: quarter.Quarter) -> None:
    told = b"\n".join(orjson.dumps(event) for _, event in company.events).decode()
    personal = truth.personal(company.account)
    assert {value for values in personal.values() for value in values if value not in told} == set()
    assert personal.keys() == set(company.truth.customers)


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_personal_values_of_every_kind(company: quarter.Quarter, kind: str) -> None:
    values = [value for values in truth.personal(company.account).values() for value in values]
    assert any(KINDS[kind] in value for value in values)


def test_hardly_a_value_is_of_two_customers(company: quarter.Quarter) -> None:
    count = Counter(value for values in truth.personal(company.account).values() for value in values)
    shared = {value for value, customers in count.items() if customers > 1}
    assert len(shared) < 10


def test_the_same_seed_has_the_same_people(company: quarter.Quarter) -> None:
    assert truth.personal(quarter.build(7, customers=24).account) == truth.personal(company.account)
