"""From draft to paid: when an invoice is finalized, tried, tried again and given up."""

from __future__ import annotations

import pytest

from millrace_lab import clockwork
from millrace_lab.payments import charging
from tests.support.double import Double
from tests.unit.millrace_lab.invoices import shop

FINALIZED = ["payment_intent.created", "invoice.finalized", "invoice.updated"]
RECEIVED = ["payment_intent.succeeded", "charge.succeeded", "invoice_payment.paid"]
PAID = ["invoice.updated", "invoice.paid", "invoice.payment_succeeded"]
DECLINED = ["charge.failed", "payment_intent.payment_failed", "invoice.updated", "invoice.payment_failed"]


def test_a_draft_is_finalized_and_charged_an_hour_after_it_was_made() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    id_ = shop.draft(stripe, buyer, 1000, auto_advance=True)
    draft = shop.invoice(stripe, id_)
    assert shop.parts(draft, "status", "number", "automatically_finalizes_at") == (
        "draft",
        None,
        stripe.now + 3600,
    )
    began = stripe.mark()
    stripe.wait("59m 59s")
    assert stripe.types(began) == []
    stripe.wait("1s")
    assert stripe.types(began) == [*FINALIZED, *RECEIVED, *PAID]
    paid = shop.invoice(stripe, id_)
    assert shop.parts(paid, "status", "amount_paid", "amount_remaining") == ("paid", 1000, 0)
    assert shop.parts(paid, "attempted", "attempt_count", "auto_advance") == (True, 1, False)


def test_the_update_at_finalisation_tells_what_changed_and_nothing_else() -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe, bank=None), 1000)
    stripe.wait("1d")
    stripe.post(f"/v1/invoices/{id_}/finalize")
    assert stripe.told("invoice.updated")[-1].previous == {
        "effective_at": None,
        "ending_balance": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "number": None,
        "status": "draft",
        "status_transitions": {"finalized_at": None},
    }


def test_numbers_follow_each_other_per_customer() -> None:
    stripe = Double()
    ada, bob = shop.customer(stripe), shop.customer(stripe)
    numbers = [shop.paid(stripe, buyer, 500)["number"] for buyer in (ada, bob, ada)]
    assert [number[-4:] for number in numbers] == ["0001", "0001", "0002"]
    assert numbers[0][:-4] == numbers[2][:-4] != numbers[1][:-4]


def test_the_page_for_the_customer_is_the_doubles_own_where_it_is_served() -> None:
    for site, begins in (
        (None, "https://invoice.stripe.com/i/acct_"),
        ("http://lab", "http://lab/invoice/in_"),
    ):
        stripe = Double(site=site)
        invoice = shop.opened(stripe, shop.customer(stripe), 1000)
        assert invoice["hosted_invoice_url"].startswith(begins)
        assert invoice["invoice_pdf"].startswith(begins)


def test_an_invoice_over_nothing_is_paid_at_once_attempted_and_without_attempts() -> None:
    stripe = Double()
    buyer = shop.customer(stripe, bank=None)
    id_ = shop.draft(stripe, buyer, auto_advance=True)
    began = stripe.mark()
    free = stripe.post(f"/v1/invoices/{id_}/finalize")
    assert shop.parts(free, "status", "attempted", "attempt_count", "total") == ("paid", True, 0, 0)
    assert shop.parts(free, "auto_advance", "next_payment_attempt") == (False, None)
    assert stripe.types(began) == ["invoice.finalized", *PAID]
    assert stripe.get("/v1/invoice_payments", invoice=id_)["data"] == []


def test_a_declined_card_is_tried_again_on_the_schedule_until_it_pays() -> None:
    stripe = Double()
    buyer = shop.customer(stripe, bank="insufficient_funds,insufficient_funds,ok")
    id_ = shop.draft(stripe, buyer, 1000, auto_advance=True)
    stripe.wait("1h")
    failed = shop.invoice(stripe, id_)
    assert shop.parts(failed, "status", "attempt_count") == ("open", 1)
    assert failed["next_payment_attempt"] == stripe.now + 3 * 86400
    assert stripe.types()[-5:] == [*DECLINED, "customer.updated"]
    assert stripe.get(f"/v1/customers/{buyer}")["delinquent"]
    stripe.wait("3d")
    assert shop.invoice(stripe, id_)["next_payment_attempt"] == stripe.now + 5 * 86400
    began = stripe.mark()
    stripe.wait("5d")
    assert stripe.types(began) == [*RECEIVED, *PAID, "customer.updated"]
    paid = shop.invoice(stripe, id_)
    assert shop.parts(paid, "status", "attempt_count", "next_payment_attempt") == ("paid", 3, None)
    assert not stripe.get(f"/v1/customers/{buyer}")["delinquent"]


@pytest.mark.parametrize(
    ("left", "status", "why"),
    [("open", "open", None), ("uncollectible", "uncollectible", "max_payment_attempts")],
)
def test_when_every_try_is_spent_the_invoice_stays_open_or_is_written_off(
    left: str, status: str, why: str | None
) -> None:
    stripe = Double(dunning={"retry_after": [86400], "subscription": "past_due", "invoice": left})
    id_ = shop.draft(stripe, shop.customer(stripe, bank="insufficient_funds"), 1000, auto_advance=True)
    stripe.wait("1h 1d")
    ended = shop.invoice(stripe, id_)
    assert shop.parts(ended, "status", "attempt_count", "next_payment_attempt", "auto_advance") == (
        status,
        2,
        None,
        False,
    )
    assert ended["status_details"] == (why and {"uncollectible": {"reason": why}})
    assert clockwork.next_due(stripe.account) is None


def test_money_that_comes_after_the_last_try_still_pays() -> None:
    stripe = Double(dunning={"retry_after": [], "subscription": "past_due", "invoice": "uncollectible"})
    buyer = shop.customer(stripe, bank="insufficient_funds")
    id_ = shop.draft(stripe, buyer, 1000, auto_advance=True)
    stripe.wait("1h")
    assert shop.invoice(stripe, id_)["status"] == "uncollectible"
    late = stripe.post(f"/v1/invoices/{id_}/pay", payment_method=shop.new_card(stripe, buyer))
    assert shop.parts(late, "status", "status_details", "attempt_count") == ("paid", None, 1)
    assert late["status_transitions"]["marked_uncollectible_at"] is not None


def test_after_a_hard_decline_tries_are_counted_but_made_only_with_another_card() -> None:
    stripe = Double()
    buyer = shop.customer(stripe, bank="lost_card")
    id_ = shop.draft(stripe, buyer, 1000, auto_advance=True)
    stripe.wait("1h")
    began = stripe.mark()
    stripe.wait("3d")
    assert stripe.types(began) == ["invoice.updated"]
    assert shop.parts(shop.invoice(stripe, id_), "status", "attempt_count") == ("open", 2)
    card = shop.new_card(stripe, buyer)
    stripe.post(f"/v1/customers/{buyer}", invoice_settings={"default_payment_method": card})
    stripe.wait("5d")
    assert shop.parts(shop.invoice(stripe, id_), "status", "attempt_count") == ("paid", 3)


def test_attempts_by_hand_do_not_move_the_schedule_after_the_first() -> None:
    stripe = Double()
    buyer = shop.customer(stripe, bank="insufficient_funds")
    first = shop.draft(stripe, buyer, 1000)
    assert stripe.refusal("POST", f"/v1/invoices/{first}/pay")["decline_code"] == "insufficient_funds"
    assert shop.parts(shop.invoice(stripe, first), "attempt_count", "next_payment_attempt") == (1, None)
    second = shop.draft(stripe, buyer, 1000, auto_advance=True)
    stripe.wait("1h")
    planned = shop.invoice(stripe, second)["next_payment_attempt"]
    assert stripe.refusal("POST", f"/v1/invoices/{second}/pay")["status"] == 402
    assert shop.parts(shop.invoice(stripe, second), "attempt_count", "next_payment_attempt") == (1, planned)


def test_a_declined_payment_by_hand_answers_402_and_what_happened_stays() -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe, bank="insufficient_funds"), 1000)
    began = stripe.mark()
    refused = stripe.refusal("POST", f"/v1/invoices/{id_}/pay")
    assert shop.parts(refused, "status", "type", "code") == (402, "card_error", "card_declined")
    assert stripe.types(began) == [*FINALIZED, *DECLINED, "customer.updated"]
    assert shop.invoice(stripe, id_)["attempted"]


def test_a_card_that_needs_its_owner_asks_for_action() -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe, bank="authentication_required"), 1000, auto_advance=True)
    stripe.wait("1h")
    assert stripe.types()[-3:] == [
        "invoice.payment_action_required",
        "invoice.payment_failed",
        "customer.updated",
    ]
    refused = stripe.refusal("POST", f"/v1/invoices/{id_}/pay", off_session=False)
    assert shop.parts(refused, "status", "code") == (402, "invoice_payment_intent_requires_action")


def test_what_the_customer_authenticates_later_pays_the_invoice() -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe, bank="authentication_required"), 1000)
    assert stripe.refusal("POST", f"/v1/invoices/{id_}/pay", off_session=False)["status"] == 402
    payment = stripe.get("/v1/invoice_payments", invoice=id_)["data"][0]
    step = stripe.account.step()
    charging.authenticate(step, payment["payment"]["payment_intent"], succeeds=True)
    step.commit()
    assert shop.parts(shop.invoice(stripe, id_), "status", "attempt_count") == ("paid", 1)


def test_while_a_bank_debit_is_on_its_way_the_schedule_waits() -> None:
    stripe = Double()
    buyer = shop.customer(stripe, bank="insufficient_funds")
    id_ = shop.draft(stripe, buyer, 1000, auto_advance=True)
    stripe.wait("1h 2d 23h")
    debit = stripe.post("/v1/payment_methods/pm_usBankAccount_success/attach", customer=buyer)["id"]
    assert stripe.post(f"/v1/invoices/{id_}/pay", payment_method=debit)["status"] == "open"
    began = stripe.mark()
    stripe.wait("1h")
    assert stripe.types(began) == ["invoice.updated"]
    assert shop.invoice(stripe, id_)["next_payment_attempt"] == stripe.now + 86400
    stripe.wait("10d")
    assert shop.parts(shop.invoice(stripe, id_), "status", "attempt_count") == ("paid", 1)
    assert len(stripe.told("charge.failed", since=began)) == 0


def test_without_anything_to_pay_with_the_attempt_fails() -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe, bank=None), 1000, auto_advance=True)
    stripe.wait("1h")
    assert stripe.types()[-3:] == ["invoice.updated", "invoice.payment_failed", "customer.updated"]
    assert shop.parts(shop.invoice(stripe, id_), "attempted", "attempt_count") == (True, 1)
    assert "payment method" in stripe.refusal("POST", f"/v1/invoices/{id_}/pay")["message"]


def test_the_invoices_own_card_comes_before_the_customers() -> None:
    stripe = Double()
    buyer = shop.customer(stripe, bank="insufficient_funds")
    own = shop.new_card(stripe, buyer)
    assert shop.paid(stripe, buyer, 700, default_payment_method=own)["status"] == "paid"


def test_a_sent_invoice_waits_for_its_customer_and_is_overdue() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    id_ = shop.draft(
        stripe, buyer, 1000, collection_method="send_invoice", days_until_due=14, auto_advance=True
    )
    stripe.wait("1h")
    sent = shop.invoice(stripe, id_)
    assert shop.parts(sent, "status", "attempted", "next_payment_attempt") == ("open", False, None)
    assert sent["due_date"] == stripe.now + 14 * 86400
    assert stripe.types()[-1] == "invoice.sent"
    stripe.wait("11d")
    assert stripe.types()[-1] == "invoice.will_be_due"
    stripe.wait("3d")
    assert stripe.types()[-1] == "invoice.overdue"
    assert stripe.post(f"/v1/invoices/{id_}/pay")["status"] == "paid"


def test_sending_finalizes_a_draft_and_can_be_done_again() -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe), 1000, collection_method="send_invoice", days_until_due=3)
    began = stripe.mark()
    assert stripe.post(f"/v1/invoices/{id_}/send")["status"] == "open"
    stripe.post(f"/v1/invoices/{id_}/send")
    assert stripe.types(began) == [*FINALIZED, "invoice.sent", "invoice.sent"]


def test_no_overdue_notice_for_what_is_paid() -> None:
    stripe = Double()
    sent = shop.opened(
        stripe, shop.customer(stripe), 1000, collection_method="send_invoice", days_until_due=5
    )
    stripe.post(f"/v1/invoices/{sent['id']}/pay")
    stripe.wait("6d")
    assert not stripe.told("invoice.overdue", "invoice.will_be_due")


def test_finalized_by_hand_an_advancing_invoice_is_tried_within_the_hour() -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe), 1000)
    opened = stripe.post(f"/v1/invoices/{id_}/finalize", auto_advance=True)
    assert opened["next_payment_attempt"] == stripe.now + 3600
    stripe.wait("1h")
    assert shop.parts(shop.invoice(stripe, id_), "status", "attempt_count") == ("paid", 1)


def test_switching_advancement_off_ends_the_tries_and_on_resumes_them() -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe, bank="insufficient_funds,ok"), 1000, auto_advance=True)
    stripe.wait("1h")
    stripe.post(f"/v1/invoices/{id_}", auto_advance=False)
    stripe.wait("4d")
    assert shop.invoice(stripe, id_)["attempt_count"] == 1
    stripe.post(f"/v1/invoices/{id_}", auto_advance=True)
    stripe.wait("1h")
    assert shop.invoice(stripe, id_)["status"] == "paid"


def test_an_invoice_lives_on_its_customers_clock() -> None:
    stripe = Double()
    clock = stripe.post("/v1/test_helpers/test_clocks", frozen_time=stripe.now)["id"]
    buyer = shop.customer(stripe, test_clock=clock)
    id_ = shop.draft(stripe, buyer, 1000, auto_advance=True)
    stripe.wait("2h")
    assert shop.parts(shop.invoice(stripe, id_), "status", "test_clock") == ("draft", clock)
    stripe.post(f"/v1/test_helpers/test_clocks/{clock}/advance", frozen_time=stripe.now + 3600)
    paid = shop.invoice(stripe, id_)
    assert (paid["status"], paid["status_transitions"]["paid_at"] - paid["created"]) == ("paid", 3600)


def test_nothing_is_collected_from_a_deleted_customer() -> None:
    stripe = Double()
    buyer = shop.customer(stripe, bank="insufficient_funds")
    tried = shop.draft(stripe, buyer, 1000, auto_advance=True)
    stripe.wait("1h")
    draft = shop.draft(stripe, buyer, 2000, auto_advance=True)
    stripe.delete(f"/v1/customers/{buyer}")
    began = stripe.mark()
    stripe.wait("30d")
    assert stripe.types(began) == []
    assert [shop.invoice(stripe, id_)["status"] for id_ in (tried, draft)] == ["open", "draft"]
    assert not shop.invoice(stripe, draft)["auto_advance"]
