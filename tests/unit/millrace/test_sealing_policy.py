"""The sealing policy: what is personal is sealed wherever it stands, and everything else is left alone."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.documents import Watched
from millrace.errors import Misconfigured
from millrace.sealing import DataKey, Place, Policy, Subject, untoken

POLICY = Policy.read(Path(__file__).parents[3] / "schemas" / "sealing.yaml")
KEY = DataKey(7, Subject("acct_1", "cus_1"), b"k" * 32)
ROW = "acct_1/evt_1"


def body(obj: dict[str, Any], previous: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    data = {"object": obj, **({"previous_attributes": previous} if previous else {})}
    return {"id": "evt_1", "object": "event", "api_version": "2026-10-28.endive", "data": data, **more}


def sealed(event: dict[str, Any], policy: Policy = POLICY) -> dict[str, Any]:
    """What was sealed, by path, as it was before; whatever is not there was left as it is."""
    after = copy.deepcopy(event)
    written = policy.seal(after, KEY, ROW)
    assert json.loads(written) == after
    found = dict(opened(event, after, ""))
    left = json.dumps(event).count('"sealed:') - json.dumps(list(found.values())).count('"sealed:')
    assert written.count(b'"sealed:') == left + len(found)
    return found


def opened(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any]]:
    text = after.get("$sealed") if isinstance(after, dict) else after
    if isinstance(text, str) and text != before and (value := untoken(text)):
        plain = orjson.loads(KEY.open(Place("event", path, ROW), value))
        clear = {k: v for k, v in after.items() if k != "$sealed"} if isinstance(after, dict) else {}
        assert before == ({**plain, **clear} if isinstance(plain, dict) else plain)
        yield path, plain
    elif isinstance(before, dict):
        assert list(before) == list(after)
        for name in before:
            yield from opened(before[name], after[name], f"{path}.{name}" if path else name)
    elif isinstance(before, list):
        assert len(before) == len(after)
        for place, (was, now) in enumerate(zip(before, after, strict=True)):
            yield from opened(was, now, f"{path}[{place}]")
    else:
        assert before == after
        assert type(before) is type(after)


def paths(obj: dict[str, Any], **more: Any) -> list[str]:
    return [path.removeprefix("data.object.") for path in sealed(body(obj, **more))]


ADDRESS = {"line1": "Mühlweg 1", "city": "Aachen", "country": "DE"}
CARD = {"object": "card", "id": "card_1", "brand": "visa", "country": "DE", "last4": "4242", "name": "Anna",
        "exp_month": 8, "exp_year": 2029, "address_line1": "Mühlweg 1", "fingerprint": "f"}  # fmt: skip

OBJECTS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("a customer",
     {"object": "customer", "id": "cus_1", "name": "Anna", "email": "a@b.example", "phone": "+49", "address": ADDRESS,
      "balance": -5, "tax_exempt": "none", "description": "a friend", "metadata": {"team": "red"},
      "tax": {"ip_address": "192.0.2.1", "location": {"country": "DE"}, "automatic_tax": "supported"}},
     ["name", "email", "phone", "address", "description", "metadata", "tax.ip_address", "tax.location"]),
    ("an invoice and its lines",
     {"object": "invoice", "number": "A-1", "total": 100, "customer_email": "a@b.example", "customer_name": "Anna",
      "customer_tax_ids": [{"type": "eu_vat", "value": "DE1"}], "hosted_invoice_url": "https://invoice.stripe.com/i/1",
      "invoice_pdf": "https://pay.stripe.com/invoice/1/pdf", "footer": "Dear Anna", "account_name": "Northwind",
      "lines": {"object": "list", "url": "/v1/invoices/in_1/lines", "data": [
          {"object": "line_item", "amount": 100, "description": "Team, for Anna", "metadata": {"seat": "anna"},
           "price": {"object": "price", "id": "price_1", "nickname": "Team", "lookup_key": "team_monthly_usd"}}]}},
     ["customer_email", "customer_name", "customer_tax_ids", "hosted_invoice_url", "invoice_pdf", "footer",
      "lines.data[0].description", "lines.data[0].metadata"]),
    ("a charge",
     {"object": "charge", "amount": 100, "billing_details": {"name": "Anna"}, "receipt_email": "a@b.example",
      "receipt_url": "https://pay.stripe.com/receipts/1", "failure_message": "Your card was declined.",
      "payment_method_details": {"type": "card", "card": {"brand": "visa", "country": "DE", "last4": "4242",
                                 "fingerprint": "f", "exp_month": 8, "exp_year": 2029, "funding": "credit"}}},
     ["billing_details", "receipt_email", "receipt_url", *(f"payment_method_details.card.{name}" for name in
      ("last4", "fingerprint", "exp_month", "exp_year"))]),
    ("a payment intent before 2022-11-15, with its charges and its customer expanded",
     {"object": "payment_intent", "client_secret": "pi_1_secret_2", "customer": {"object": "customer", "name": "Anna"},
      "charges": {"object": "list", "data": [{"object": "charge", "description": "Anna", "source": CARD}]}},
     ["client_secret", "customer.name", "charges.data[0].description", *(f"charges.data[0].source.{name}" for name in
      ("last4", "name", "exp_month", "exp_year", "address_line1", "fingerprint"))]),
    ("a subscription",
     {"object": "subscription", "status": "active", "description": "Anna's", "metadata": {},
      "cancellation_details": {"comment": "too dear", "feedback": "too_expensive", "reason": None},
      "items": {"object": "list", "data": [{"object": "subscription_item", "quantity": 3, "metadata": {"a": "b"}}]}},
     ["description", "cancellation_details.comment", "items.data[0].metadata"]),
    ("a checkout session",
     {"object": "checkout.session", "url": "https://checkout.stripe.com/c/pay/1", "customer_details": {"email": "a"},
      "collected_information": {"shipping_details": {"name": "Anna"}}, "custom_fields": [{"text": {"value": "x"}}],
      "success_url": "https://northwind.example/thanks", "amount_total": 1, "client_reference_id": "org_1"},
     ["url", "customer_details", "collected_information", "custom_fields", "success_url"]),
    ("a dispute",
     {"object": "dispute", "reason": "fraudulent", "evidence": {"customer_name": "Anna", "receipt": "file_1"},
      "evidence_details": {"due_by": 1}},
     ["evidence"]),
    ("a tax id",
     {"object": "tax_id", "type": "eu_vat", "value": "DE1", "verification": {"verified_name": "Anna"}},
     ["value", "verification.verified_name"]),
    ("a product: nobody's",
     {"object": "product", "name": "Boards", "description": "All of it", "url": "https://northwind.example/boards",
      "metadata": {"owner": "Anna"}},
     ["metadata"]),
    ("a stranger, by names that may be anybody's",
     {"object": "treasury.outbound_payment", "amount": 5, "description": "rent", "statement_descriptor": "ANNA",
      "destination": {"name": "Anna", "details": {"routing_number": "1", "bank_name": "Mill"}}},
     ["description", "statement_descriptor", "destination.name", "destination.details.routing_number"]),
    ("a stranger within",
     {"object": "invoice", "source": {"object": "source", "name": "Anna", "owner": {"name": "Anna"}, "amount": 1}},
     ["source.name", "source.owner"]),
    ("what is empty",
     {"object": "customer", "name": None, "email": "", "address": {}, "metadata": {}, "phone": None,
      "invoice_settings": {"custom_fields": None, "footer": None}, "delinquent": False, "balance": 0},
     []),
    ("what tells by itself, whatever its name",
     {"object": "product", "id": "prod_1", "name": "Write to anna@mill.example",
      "features": ["see https://billing.stripe.com/p/session/1", "pi_3MtwBwLkdIwHu7ix_secret_YrKJ"],
      "images": ["https://files.example/1.png"], "unit_label": "top_secret_seat", "doc": "https://docs.stripe.com/x"},
     ["name", "features[0]", "features[1]"]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "obj", "expected"), OBJECTS, ids=[what for what, _, _ in OBJECTS])
def test_these_fields_are_sealed_and_no_others(what: str, obj: dict[str, Any], expected: list[str]) -> None:
    assert sorted(paths(obj)) == sorted(expected)


def test_old_values_are_sealed_by_the_rules_of_the_object() -> None:
    event = body(
        {"object": "customer", "name": "Anna", "balance": 0},
        {"name": "Ann", "balance": 5, "invoice_settings": {"footer": "x"}, "email": "ann@b.example"},
    )
    assert sealed(event) == {
        "data.object.name": "Anna",
        "data.previous_attributes.name": "Ann",
        "data.previous_attributes.invoice_settings.footer": "x",
        "data.previous_attributes.email": "ann@b.example",
    }


def test_a_thin_event_says_of_its_object_what_a_stranger_does() -> None:
    event = {
        "id": "evt_1",
        "object": "v2.core.event",
        "type": "v1.customer.updated",
        "related_object": {"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"},
        "changes": {"before": {"name": "Ann"}, "after": {"name": "Anna"}},
        "data": {"description": "a friend", "amount": 5},
        "reason": {"request": {"id": "req_1", "client": {"ip_address": "192.0.2.1"}}},
    }
    assert sealed(event) == {
        "changes.before.name": "Ann",
        "changes.after.name": "Anna",
        "data.description": "a friend",
        "reason.request.client.ip_address": "192.0.2.1",
    }


def test_the_envelope_is_searched_too() -> None:
    event = body({"object": "price"}, request={"id": "req_1", "idempotency_key": "sign-up anna@mill.example"})
    assert list(sealed(event)) == ["request.idempotency_key"]


@pytest.mark.parametrize("odd", [
    {"object": "event"}, {"object": "event", "data": None}, {"object": "event", "data": []}, {},
    {"object": "event", "data": {"object": None}}, {"object": "event", "data": {"object": {"object": ["customer"]}}},
    {"object": "event", "api_version": 7, "data": {"object": {"object": {}}}},
    {"object": "event", "api_version": "2026-99", "data": {"object": [[["x"]]]}},
], ids=str)  # fmt: skip
def test_odd_bodies_are_left_alone(odd: dict[str, Any]) -> None:
    assert sealed(odd) == {}


def test_what_json_can_hold_and_orjson_cannot_is_sealed_too() -> None:
    event = body({"object": "customer", "metadata": {"a": "\ud800", "b": 10**40, "\ud800": 1}})
    assert POLICY.seal(event, KEY, ROW).count(b'"sealed:') == 1
    assert "\ud800" not in str(event)


def test_a_sealed_value_is_bound_to_its_path_and_its_event() -> None:
    event = body({"object": "customer", "name": "Anna", "email": "Anna"})
    POLICY.seal(event, KEY, ROW)
    one, other = (untoken(event["data"]["object"][name]) for name in ("name", "email"))
    assert one and other and one != other
    assert KEY.open(Place("event", "data.object.name", ROW), one) == b'"Anna"'


def test_metadata_that_is_needed_stays_clear_beside_the_rest() -> None:
    policy = Policy({"customer": []}, everywhere=["metadata"], needed=["plan", "mail"])
    event = body(
        {"object": "customer", "metadata": {"plan": "team", "name": "Anna", "mail": "anna@mill.example"}}
    )
    assert sealed(event, policy) == {"data.object.metadata": {"name": "Anna", "mail": "anna@mill.example"}}
    policy.seal(event, KEY, ROW)
    assert event["data"]["object"]["metadata"]["plan"] == "team"
    assert sealed(body({"object": "customer", "metadata": {"plan": "team"}}), policy) == {}


def test_what_is_indexed_is_told_before_it_is_sealed() -> None:
    event = body({"object": "customer", "email": "a@b.example"})
    assert POLICY.indexed(event) == [("customer.email", "a@b.example")]
    for other in (body({"object": "customer", "email": " "}), body({"object": "charge", "email": "a"}), {}):
        assert POLICY.indexed(other) == []


# --- the file ---

GOOD = """
needed: [plan]
index:
  customer: [email]
everywhere:
  contact: [email, phone]
  words: [metadata]
strangers:
  names: [name]
types:
  customer:
    sealed:
      - name
      - invoice_settings.footer
      - {field: tax_info, since: 2018-08-23, until: 2019-12-03}
      - {field: business_name, since: 2025-09-30.clover}
  product:
    clear: [phone]
  price: {}
"""


def written(path: Path, text: str) -> Path:
    """A file with a time stamp of its own, however fast the test writes."""
    stamp = path.stat().st_mtime_ns + 1_000_000 if path.exists() else 1_000_000_000
    path.write_text(text)
    os.utime(path, ns=(stamp, stamp))
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return written(tmp_path / "sealing.yaml", GOOD)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2016-07-06", ["name"]),
        ("2018-08-22", ["name"]),
        ("2018-08-23", ["name", "tax_info"]),
        ("2019-12-02", ["name", "tax_info"]),
        ("2019-12-03", ["name"]),
        ("2025-08-27.basil", ["name"]),
        ("2025-09-30.clover", ["name", "business_name"]),
        ("2026-10-28.endive", ["name", "business_name"]),
        (None, ["name", "tax_info", "business_name"]),
        ("unheard of", ["name", "tax_info", "business_name"]),
    ],
)
def test_a_field_belongs_to_some_versions(good: Path, version: str | None, expected: list[str]) -> None:
    obj = {"object": "customer", "name": "a", "tax_info": {"a": "b"}, "business_name": "c"}
    event = body(obj, api_version=version)
    assert [path.removeprefix("data.object.") for path in sealed(event, Policy.read(good))] == expected


def test_clear_beats_what_is_personal_everywhere(good: Path) -> None:
    obj = {"object": "product", "phone": "x", "email": "y", "inner": {"phone": "z"}}
    assert list(sealed(body(obj), Policy.read(good))) == ["data.object.email", "data.object.inner.phone"]


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("types:", "type:", 10, "type: is not known here; did you mean types?"),
        ("    clear: [phone]", "    claer: [phone]", 18, "types.product.claer: is not known here; did you mean clear?"),
        ("      - name\n", "      - name[0]\n", 13, "types.customer.sealed[0]: 'name[0]' is not a field; write names"),
        ("      - name\n", "      - name\n      - name\n", 14, "name is there twice; keep one of them"),
        ("      - name\n", "      - invoice_settings\n", 14,
         "invoice_settings.footer and invoice_settings stand one below the other; keep one of them"),
        ("      - invoice_settings.footer\n", "      - invoice_settings.footer\n      - invoice_settings\n", 15,
         "invoice_settings and invoice_settings.footer stand one below the other"),
        ("since: 2018-08-23", "since: 2020-01-01", 15, "until: is not after since"),
        ("since: 2018-08-23", "since: basil", 15, "'basil' is not an API version; write 2025-03-31.basil"),
        ("since: 2018-08-23", "form: 2018-08-23", 15, "form: is not known here"),
        ("{field: business_name, since: 2025-09-30.clover}", "{since: 2025-09-30.clover}", 16, "'field' is missing"),
        ("[email, phone]", "[email, a.b]", 6, "a.b is a path; write one name"),
        ("words: [metadata]", "words: [phone]", 7, "phone is in two groups"),
        ("words: [metadata]", "words: metadata", 7, "is not a list; write [email, phone]"),
        ("[plan]", "[$sealed]", 2, "$sealed marks what is sealed; use another key"),
        ("  customer: [email]", "  customer: email", 4, "index.customer: is not a list; write [email]"),
        ("  price: {}", "  price: 7", 19, "types.price: is not a mapping"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_leaves_the_policy_in_force(
    good: Path, old: str, new: str, line: int, says: str
) -> None:
    watched = Watched(good, Policy.read)
    before = watched()
    assert old in GOOD
    written(good, GOOD.replace(old, new, 1))
    with pytest.raises(Misconfigured) as refused:
        Policy.read(good)
    assert str(refused.value).startswith(f"{good}:{line}: ")
    assert says in str(refused.value)
    assert watched() is before
    written(good, GOOD.replace("[email, phone]", "[email, phone, fax]"))
    assert list(sealed(body({"object": "price", "fax": "1"}), watched())) == ["data.object.fax"]


# --- any body ---

leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8) | st.just("anna@mill.example")
names = st.sampled_from(["object", "name", "email", "metadata", "data", "amount", "a.b", "x[0]", ""])
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=30
)  # fmt: skip


@given(
    obj=st.dictionaries(names, trees, max_size=5),
    type_=st.sampled_from(["customer", "price", "list", "new", 7]),
)
def test_whatever_the_body_no_address_stays_and_all_else_does(obj: dict[str, Any], type_: Any) -> None:
    event = body({**obj, "object": type_}, copy.deepcopy(obj))
    after = copy.deepcopy(event)
    POLICY.seal(after, KEY, ROW)
    assert b"anna@mill.example" not in orjson.dumps(list(values(after)))
    sealed(event)


def values(tree: Any) -> Iterator[Any]:
    for inner in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from values(inner)
    if not isinstance(tree, (dict, list)):
        yield tree
