"""What to try by hand while the demo stays, in order, with the ids of a customer for whom it works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from lab.northwind.plans import product_id
from lab.northwind.quarter import Quarter
from millrace_lab.account import DAY, HOUR, Account
from millrace_lab.errors import Body

KEY = "sk_test_demo"  # any that begins like this will do
GRACE_DAYS = 7  # of lab/company/dunning.yaml, for a declined card on these plans:
PLANS = {product_id("starter"), product_id("team")}


@dataclass(frozen=True, slots=True)
class Example:
    """A customer who has always paid. `days` until a renewal that fails has used up its grace."""

    customer: str
    name: str
    subscription: str
    card: str
    renews: datetime
    days: int


def example(company: Quarter) -> Example | None:
    """The customer of the next renewal, among those whose story is plain."""
    account, failed = company.account, {told.customer for told in company.truth.dunning.values()}
    plain = [
        sub
        for sub in account.all("subscription")
        if sub["customer"] not in failed and _is_plain(sub) and _card(account, sub)
    ]
    if not plain:
        return None
    sub = min(plain, key=_renewal)
    wait = _renewal(sub) + HOUR + GRACE_DAYS * DAY - account.now  # an hour as a draft, then the first try
    return Example(
        customer=sub["customer"],
        name=account.objects[sub["customer"]]["name"],
        subscription=sub["id"],
        card=_card(account, sub),
        renews=datetime.fromtimestamp(_renewal(sub), UTC),
        days=wait // DAY + 1,
    )


def _is_plain(sub: Body) -> bool:
    """Renews by itself, at a price whose policy is the usual one."""
    (item,) = sub["items"]["data"]
    return (
        sub["status"] == "active"
        and sub["cancel_at"] is None
        and sub["pause_collection"] is None
        and "lab_dunning" not in sub["metadata"]
        and item["price"]["product"] in PLANS
    )


def _renewal(sub: Body) -> int:
    return int(sub["items"]["data"][0]["current_period_end"])


def _card(account: Account, sub: Body) -> str:
    settings = account.objects[sub["customer"]]["invoice_settings"]
    return str(sub["default_payment_method"] or settings["default_payment_method"] or "")


def guide(site: str, access: str, company: Quarter) -> str:
    """What is where, and the story of a payment that fails, to be typed line by line."""
    now = _when(datetime.fromtimestamp(company.account.now, UTC))
    places = [
        "",
        "Everything stays, until Ctrl-C ends it.",
        "",
        f"  {site}   the company's Stripe: a page for you, the API for programs (key {KEY})",
        f"  {access}   what each customer may do",
        "",
        f"Its clock stands at {now} until you turn it; the services' clock turns with it.",
    ]
    return "\n".join([*places, *_story(site, example(company))])


def _story(site: str, who: Example | None) -> list[str]:
    if who is None:
        return []
    api, command = f"curl -su {KEY}: {site}/v1", f".venv/bin/millrace access {who.customer}"
    bank = f"{api}/payment_methods/{who.card} -d 'metadata[lab_bank]={{}}' | grep lab_bank"
    steps = [
        ("What they may do", command),
        ("From now on the bank declines", bank.format("insufficient_funds")),
        (
            f"Their renewal fails, and {GRACE_DAYS} days of grace go by",
            f".venv/bin/millrace-lab clock advance {who.days}d --server {site}",
        ),
        ("Now they may do less, and why", command),
        ("The bank pays again", bank.format("ok")),
        ("Which invoice is open", f"{api}/subscriptions/{who.subscription} | grep latest_invoice"),
        ("Pay it", f"{api}/invoices/in_…/pay -X POST | grep 'amount_'"),
        ("All as before", command),
    ]
    return [
        f"{who.name} has always paid, next on {_when(who.renews)}. Try this, in order:",
        "",
        *(f"  {number}  {what}\n     {typed}" for number, (what, typed) in enumerate(steps, 1)),
        "",
        f"The page has a button for each: {site}/objects/{who.customer}",
    ]


def _when(at: datetime) -> str:
    return f"{at.day} {at:%B %Y, %H:%M} UTC"
