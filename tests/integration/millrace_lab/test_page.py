"""The page in a real browser: what a person sees and does there, by the names that they read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.millrace_lab.terminal import Terminal
from tests.support.browser import browser

TABS = ("Overview", "Customers", "Subscriptions", "Invoices", "Events", "Deliveries")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def page(chromium: Browser, terminal: Terminal) -> Iterator[Page]:
    """A fresh page of the double; nothing that it loads may complain."""
    context = chromium.new_context(base_url=terminal.about["url"])
    context.set_default_timeout(10_000)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    yield opened
    context.close()
    assert complaints == []


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_a_payment_fails_and_is_made_good(page: Page, terminal: Terminal) -> None:
    """The story of dunning, by hand: the bank declines, a month passes, the card is charged, all is well."""
    terminal.lab("/trigger/customer.subscription.created")
    page.goto("/subscriptions")
    expect(page.get_by_role("row").nth(1)).to_contain_text("active")
    page.get_by_role("row").nth(1).get_by_role("link").nth(1).click()
    customer = page.url
    page.get_by_role("link", name=re.compile("^pm_")).first.click()
    press(page, "The bank declines")
    page.goto(customer)
    press(page, "Advance 31 days")
    press(page, "Advance 1 day")
    invoices = page.get_by_role("table", name="Invoices")
    expect(invoices.get_by_role("row").nth(1)).to_contain_text("open")
    expect(page.get_by_role("table", name="Subscriptions")).to_contain_text("past_due")
    page.get_by_role("link", name=re.compile("^pm_")).first.click()
    press(page, "The bank accepts")
    page.goto(customer)
    invoices.get_by_role("row").nth(1).get_by_role("link").first.click()
    press(page, "Charge the card")
    page.goto(customer)
    expect(invoices.get_by_role("row").nth(1)).to_contain_text("paid")
    expect(page.get_by_role("table", name="Subscriptions")).to_contain_text("active")


def test_what_is_refused_is_said_on_the_page(page: Page, terminal: Terminal) -> None:
    terminal.lab("/trigger/invoice.payment_failed")
    page.goto("/invoices")
    page.get_by_role("row").nth(1).get_by_role("link").first.click()
    press(page, "Charge the card")
    expect(page.get_by_role("alert")).to_contain_text("declined")


def test_a_delivery_is_seen_and_made_again(page: Page, terminal: Terminal) -> None:
    terminal.post(
        "/v1/webhook_endpoints", url="http://127.0.0.1:9/hook", **{"enabled_events[]": "product.created"}
    )
    terminal.lab("/trigger/product.created")
    page.goto("/events")
    row = page.get_by_role("row").nth(1)
    expect(row).to_contain_text("product.created")
    expect(row).to_contain_text("to be tried again")
    row.get_by_role("link").first.click()
    press(page, "Send it again")
    attempts = page.get_by_role("table", name="Attempts")
    expect(attempts.get_by_role("row")).to_have_count(3)
    expect(attempts.get_by_role("row").nth(2)).to_contain_text("resend")
    expect(attempts.get_by_role("row").nth(2)).to_contain_text("connection refused")


def test_the_page_follows_what_happens_without_being_touched(page: Page, terminal: Terminal) -> None:
    page.goto("/events")
    expect(page.get_by_role("row").nth(1)).not_to_contain_text("coupon.created")
    terminal.lab("/trigger/coupon.created")
    expect(page.get_by_role("row").nth(1)).to_contain_text("coupon.created")


def test_how_webhooks_are_delivered_is_chosen(page: Page) -> None:
    page.goto("/")
    press(page, "hostile")
    expect(page.get_by_text("Now: hostile.")).to_be_visible()
    press(page, "kind")


def test_what_customers_call_themselves_is_text_and_nothing_else(page: Page, terminal: Terminal) -> None:
    name = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;"
    terminal.post("/v1/customers", name=name)
    page.goto("/customers")
    expect(page.get_by_role("cell", name=name, exact=True)).to_be_visible()
    page.get_by_role("row").nth(1).get_by_role("link").first.click()
    expect(page.locator("pre")).to_contain_text("<script>alert(1)</script>")
    assert page.locator("main script, main img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_and_used_by_anyone(scheme: str, page: Page, terminal: Terminal) -> None:
    """One heading, everything named, contrast of at least 4.5 to 1, and the content one key away."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    terminal.lab("/trigger/invoice.paid")
    for tab in TABS:
        page.goto("/")
        page.get_by_role("navigation").get_by_role("link", name=tab).click()
        assert page.get_by_role("heading", level=1).all_inner_texts() == [tab]
        assert page.locator("a[aria-current=page]").inner_text() == tab
        assert page.evaluate(UNNAMED) == []
        assert page.evaluate(TOO_FAINT) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()


UNNAMED = """[...document.querySelectorAll("button, a, table, form[action='/clock']")]
  .filter(e => !(e.getAttribute("aria-label") || (e.caption || e).textContent.trim())).map(e => e.outerHTML)"""
TOO_FAINT = """(() => {
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const colour = parts(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
  };
  const says = e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  return [...document.querySelectorAll("body *")].filter(e => says(e) && !e.disabled).filter(e => {
      const [a, b] = [light(parts(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
      return (a + .05) / (b + .05) < 4.5;
  }).map(e => e.outerHTML.slice(0, 80));
})()"""


def test_a_customer_buys_at_checkout_and_pays_an_invoice_on_its_page(page: Page, terminal: Terminal) -> None:
    """The bank asks who they are; afterwards the shop has them back, and their subscription."""
    terminal.lab("/trigger/price.created")
    price = terminal.get("/v1/prices?limit=1")["data"][0]["id"]
    back = terminal.about["url"] + "/subscriptions"
    session = terminal.post(
        "/v1/checkout/sessions",
        **{
            "mode": "subscription",
            "line_items[0][price]": price,
            "line_items[0][quantity]": "1",
            "success_url": back,
        },
    )
    page.goto(session["url"])
    page.get_by_label("Email").fill("ada@example.com")
    page.get_by_role("radio", name=re.compile("authenticat", re.I)).first.check()
    page.get_by_role("button", name=re.compile("^Subscribe and pay")).click()
    page.get_by_role("button", name=re.compile("confirm|complete|authenticate", re.I)).first.click()
    page.wait_for_url(back)
    expect(page.get_by_role("row").nth(1)).to_contain_text("active")
    invoice = terminal.lab("/trigger/invoice.finalized") and terminal.get("/v1/invoices?limit=1")["data"][0]
    page.goto(f"/invoice/{invoice['id']}")
    page.get_by_role("button", name=re.compile("^Pay")).click()
    expect(page.get_by_role("main")).to_contain_text(re.compile("paid", re.I))
