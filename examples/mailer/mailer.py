"""A receipt by mail for every paid invoice: one mail, whatever crashes when."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.error
import urllib.request
from typing import Any

from millrace import Each, Event, Poison, Retryable, run
from millrace.events import stripe
from millrace.postgres import Transaction
from millrace.sealing import untoken

PROVIDER = os.environ.get("MAILER_PROVIDER", "https://mail.example/v1/mails")
SECONDS = 5  # for one call; the batch's transaction is open meanwhile


async def receipt(tx: Transaction, event: Event) -> str:
    """Send it, under a key that is the same whenever this happens again."""
    invoice = stripe.object_of(event)
    to, invoice_id = invoice.get("customer_email"), stripe.text(invoice, "id")
    if to is None:
        return "the invoice names no address"
    if untoken(to):
        return "the address cannot be opened any more: its customer is erased"
    mail = {"to": to, "template": "receipt", "invoice": invoice_id}
    await asyncio.to_thread(send, f"receipt:{event.account}:{invoice_id}", mail)
    return "receipt sent"


def send(key: str, mail: dict[str, Any]) -> None:
    """Ask the provider, who sends one mail a key. Raises: Retryable, Poison."""
    headers = {"content-type": "application/json", "idempotency-key": key}
    request = urllib.request.Request(PROVIDER, json.dumps(mail).encode(), headers)
    try:
        urllib.request.urlopen(request, timeout=SECONDS).close()
    except urllib.error.HTTPError as refused:
        if refused.code in (408, 409, 425, 429) or refused.code >= 500:
            raise Retryable(f"the mail provider answers {refused.code}", after=1) from refused
        raise Poison(f"the mail provider refuses it: {refused.code}") from refused
    except OSError as away:
        raise Retryable(f"the mail provider is out of reach: {type(away).__name__}", after=1) from away


if __name__ == "__main__":
    run(Each("mailer", {"stripe.invoice.paid": receipt}), topics=["stripe.billing"], opens="receipt")
