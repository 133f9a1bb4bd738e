"""The language of the stories: a table of what happens and of everything that is then different.

    day    | what happens             | invoice | lines          | total | paid  | told
    0      | ada subscribes to 5 Team | 1 paid  | 5 x Team 55.00 | 55.00 | 55.00 | subscription.created
           |                          |         |                |       |       | invoice.paid
    31 +1h |                          | 2 paid  | 5 x Team 55.00 | 55.00 | 55.00 | …

A row without a day goes on with the row above it. `day` counts from the opening, 1 July 2026: first the time
passes, then the sentence is done (see `stage.Stage`), then each column is read. A column shows only what is
different since the row before: an empty cell says that nothing is, so a table is complete in its columns.
`refused` shows the status of a refusal. What is told is complete for the types that the story hears;
`subscription.…` is `customer.subscription.…`.

Money is in major units of its currency. Lines that prorate begin with `unused` or `rest`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from millrace_lab.catalog.currencies import decimals
from tests.support.double import OPENS, Body, Double, Refused

DAY, HOUR, MINUTE = 86400, 3600, 60
Sentence = Callable[..., None]
SENTENCES: list[tuple[re.Pattern[str], Sentence]] = []


def says(pattern: str) -> Callable[[Sentence], Sentence]:
    """Marks a method of the stage as the meaning of a sentence; the groups are its arguments."""

    def mark(sentence: Sentence) -> Sentence:
        SENTENCES.append((re.compile(pattern), sentence))
        return sentence

    return mark


@dataclass
class Row:
    day: str
    what: str
    cells: dict[str, list[str]] = field(default_factory=dict)


def rows(table: str) -> Iterator[Row]:
    """The rows of a table, each with those that belong to it: per column the cells that are not empty."""
    head, *lines = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    row = Row("", "")
    for day, what, *cells in lines:
        if day and row.day:
            yield row
        if day:
            row = Row(day, "", {name: [] for name in head[2:]})
        row.what = f"{row.what} {what}".strip()
        for name, cell in zip(head[2:], cells, strict=True):
            row.cells[name] += [cell] if cell else []
    yield row


class Teller(Double):
    """A double that plays tables. It remembers what each column showed last."""

    def __init__(self, currency: str = "usd", hears: str = "", **settings: Any) -> None:
        super().__init__(**settings)
        self.currency, self.hears = currency, hears.split()
        self.people: dict[str, str] = {}
        self.invoices: list[str] = []  # in the order in which they appeared
        self.refused: list[str] = []
        self._last: dict[str, dict[str, str]] = {}
        self._heard_until = 0
        self._shown: list[tuple[str, bool]] = []

    def plays(self, table: str) -> None:
        for row in rows(table):
            self._pass(row.day)
            self._do(row)
            found = {name: self._view(name) for name in row.cells}
            wrong = [
                f"{name} shows {found[name]} and not {wanted}"
                for name, wanted in row.cells.items()
                if found[name] != _as_shown(name, wanted)
            ]
            assert not wrong, f"day {row.day}, {row.what or 'time passes'}: " + "; ".join(wrong)

    def _pass(self, day: str) -> None:
        number, _, more = day.partition("+")
        seconds = int(number) * DAY + sum(int(part[:-1]) * UNITS[part[-1]] for part in more.split())
        assert OPENS + seconds >= self.now, f"day {day} is over"
        self.wait(f"{OPENS + seconds - self.now}s")

    def _do(self, row: Row) -> None:
        if not row.what:
            return
        for pattern, sentence in SENTENCES:
            if said := pattern.fullmatch(row.what):
                self._done(sentence, said, "refused" in row.cells)
                return
        raise AssertionError(f"nobody understands {row.what!r}")

    def _done(self, sentence: Sentence, said: re.Match[str], may_refuse: bool) -> None:
        """A refusal is something that a table can show; where it has no column for it, it is a failure."""
        try:
            sentence(self, *said.groups())
        except Refused as refusal:
            if not may_refuse:
                raise
            self.refused.append(str(refusal))

    # The columns.

    def _view(self, name: str) -> list[str]:
        if name == "told":
            return self._told()
        if name == "refused":
            said, self.refused = self.refused, []
            return [each.split(": ")[1][:3] for each in said]
        if name in INVOICE:
            return self._of_invoices(name)
        now = VIEWS[name](self)
        before = self._last.get(name, {})
        self._last[name] = now
        return [text for key, text in now.items() if before.get(key) != text]

    def _told(self) -> list[str]:
        new = [type_.replace("customer.subs", "subs") for type_ in self.types(self._heard_until)]
        self._heard_until = self.mark()
        return [type_ for type_ in new if any(fnmatchcase(type_, each) for each in self.hears)]

    def _of_invoices(self, name: str) -> list[str]:
        """A column about invoices; the first of a row finds out which of them are different now."""
        if name == "invoice":
            self._look_at_invoices()
        if name == "lines":
            return [line for id_, fresh in self._shown if fresh for line in self.lines(self.invoice(id_))]
        return [INVOICE[name](self, self.invoice(id_)) for id_, _ in self._shown]

    def _look_at_invoices(self) -> None:
        before, now = self._last.get("invoice", {}), {}
        lines_before, lines_now = self._last.get("lines", {}), {}
        for body in self.account.all("invoice"):
            if body["id"] not in self.invoices:
                self.invoices.append(body["id"])
            now[body["id"]] = "|".join(INVOICE[name](self, body) for name in INVOICE if name != "lines")
            lines_now[body["id"]] = "|".join(self.lines(body))
        self._last |= {"invoice": now, "lines": lines_now}
        self._shown = [
            (id_, lines_before.get(id_) != lines_now[id_])
            for id_ in now
            if (before.get(id_), lines_before.get(id_)) != (now[id_], lines_now[id_])
        ]

    def invoice(self, id_or_number: str) -> Body:
        id_ = self.invoices[int(id_or_number) - 1] if id_or_number.isdigit() else id_or_number
        return self.get(f"/v1/invoices/{id_}")

    def lines(self, invoice: Body) -> list[str]:
        found = self.get(f"/v1/invoices/{invoice['id']}/lines", limit=100)["data"]
        return [self._line(line) for line in found]

    def _line(self, line: Body) -> str:
        price = line["pricing"] and self.get(f"/v1/prices/{line['pricing']['price_details']['price']}")
        name = self.get(f"/v1/products/{price['product']}")["name"] if price else line["description"]
        counted = f"{line['quantity']} x {name}" if price else name
        parent = line["parent"]["subscription_item_details"] or line["parent"]["invoice_item_details"]
        word = ("unused " if line["amount"] < 0 else "rest ") if parent["proration"] else ""
        return f"{word}{counted} {money(line['amount'], line['currency'])}"

    # Money.

    def minor(self, text: str, currency: str | None = None) -> int:
        """An amount such as "12.50" in minor units."""
        places = decimals(currency or self.currency)
        whole, _, part = text.partition(".")
        assert len(part) == (places if part else 0), f"{text} is not an amount of {currency or self.currency}"
        return int(whole + part.ljust(places, "0"))


UNITS = {"h": HOUR, "m": MINUTE}


def money(amount: int, currency: str) -> str:
    places = decimals(currency)
    if places == 0:
        return str(amount)
    whole, part = divmod(abs(amount), 10**places)
    return f"{'-' if amount < 0 else ''}{whole}.{part:0{places}d}"


def _as_shown(name: str, wanted: list[str]) -> list[str]:
    return " ".join(wanted).split() if name == "told" else wanted


def _tax(_: Teller, invoice: Body) -> str:
    return money(sum(tax["amount"] for tax in invoice["total_taxes"] or []), invoice["currency"])


def _amount(field_: str) -> Callable[[Teller, Body], str]:
    return lambda _, invoice: money(invoice[field_], invoice["currency"])


INVOICE: dict[str, Callable[[Teller, Body], str]] = {
    "invoice": lambda teller, invoice: f"{teller.invoices.index(invoice['id']) + 1} {invoice['status']}",
    "lines": lambda teller, invoice: "; ".join(teller.lines(invoice)),
    "tax": _tax,
    "total": _amount("total"),
    "due": _amount("amount_due"),
    "paid": _amount("amount_paid"),
    "credited": lambda _, invoice: money(
        invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"],
        invoice["currency"],
    ),
}


def _subscriptions(teller: Teller) -> dict[str, str]:
    """Each one's status; what it sells stands before it where the account has several."""
    found = list(teller.account.all("subscription"))
    return {sub["id"]: (f"{_sold(teller, sub)} " if len(found) > 1 else "") + _status(sub) for sub in found}


def _status(sub: Body) -> str:
    paused = sub["pause_collection"]
    ending = sub["cancel_at"] and sub["status"] != "canceled"
    return str(sub["status"]) + (f", {paused['behavior']}" if paused else "") + (", ending" if ending else "")


def _sold(teller: Teller, sub: Body) -> str:
    return str(teller.account.objects[sub["items"]["data"][0]["price"]["product"]]["name"])


def _balances(teller: Teller) -> dict[str, str]:
    """Customers' balances as Stripe signs them: a credit is negative."""
    found = {who: teller.get(f"/v1/customers/{id_}") for who, id_ in teller.people.items()}
    return {who: money(each["balance"], each["currency"] or teller.currency) for who, each in found.items()}


def _stripe(teller: Teller) -> dict[str, str]:
    """What Stripe owes us, available or pending."""
    shown = teller.get("/v1/balance")
    total = sum(e["amount"] for w in ("available", "pending") for e in shown[w] if e["currency"] == "usd")
    return {"usd": money(total, "usd")}


def _credits(teller: Teller) -> dict[str, str]:
    found = {}
    for who, id_ in teller.people.items():
        summary = teller.get(
            "/v1/billing/credit_balance_summary",
            customer=id_,
            filter={"type": "applicability_scope", "applicability_scope": {"price_type": "metered"}},
        )
        for each in summary["balances"]:
            if shown := each["available_balance"]["monetary"]:
                found[who] = money(shown["value"], shown["currency"])
    return found


def _moved(teller: Teller) -> dict[str, str]:
    """What happened to prepaid credits."""
    moves = list(teller.account.all("billing.credit_balance_transaction"))
    return {move["id"]: _move(move) for move in moves}


def _move(move: Body) -> str:
    what = move["credit"] or move["debit"]
    value = what["amount"]["monetary"]["value"]
    return f"{what['type'].removeprefix('credits_')} {money(value, what['amount']['monetary']['currency'])}"


def _notes(teller: Teller) -> dict[str, str]:
    return {note["id"]: money(note["total"], note["currency"]) for note in teller.account.all("credit_note")}


VIEWS: dict[str, Callable[[Any], dict[str, str]]] = {
    "subscription": _subscriptions,
    "balance": _balances,
    "stripe": _stripe,
    "credits": _credits,
    "moved": _moved,
    "note": _notes,
}
