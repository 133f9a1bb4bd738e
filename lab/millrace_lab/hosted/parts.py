"""The parts that hosted pages are made of: a page, fields with labels, choices, buttons, amounts, dates.

They work without a script, say what they are to a screen reader, and show nothing that is secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from millrace_lab.catalog.currencies import decimals
from millrace_lab.errors import Body
from millrace_lab.markup import Html, Piece, el, joined
from millrace_lab.periods import moment

COUNTRIES = {
    "": "Choose",
    "AT": "Austria",
    "AU": "Australia",
    "CH": "Switzerland",
    "DE": "Germany",
    "ES": "Spain",
    "FR": "France",
    "GB": "United Kingdom",
    "IE": "Ireland",
    "IT": "Italy",
    "JP": "Japan",
    "NL": "Netherlands",
    "SE": "Sweden",
    "US": "United States",
}


def page(merchant: str, heading: str, *content: Piece, notice: str | None = None) -> str:
    """A whole page: one heading, and what went wrong right below it."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{heading} · {merchant}"),
        el("link", rel="stylesheet", href="/static/page.css"),
        el("link", rel="stylesheet", href="/static/hosted.css"),
    )
    banner = el("header", el("strong", merchant), el("small", "Test mode: no money moves."))
    wrong = el("p", notice, class_="error", role="alert") if notice else None
    body = el("body", banner, el("main", el("h1", heading), wrong, *content), class_="hosted")
    return "<!doctype html>" + el("html", head, body, lang="en")


def form(action: str, *content: Piece) -> Html:
    return el("form", *content, action=action, method="post")


def field(
    label: str, name: str, value: str | None = None, *, type: str = "text", required: bool = False
) -> Html:
    return el(
        "p",
        el("label", label, for_=name),
        el("input", id=name, name=name, type=type, value=value, required=required),
    )


def select(
    label: str, name: str, options: Mapping[str, str], value: str | None = None, *, id_: str | None = None
) -> Html:
    """A choice from a list. `id_` is for a page that has several of one name."""
    made = (el("option", text, value=key, selected=key == value) for key, text in options.items())
    place = id_ or name
    return el("p", el("label", label, for_=place), el("select", *made, id=place, name=name))


def radios(legend: str, name: str, options: Mapping[str, str], value: str | None = None) -> Html:
    chosen = value or next(iter(options), None)
    made = (
        el("label", el("input", type="radio", name=name, value=key, checked=key == chosen), " ", text)
        for key, text in options.items()
    )
    return el("fieldset", el("legend", legend), *made)


def button(label: str, value: str = "", *, name: str = "do", plain: bool = False) -> Html:
    """A button; `plain` is one that is not the page's main one."""
    return el("button", label, type="submit", name=name, value=value, class_="plain" if plain else "main")


def hidden(**values: str) -> Html:
    return joined(*(el("input", type="hidden", name=name, value=value) for name, value in values.items()))


def table(
    caption: str, heads: Iterable[str], rows: Iterable[Iterable[Piece]], foot: Iterable[Iterable[Piece]] = ()
) -> Html:
    """A table whose first column says what each row is about."""
    return el(
        "table",
        el("caption", caption),
        el("thead", el("tr", *(el("th", head, scope="col") for head in heads))),
        el("tbody", *(_row(row) for row in rows)),
        el("tfoot", *(_row(row) for row in foot)),
    )


def _row(cells: Iterable[Piece]) -> Html:
    first, *rest = cells
    return el("tr", el("th", first, scope="row"), *(el("td", cell) for cell in rest))


def money(amount: int, currency: str) -> str:
    """An amount in minor units as people write it: 1234 usd is 12.34 USD."""
    digits = decimals(currency)
    sign, whole = ("-" if amount < 0 else ""), f"{abs(amount):0{digits + 1}d}"
    shown = whole if digits == 0 else f"{whole[:-digits]}.{whole[-digits:]}"
    return f"{sign}{shown} {currency.upper()}"


def day(seconds: int | None) -> str:
    return "" if seconds is None else f"{moment(seconds):%-d %B %Y}"


def priced(price: Body) -> str:
    """What a price is, in words: 10.00 USD each month."""
    recurring = price["recurring"]
    if price["unit_amount"] is None:
        amount = f"{price['unit_amount_decimal'] or 'tiered'} {price['currency'].upper()}"
    else:
        amount = money(price["unit_amount"], price["currency"])
    if recurring is None:
        return amount
    count, unit = recurring["interval_count"], recurring["interval"]
    return f"{amount} every {unit}" if count == 1 else f"{amount} every {count} {unit}s"


def authentication(action: str) -> Html:
    """Where the bank's own page would be: the customer confirms, or does not."""
    return form(
        action,
        el("p", "Your bank asks you to confirm this payment."),
        button("Complete authentication", "yes", name="authenticate"),
        button("Fail authentication", "no", name="authenticate", plain=True),
    )
