"""A person drives the demo that stays: what they do at the company's Stripe is what the services answer.

One real process, begun as a person begins it and ended by Ctrl-C; everything it needs to be driven it has printed.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import stripe

from lab.demo.site import SERVICES
from lab.stack import manage
from lab.stack.jars import CHECKOUT
from lab.stack.process import living, wait_until

FOLDER = CHECKOUT / ".millrace" / "test-demo-by-hand"
SEED, CUSTOMERS = 12, 10
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True, slots=True)
class Staying:
    """A demo that stays, and what it printed about the customer to try it with."""

    process: subprocess.Popen[str]
    place: Path  # where it was begun: `millrace` finds it from there
    output: Path
    stripe: str
    access: str

    def printed(self, pattern: str) -> str:
        found = re.search(pattern, self.output.read_text())
        assert found, f"{pattern} is not in\n{self.output.read_text()}"
        return found[1]

    def may(self, customer: str) -> dict[str, dict[str, Any]]:
        """Every feature of a customer, as the access API answers."""
        with urllib.request.urlopen(self.access.replace("cus_…", customer), timeout=10) as answer:
            features: dict[str, dict[str, Any]] = json.load(answer)["features"]
            return features

    def lab(self, path: str, **given: Any) -> Any:
        body = json.dumps(given).encode() if given else None
        with urllib.request.urlopen(f"{self.stripe}/_lab{path}", body, timeout=60) as answer:
            return json.load(answer)

    def presses(self, id_: str, label: str) -> None:
        """On the page of an object, as a browser would."""
        with urllib.request.urlopen(f"{self.stripe}/objects/{id_}", timeout=10) as page:
            button = re.search(rf'value="(\d+)"[^>]*>{label}<', page.read().decode())
        assert button, f"no button {label!r}"
        form = urllib.parse.urlencode({"button": button[1]}).encode()
        with urllib.request.urlopen(f"{self.stripe}/objects/{id_}", form, timeout=10) as after:
            assert "error=" not in after.url

    def settled(self, customer: str, holds: Callable[[dict[str, dict[str, Any]]], bool]) -> dict[str, Any]:
        """What a customer may do, once that is so."""
        assert wait_until(lambda: holds(self.may(customer)), 20, every_seconds=0.05), self.may(customer)
        return self.may(customer)


@pytest.fixture
def staying(tmp_path: Path) -> Iterator[Staying]:
    output = tmp_path / "output"
    command = [sys.executable, "-m", "lab", "demo", "--stay", "--folder", FOLDER]
    with output.open("w") as file:
        process = subprocess.Popen(
            [*map(str, command), "--seed", str(SEED), "--customers", str(CUSTOMERS)],
            cwd=tmp_path, stdout=file, stderr=file, text=True,
        )  # fmt: skip
    try:
        begun = lambda: "Ctrl-C" in output.read_text() or process.poll() is not None  # noqa: E731
        assert wait_until(begun, 120, every_seconds=0.1) and process.poll() is None, output.read_text()
        found = Staying(process, tmp_path, output, "", "")
        yield Staying(
            process, tmp_path, output,
            found.printed(r"(http://\S+)   the company's Stripe"), found.printed(r"(http://\S+)   what each"),
        )  # fmt: skip
    finally:
        process.kill()
        process.wait()
        manage.down(FOLDER, wipe=True)


def test_a_payment_fails_access_ends_after_the_grace_and_the_payment_brings_it_back(staying: Staying) -> None:
    customer, card = (
        staying.printed(r"millrace access (cus_\w+)"),
        staying.printed(r"payment_methods/(pm_\w+)"),
    )
    subscription, days = (
        staying.printed(r"subscriptions/(sub_\w+)"),
        int(staying.printed(r"clock advance (\d+)d")),
    )
    v1 = stripe.StripeClient("sk_test_demo", base_addresses={"api": staying.stripe}).v1
    before = staying.may(customer)
    assert before["boards"]["verdict"] != "denied"

    v1.payment_methods.update(card, {"metadata": {"lab_bank": "insufficient_funds"}})
    staying.lab("/clock/advance", by=f"{days - 2}d")
    staying.settled(customer, lambda may: "past_due" in may["boards"]["reason"])
    assert v1.subscriptions.retrieve(subscription).status == "past_due"
    assert staying.may(customer)["boards"]["limit"] == before["boards"]["limit"]

    turned = staying.lab("/clock/advance", by="2d")
    now = datetime.fromisoformat((FOLDER / "clock").read_text())
    assert now.timestamp() == turned["now"], "the services' clock has been turned with the account's"
    restricted = staying.settled(customer, lambda may: may["boards"]["verdict"] == "denied")
    assert restricted["export"]["verdict"] == "allowed"
    invoice = str(v1.subscriptions.retrieve(subscription).latest_invoice)
    assert invoice in restricted["boards"]["reason"]
    assert invoice in _typed(staying, "millrace", "access", customer)

    staying.presses(card, "The bank accepts")
    staying.presses(invoice, "Charge the card")
    assert v1.invoices.retrieve(invoice).status == "paid"
    after = staying.settled(customer, lambda may: may["boards"]["verdict"] != "denied")
    assert _judged(after) == _judged(before)
    refused = [each for each in staying.lab("/deliveries")["attempts"] if not each["accepted"]]
    assert refused == []
    _ends_on_ctrl_c(staying)


def _judged(features: dict[str, dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    return {name: (it["verdict"], it.get("limit"), it["reason"]) for name, it in features.items()}


def _ends_on_ctrl_c(staying: Staying) -> None:
    """With exit code 0, and nothing that it started runs on."""
    began = time.monotonic()
    staying.process.send_signal(signal.SIGINT)
    assert staying.process.wait(30) == 0, staying.output.read_text()
    assert time.monotonic() - began < 20
    assert [s for s in SERVICES if living(FOLDER / "processes" / f"{s}.json")] == []
    assert manage.status(FOLDER) is None
    with pytest.raises(urllib.error.URLError):
        staying.lab("/clock")
    assert "Traceback" not in staying.output.read_text()


def _typed(staying: Staying, program: str, *arguments: str) -> str:
    """What a person reads who types this where the demo was begun."""
    done = subprocess.run(
        [BIN / program, *arguments], cwd=staying.place, capture_output=True, text=True, timeout=60, check=True
    )
    return " ".join(done.stdout.split())
