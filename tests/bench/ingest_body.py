"""What the generator posts: paid invoices of the size that Stripe's have, signed, each an event of its own."""

from __future__ import annotations

import copy
import hashlib
import re
import string
import time
from collections.abc import Iterable
from typing import Any

import orjson

from ingest.domain.signature import sign
from lab.northwind import stories

ACCOUNT = "acct_1MillraceBench"
SECRET = b"whsec_bench"
PATH = "/webhooks/stripe/main"
HEAD = (
    b"POST " + PATH.encode() + b" HTTP/1.1\r\nhost: edge\r\nuser-agent: Stripe/1.0\r\naccept: */*; q=0.5\r\n"
    b"cache-control: no-cache\r\ncontent-type: application/json; charset=utf-8\r\n"
    b"content-length: %d\r\nstripe-signature: %s\r\n\r\n"
)


def invoice_paid() -> dict[str, Any]:
    """An `invoice.paid` with two lines and the personal data of a customer; <NAMES> stand for what differs."""
    event = copy.deepcopy(next(e for e in stories.invoice_lifecycle() if e["type"] == "invoice.paid"))
    obj = event["data"]["object"]
    event["id"], obj["id"], obj["customer"] = "evt_1<EVENT>", "in_1<INVOICE>", "cus_<CUSTOMER>"
    obj["customer_name"] = "Amber Bakery <CUSTOMER>"
    obj["customer_email"] = "billing+<CUSTOMER>@amber.example"
    obj["customer_phone"] = "+49 30 5550 0134"
    obj["customer_address"] |= {"city": "Berlin", "line1": "Lindenweg 12", "postal_code": "10999"}
    obj["hosted_invoice_url"] = "https://invoice.example/i/<INVOICE><LINE>"
    obj["invoice_pdf"] = "https://invoice.example/i/<INVOICE><LINE>/pdf"
    obj["description"] = "Seats of the team plan, and those that came in the middle of the month"
    obj["metadata"] = {"tenant": "tenant_<CUSTOMER>", "cost_centre": "Front of house"}
    first, second = obj["lines"]["data"][0], copy.deepcopy(obj["lines"]["data"][0])
    first["id"], second["id"] = "il_1<LINE>", "il_2<LINE>"
    second |= {
        "description": "2 x team_monthly_eur, from the middle of the month",
        "amount": 1100,
        "quantity": 2,
    }
    first["invoice"] = second["invoice"] = "in_1<INVOICE>"
    obj["lines"] |= {"data": [first, second], "total_count": 2, "url": "/v1/invoices/in_1<INVOICE>/lines"}
    return event


PARTS = re.split(r"<(EVENT|INVOICE|CUSTOMER|LINE)>", orjson.dumps(invoice_paid()).decode())


# Ids are made of letters and digits as Stripe's are: long rows of digits would look like card numbers.
LETTERS = (string.ascii_letters + string.digits).encode()
ID = bytes(LETTERS[byte % len(LETTERS)] for byte in range(256))


def body(run: int, number: int, customers: int) -> bytes:
    """The body of one event; no two of a run, and none of two runs, are the same event."""
    own = hashlib.sha512(b"%d/%d" % (run, number)).digest().translate(ID).decode()
    customer = hashlib.sha256(b"%d" % (number % customers)).digest().translate(ID).decode()
    names = {"EVENT": own[:21], "INVOICE": own[21:42], "LINE": own[42:], "CUSTOMER": customer[:14]}
    return "".join(names.get(part, part) for part in PARTS).encode()


def request(raw: bytes, at: int) -> bytes:
    """The whole request, ready to be written to a socket. Units: `at` in unix seconds."""
    return HEAD % (len(raw), sign(raw, SECRET, at).encode()) + raw


def requests(run: int, numbers: Iterable[int], customers: int) -> list[bytes]:
    """Requests signed now, to be sent within the five minutes that a signature lives."""
    at = int(time.time())
    return [request(body(run, number, customers), at) for number in numbers]
