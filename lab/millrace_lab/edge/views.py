"""What the page shows, as functions from the account and its mail to HTML. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import orjson

from millrace_lab.account import Account, Told
from millrace_lab.catalog.currencies import decimals
from millrace_lab.delivery.mail import Attempt, Letter, Mail
from millrace_lab.delivery.schedule import PROFILES, Schedule
from millrace_lab.edge.buttons import offered
from millrace_lab.errors import Body
from millrace_lab.markup import Html, Piece, el, joined
from millrace_lab.rendering import shown

MOST = 100  # rows of a list
TABS = {
    "/": "Overview",
    "/customers": "Customers",
    "/subscriptions": "Subscriptions",
    "/invoices": "Invoices",
    "/events": "Events",
    "/deliveries": "Deliveries",
}
STEPS = {"1h": "1 hour", "1d": "1 day", "7d": "7 days", "31d": "31 days"}
GOOD = {"active", "paid", "succeeded", "delivered", "won", "enabled", "trialing"}
BAD = {"past_due", "unpaid", "canceled", "uncollectible", "failed", "void", "lost", "incomplete_expired"}
Row = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Top:
    """What stands above every page. `seen` is the state that the page shows: the browser compares it."""

    account: Account
    running: bool
    seen: str


def page(top: Top, title: str, *content: Piece, tab: str = "", error: str = "") -> Html:
    """A whole page: the tabs and the clock above, one heading, the content."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{title} · {top.account.settings['name']}"),
        el("link", rel="stylesheet", href="/static/page.css"),
        el("script", src="/static/page.js", defer=True),
    )
    alert = el("p", error, role="alert", class_="error") if error else None
    body = el(
        "body",
        el("a", "Skip to the content", href="#content", class_="skip"),
        el("header", el("strong", "millrace-lab"), _tabs(tab), _clock(top.account, top.running)),
        el("main", el("h1", title), alert, *content, id="content", data_seen=top.seen),
    )
    return joined(Html("<!doctype html>"), el("html", head, body, lang="en"))


def _tabs(current: str) -> Html:
    links = [
        el("a", name, href=path, aria_current="page" if path == current else None)
        for path, name in TABS.items()
    ]
    return el("nav", *links, aria_label="Sections")


def _clock(account: Account, running: bool) -> Html:
    steps = [
        el("button", f"+{by}", name="by", value=by, aria_label=f"Advance {name}", title=f"Advance {name}")
        for by, name in STEPS.items()
    ]
    mode = ("hold", "Hold") if running else ("run", "Let run")
    return el(
        "form",
        el("span", when(account.now), " ", el("small", "running" if running else "held"), id="clock"),
        *steps,
        el("button", mode[1], name="mode", value=mode[0]),
        method="post",
        action="/clock",
        aria_label="Clock",
    )


# Lists.


def overview(account: Account, mail: Mail) -> Html:
    counts = [
        (el("a", name, href=path), len(account.kinds.get(path[1:-1], {})))
        for path, name in TABS.items()
        if path in ("/customers", "/subscriptions", "/invoices")
    ]
    return joined(
        table("What there is", ("Kind", "Count"), counts),
        endpoints(mail),
        schedule_form(mail.schedule),
        events(account, mail, 12),
    )


def customers(account: Account) -> Html:
    rows = [
        (
            link(each),
            each.get("name"),
            each.get("email"),
            _statuses(account, each["id"]),
            money(each, "balance"),
        )
        for each in newest(account, "customer")
    ]
    return table("Customers", ("Id", "Name", "Email", "Subscriptions", "Balance"), rows)


def _statuses(account: Account, customer: str) -> Html:
    return joined(*(badge(each["status"]) for each in account.of("subscription", customer)))


def subscriptions(account: Account, found: Iterable[Body]) -> Html:
    rows = [
        (link(each), named(account, each["customer"]), badge(each["status"]), _items(each), when(_end(each)))
        for each in found
    ]
    return table("Subscriptions", ("Id", "Customer", "Status", "Items", "Period ends"), rows)


def _items(subscription: Body) -> str:
    items = subscription["items"]["data"]
    return ", ".join(f"{each.get('quantity') or 'metered'} of {each['price']['id']}" for each in items)


def _end(subscription: Body) -> int | None:
    ends = [each["current_period_end"] for each in subscription["items"]["data"]]
    return max(ends) if ends else None


def invoices(account: Account, found: Iterable[Body]) -> Html:
    rows = [
        (
            link(each),
            named(account, each["customer"]),
            badge(each["status"]),
            money(each, "total"),
            money(each, "amount_remaining"),
            each["attempt_count"],
            when(each["next_payment_attempt"]),
        )
        for each in found
    ]
    heads = ("Id", "Customer", "Status", "Total", "Still due", "Attempts", "Next attempt")
    return table("Invoices", heads, rows)


def events(account: Account, mail: Mail, most: int = MOST) -> Html:
    awaited = mail.awaited()
    rows = [
        (
            el("a", told.type, href=f"/events/{told.id}"),
            when(told.created),
            link(told.object),
            outcome(mail, told, awaited),
        )
        for told in islice(reversed(account.events), most)
    ]
    return table("Events, newest first", ("Type", "Created", "Object", "Delivery"), rows)


def deliveries(account: Account, attempts: Iterable[Attempt], waiting: Iterable[Letter]) -> Html:
    return joined(
        table("Attempts, newest first", DELIVERED, [_delivered(account, each) for each in attempts]),
        table(
            "Still to be sent",
            ("When", "Event", "Endpoint", "Attempt"),
            [_later(account, w) for w in waiting],
        ),
    )


DELIVERED = ("When", "Event", "Endpoint", "Attempt", "Answer", "ms")


def _delivered(account: Account, attempt: Attempt) -> Row:
    letter, answer = attempt.letter, attempt.answer
    heard = str(answer.status) if answer.status else answer.error
    outcome = badge(heard, answer.accepted)
    return (
        when(letter.at),
        _event(account, letter),
        letter.endpoint,
        _way(letter),
        outcome,
        answer.milliseconds,
    )


def _later(account: Account, letter: Letter) -> Row:
    return (when(letter.at), _event(account, letter), letter.endpoint, _way(letter))


def _event(account: Account, letter: Letter) -> Html:
    told = account.told(letter.event)
    return el("a", told.type if told else letter.event, href=f"/events/{letter.event}")


def _way(letter: Letter) -> str:
    return f"{letter.attempt}" if letter.way == "automatic" else letter.way


def endpoints(mail: Mail) -> Html:
    rows = [
        (link(each), each.get("url") or each["webhook_endpoint"]["url"], _state(mail, each))
        for each in mail.endpoints()
    ]
    return table("Webhook endpoints", ("Id", "URL", "State"), rows)


def _state(mail: Mail, endpoint: Body) -> Html:
    return badge("unplugged", False) if endpoint["id"] in mail.unplugged else badge(endpoint["status"])


def schedule_form(schedule: Schedule) -> Html:
    current = next((name for name, profile in PROFILES.items() if profile == schedule.profile), "its own")
    return el(
        "form",
        el("h2", "How webhooks are delivered"),
        el("p", f"Now: {current}."),
        *(el("button", name, name="profile", value=name, disabled=name == current) for name in PROFILES),
        method="post",
        action="/schedule",
    )


# One thing.


def object_page(account: Account, mail: Mail, body: Body) -> Html:
    about = [told for told in reversed(account.events) if told.object.get("id") == body["id"]][:MOST]
    awaited = mail.awaited()
    rows = [
        (el("a", t.type, href=f"/events/{t.id}"), when(t.created), outcome(mail, t, awaited)) for t in about
    ]
    return joined(
        _buttons(body),
        _related(account, body),
        table("Its events, newest first", ("Type", "Created", "Delivery"), rows),
        el("h2", "The object"),
        json(account, body),
    )


def _buttons(body: Body) -> Html | None:
    buttons = [el("button", each.label, name="button", value=number) for number, each in offered(body)]
    return el("form", *buttons, method="post", action=f"/objects/{body['id']}") if buttons else None


def _related(account: Account, body: Body) -> Html | None:
    """What belongs to a customer."""
    if body["object"] != "customer":
        return None
    cards = [(link(each), each["type"], each["metadata"].get("lab_bank", "ok")) for each in
             account.of("payment_method", body["id"])]  # fmt: skip
    return joined(
        subscriptions(account, account.of("subscription", body["id"])),
        invoices(account, account.of("invoice", body["id"])[::-1]),
        table("Payment methods", ("Id", "Type", "The bank answers"), cards),
    )


def event_page(account: Account, mail: Mail, told: Told, event: Body) -> Html:
    rows = [_delivered(account, each) for each in mail.attempts(told.id)]
    waiting = [_later(account, each) for each in mail.waiting() if each.event == told.id]
    return joined(
        el("p", "About ", link(told.object), ", ", when(told.created), "."),
        el("form", el("button", "Send it again"), method="post", action=f"/events/{told.id}/resend"),
        table("Attempts", DELIVERED, rows),
        table("Still to be sent", ("When", "Event", "Endpoint", "Attempt"), waiting) if waiting else None,
        el("h2", "As it is sent"),
        json(account, event),
    )


def json(account: Account, body: Body) -> Html:
    """A body, with the ids of what there is as links."""
    text = orjson.dumps(shown(body), option=orjson.OPT_INDENT_2).decode()
    parts = text.split('"')
    return el("pre", el("code", *(_linked(account, part, n) for n, part in enumerate(parts))), tabindex="0")


def _linked(account: Account, part: str, number: int) -> Html:
    quote = '"' if number else ""
    known = "_" in part and part in account.objects
    return joined(quote, el("a", part, href=f"/objects/{part}") if known else part)


# Small pieces.


def table(caption: str, heads: tuple[str, ...], rows: Sequence[Row]) -> Html:
    if not rows:
        return el("section", el("h2", caption), el("p", "None yet.", class_="none"))
    head = el("thead", el("tr", *(el("th", name, scope="col") for name in heads)))
    body = el("tbody", *(el("tr", *(el("td", cell) for cell in row)) for row in rows))
    whole = el("table", el("caption", caption), head, body)
    return el(
        "div", whole, class_="wide", role="region", aria_label=caption, tabindex="0"
    )  # scrolled by keys


def newest(account: Account, kind: str) -> list[Body]:
    found = list(account.kinds.get(kind, {}))[::-1]
    return [body for id_ in found[:MOST] if not (body := account.objects[id_]).get("deleted")]


def link(body: Body) -> Html | None:
    id_ = body.get("id")
    return el("a", id_, href=f"/objects/{id_}") if id_ else None


def named(account: Account, customer: str) -> Html:
    body = account.objects.get(customer, {})
    return el("a", body.get("name") or body.get("email") or customer, href=f"/objects/{customer}")


def badge(text: str, good: bool | None = None) -> Html:
    if good is None:
        good = True if text in GOOD else False if text in BAD else None
    return el("span", text, class_={True: "badge good", False: "badge bad", None: "badge"}[good])


def outcome(mail: Mail, told: Told, awaited: set[str]) -> Html:
    """How the delivery of an event stands, all endpoints together; `awaited` are those still to be sent."""
    attempts = mail.attempts(told.id)
    if told.id not in mail.open:
        return badge("delivered") if attempts else badge("nobody asked")
    if told.id in awaited:
        return badge("to be tried again" if attempts else "on its way")
    return badge("failed")


def when(at: int | None) -> Html | None:
    if at is None:
        return None
    moment = datetime.fromtimestamp(at, UTC)
    return el("time", moment.strftime("%Y-%m-%d %H:%M:%S"), datetime=moment.isoformat())


def money(body: Body, field: str) -> str:
    """An amount with the decimals of its currency: "12.00 usd"."""
    amount, currency = body.get(field), body.get("currency")
    if amount is None or currency is None:
        return str(amount or "")
    digits = decimals(currency)
    whole, part = divmod(abs(amount), 10**digits)
    written = f"{whole}.{part:0{digits}}" if digits else str(whole)
    return f"{'-' if amount < 0 else ''}{written} {currency}"
