"""One golden journal entry for each row of the posting table: what the last event of a story posts.

A story is the events that lead there. The entries are meant to be read by an accountant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import ledger_bodies as stripe
from tests.support.folds import entry, keep, rows
from tests.support.ledger_bodies import BEFORE_BASIL, DAY, T0, event

PLAN = stripe.invoice(stripe.line(1000, tax=190))
FINALIZED = event("invoice.finalized", PLAN)
PAID = event("invoice_payment.paid", stripe.invoice_payment(1190))
BALANCE = stripe.transaction(1190, 65)
GIVEN_BACK = stripe.transaction(-500, id="txn_2", at=T0 + 5 * DAY)
RETURNED = stripe.transaction(500, id="txn_3", at=T0 + 7 * DAY)
WRITTEN_OFF = stripe.moved(PLAN, "marked_uncollectible_at", T0 + 30 * DAY, status="uncollectible")
LOWERED = stripe.credit_note(stripe.note_line(200, tax=38), before=238)
VOID = stripe.moved(PLAN, "voided_at", T0 + 3 * DAY, status="void")
OLD = {
    **{name: value for name, value in PLAN.items() if name != "amount_paid_off_stripe"},
    "charge": "ch_1",
    "payment_intent": "pi_1",
    "amount_paid": 1190,
    "paid_out_of_band": False,
    "lines": {
        "data": [
            {
                "id": "il_1",
                "amount": 1000,
                "period": {"start": T0, "end": T0 + 30 * DAY},
                "subscription_item": "si_1",
                "discount_amounts": [],
                "tax_amounts": [{"amount": 190, "inclusive": False}],
            }
        ]
    },
    "total_tax_amounts": [{"amount": 190, "inclusive": False}],
}
del OLD["total_taxes"]
EUR_CHARGE = stripe.charge(10000, stripe.transaction(10842, 344), currency="eur")


@dataclass(frozen=True)
class Story:
    says: str
    events: list[dict[str, Any]]
    posts: str

    def __str__(self) -> str:
        return self.says


STORIES = [
    Story(
        "a plan for a month, taxed",
        [FINALIZED],
        """
        debit                | credit               | amount | currency
        invoice:in_1:finalized
        Accounts receivable  |                      | 1190   | usd
                             | Deferred revenue     | 1000   | usd
                             | Tax payable          | 190    | usd
        """,
    ),
    Story(
        "the same plan, as it was rendered before basil",
        [event("invoice.finalized", OLD, version=BEFORE_BASIL)],
        """
        debit                | credit               | amount | currency
        invoice:in_1:finalized
        Accounts receivable  |                      | 1190   | usd
                             | Deferred revenue     | 1000   | usd
                             | Tax payable          | 190    | usd
        """,
    ),
    Story(
        "tax inside the price, a discount, and something delivered at once",
        [
            event(
                "invoice.finalized",
                stripe.invoice(
                    stripe.line(1190, discount=119, tax=171, inclusive=True),
                    stripe.line(500, id="il_2", days=0),
                ),
            )
        ],
        """
        debit                | credit               | amount | currency
        invoice:in_1:finalized
        Accounts receivable  |                      | 1571   | usd
                             | Deferred revenue     | 900    | usd
                             | Revenue              | 500    | usd
                             | Tax payable          | 171    | usd
        """,
    ),
    Story(
        "an upgrade: the old plan's rest is credited, the new one's is billed",
        [event("invoice.finalized", stripe.invoice(stripe.line(-166), stripe.line(541, id="il_2")))],
        """
        debit                | credit               | amount | currency
        invoice:in_1:finalized
        Accounts receivable  |                      | 375    | usd
        Deferred revenue     |                      | 166    | usd
                             | Deferred revenue     | 541    | usd
        """,
    ),
    Story(
        "a trial: nothing is owed, but the fact is kept",
        [event("invoice.finalized", stripe.invoice(stripe.line(0)))],
        """
        debit                | credit               | amount | currency
        invoice:in_1:finalized
        """,
    ),
    Story(
        "an invoice partly paid from the customer's balance",
        [
            event(
                "invoice.finalized",
                {**PLAN, "starting_balance": -300, "ending_balance": 0, "amount_due": 890},
            )
        ],
        """
        debit                | credit               | amount | currency
        invoice:in_1:finalized
        Accounts receivable  |                      | 1190   | usd
                             | Deferred revenue     | 1000   | usd
                             | Tax payable          | 190    | usd
        invoice:in_1:balance
        Customer balance     |                      | 300    | usd
                             | Accounts receivable  | 300    | usd
        """,
    ),
    Story(
        "a downgrade worth more than the invoice goes to the customer's balance",
        [event("invoice.finalized", stripe.invoice(stripe.line(-700), ending_balance=-700, amount_due=0))],
        """
        debit                | credit               | amount | currency
        invoice:in_1:finalized
                             | Accounts receivable  | 700    | usd
        Deferred revenue     |                      | 700    | usd
        invoice:in_1:balance
                             | Customer balance     | 700    | usd
        Accounts receivable  |                      | 700    | usd
        """,
    ),
    Story(
        "a payment",
        [FINALIZED, PAID],
        """
        debit                | credit               | amount | currency
        inpay:inpay_1:paid
        Payment clearing     |                      | 1190   | usd
                             | Accounts receivable  | 1190   | usd
        """,
    ),
    Story(
        "a payment, as the invoice told it before basil",
        [event("invoice.paid", stripe.moved(OLD, "paid_at", T0 + 60), version=BEFORE_BASIL)],
        """
        debit                | credit               | amount | currency
        invoice:in_1:charge:ch_1
        Payment clearing     |                      | 1190   | usd
                             | Accounts receivable  | 1190   | usd
        """,
    ),
    Story(
        "a payment that never touched Stripe",
        [event("invoice.paid", stripe.moved(PLAN, "paid_at", T0 + 60, amount_paid_off_stripe=1190))],
        """
        debit                | credit               | amount | currency
        invoice:in_1:oob
        Out-of-band clearing |                      | 1190   | usd
                             | Accounts receivable  | 1190   | usd
        """,
    ),
    Story(
        "a payment that never touched Stripe, before basil",
        [
            event(
                "invoice.paid",
                stripe.moved({**OLD, "charge": None, "paid_out_of_band": True}, "paid_at", T0 + 60),
                version=BEFORE_BASIL,
            )
        ],
        """
        debit                | credit               | amount | currency
        invoice:in_1:oob
        Out-of-band clearing |                      | 1190   | usd
                             | Accounts receivable  | 1190   | usd
        """,
    ),
    Story(
        "an outside payment told as a record and again in the invoice's total",
        [
            event(
                "invoice_payment.paid",
                stripe.invoice_payment(1190, type="payment_record", by="pr_1"),
            ),
            event("invoice.paid", stripe.moved(PLAN, "paid_at", T0 + 60, amount_paid_off_stripe=1190)),
        ],
        """
        debit                | credit               | amount | currency
        invoice:in_1:oob
        Out-of-band clearing |                      | 1190   | usd
                             | Accounts receivable  | 1190   | usd
        inpay:inpay_1:paid:within
                             | Out-of-band clearing | 1190   | usd
        Accounts receivable  |                      | 1190   | usd
        """,
    ),
    Story(
        "a charge with its balance transaction",
        [event("charge.succeeded", stripe.charge(1190, BALANCE))],
        """
        debit                | credit               | amount | currency
        bt:txn_1
        Stripe balance       |                      | 1125   | usd
        Stripe fees          |                      | 65     | usd
                             | Payment clearing     | 1190   | usd
        """,
    ),
    Story(
        "a charge whose balance transaction came later",
        [
            event("charge.succeeded", stripe.charge(1190, None)),
            event("charge.updated", stripe.charge(1190, BALANCE)),
        ],
        """
        debit                | credit               | amount | currency
        bt:txn_1
        Stripe balance       |                      | 1125   | usd
        Stripe fees          |                      | 65     | usd
                             | Payment clearing     | 1190   | usd
        """,
    ),
    Story(
        "euros settled in dollars",
        [event("charge.succeeded", EUR_CHARGE)],
        """
        debit                | credit               | amount | currency
        bt:txn_1
        Stripe balance       |                      | 10498  | usd
        Stripe fees          |                      | 344    | usd
                             | FX trading           | 10842  | usd
        FX trading           |                      | 10000  | eur
                             | Payment clearing     | 10000  | eur
        """,
    ),
    Story(
        "a refund that leaves the balance at once",
        [event("refund.created", stripe.refund(500, GIVEN_BACK))],
        """
        debit                | credit               | amount | currency
        refund:re_1:created
        Refunds              |                      | 500    | usd
                             | Refund clearing      | 500    | usd
        bt:txn_2
                             | Stripe balance       | 500    | usd
        Refund clearing      |                      | 500    | usd
        """,
    ),
    Story(
        "a refund that leaves the balance later",
        [
            event("refund.created", stripe.refund(500, None)),
            event("refund.updated", stripe.refund(500, GIVEN_BACK)),
        ],
        """
        debit                | credit               | amount | currency
        bt:txn_2
                             | Stripe balance       | 500    | usd
        Refund clearing      |                      | 500    | usd
        """,
    ),
    Story(
        "a refund that came back",
        [
            event("refund.created", stripe.refund(500, GIVEN_BACK)),
            event(
                "refund.failed",
                stripe.refund(500, GIVEN_BACK, status="failed", failure_balance_transaction=RETURNED),
            ),
        ],
        """
        debit                | credit               | amount | currency
        bt:txn_3
        Stripe balance       |                      | 500    | usd
                             | Refund clearing      | 500    | usd
        refund:re_1:failed
        Refund clearing      |                      | 500    | usd
                             | Refunds owed         | 500    | usd
        """,
    ),
    Story(
        "a refund that came back, as charges told it",
        [
            event("refund.created", stripe.refund(500, GIVEN_BACK)),
            event(
                "charge.refund.updated",
                stripe.refund(500, GIVEN_BACK, status="failed", failure_balance_transaction=RETURNED),
                version=BEFORE_BASIL,
            ),
        ],
        """
        debit                | credit               | amount | currency
        bt:txn_3
        Stripe balance       |                      | 500    | usd
                             | Refund clearing      | 500    | usd
        refund:re_1:failed
        Refund clearing      |                      | 500    | usd
                             | Refunds owed         | 500    | usd
        """,
    ),
    Story(
        "euros refunded at another rate than they were charged at",
        [
            event(
                "refund.created",
                stripe.refund(10000, stripe.transaction(-10910, id="txn_2"), currency="eur"),
            )
        ],
        """
        debit                | credit               | amount | currency
        refund:re_1:created
        Refunds              |                      | 10000  | eur
                             | Refund clearing      | 10000  | eur
        bt:txn_2
                             | Stripe balance       | 10910  | usd
        FX trading           |                      | 10910  | usd
                             | FX trading           | 10000  | eur
        Refund clearing      |                      | 10000  | eur
        """,
    ),
    Story(
        "a credit note before payment lowers the claim",
        [FINALIZED, event("credit_note.created", LOWERED)],
        """
        debit                | credit               | amount | currency
        cn:cn_1:created
        Deferred revenue     |                      | 200    | usd
        Tax payable          |                      | 38     | usd
                             | Accounts receivable  | 238    | usd
        """,
    ),
    Story(
        "a credit note after payment, refunded: its refund meets it in Refunds",
        [
            FINALIZED,
            event(
                "credit_note.created",
                stripe.credit_note(
                    stripe.note_line(238, of=None),
                    after=238,
                    refunds=[{"refund": "re_1", "amount_refunded": 238}],
                ),
            ),
        ],
        """
        debit                | credit               | amount | currency
        cn:cn_1:created
        Credit notes         |                      | 238    | usd
                             | Refunds              | 238    | usd
        """,
    ),
    Story(
        "a credit note that is all of it at once",
        [
            FINALIZED,
            event(
                "credit_note.created",
                stripe.credit_note(
                    stripe.note_line(900),
                    before=100,
                    after=800,
                    refunds=[{"refund": "re_1", "amount_refunded": 300}],
                    out_of_band_amount=100,
                    customer_balance_transaction="cbtxn_1",
                ),
            ),
        ],
        """
        debit                | credit               | amount | currency
        cn:cn_1:created
        Deferred revenue     |                      | 900    | usd
                             | Accounts receivable  | 100    | usd
                             | Refunds              | 300    | usd
                             | Customer balance     | 400    | usd
                             | Refunds owed         | 100    | usd
        """,
    ),
    Story(
        "a credit note from before clover, refunded",
        [
            event("invoice.finalized", OLD, version=BEFORE_BASIL),
            event(
                "credit_note.created",
                {
                    "id": "cn_1",
                    "object": "credit_note",
                    "customer": "cus_1",
                    "invoice": "in_1",
                    "currency": "usd",
                    "type": "post_payment",
                    "created": T0,
                    "total": 119,
                    "refund": "re_1",
                    "lines": {"data": [{"amount": 100, "invoice_line_item": "il_1", "tax_amounts": []}]},
                    "tax_amounts": [{"amount": 19, "inclusive": False}],
                },
                version=BEFORE_BASIL,
            ),
        ],
        """
        debit                | credit               | amount | currency
        cn:cn_1:created
        Deferred revenue     |                      | 100    | usd
        Tax payable          |                      | 19     | usd
                             | Refunds              | 119    | usd
        """,
    ),
    Story(
        "a credit note withdrawn",
        [
            FINALIZED,
            event("credit_note.created", LOWERED),
            event("credit_note.voided", {**LOWERED, "status": "void", "voided_at": T0 + 4 * DAY}),
        ],
        """
        debit                | credit               | amount | currency
        cn:cn_1:voided
                             | Deferred revenue     | 200    | usd
                             | Tax payable          | 38     | usd
        Accounts receivable  |                      | 238    | usd
        """,
    ),
    Story(
        "an invoice voided",
        [FINALIZED, event("invoice.voided", VOID)],
        """
        debit                | credit               | amount | currency
        invoice:in_1:voided
                             | Accounts receivable  | 1190   | usd
        Deferred revenue     |                      | 1000   | usd
        Tax payable          |                      | 190    | usd
        """,
    ),
    Story(
        "an invoice voided after something was delivered and a credit note had lowered it",
        [
            event(
                "invoice.finalized", stripe.invoice(stripe.line(1000), stripe.line(500, id="il_2", days=0))
            ),
            event("credit_note.created", stripe.credit_note(stripe.note_line(200), before=200)),
            event(
                "invoice.voided",
                stripe.moved(
                    stripe.invoice(stripe.line(1000), stripe.line(500, id="il_2", days=0)),
                    "voided_at",
                    T0 + 3 * DAY,
                    pre_payment_credit_notes_amount=200,
                ),
            ),
        ],
        """
        debit                | credit               | amount | currency
        invoice:in_1:voided
                             | Accounts receivable  | 1300   | usd
        Deferred revenue     |                      | 800    | usd
        Voids                |                      | 500    | usd
        """,
    ),
    Story(
        "an invoice voided after the customer's balance had paid part of it: the balance is restored",
        [
            event(
                "invoice.finalized",
                {**PLAN, "starting_balance": -300, "ending_balance": 0, "amount_due": 890},
            ),
            event("invoice.voided", VOID),
        ],
        """
        debit                | credit               | amount | currency
        invoice:in_1:voided
                             | Accounts receivable  | 890    | usd
        Deferred revenue     |                      | 1000   | usd
        Tax payable          |                      | 190    | usd
                             | Customer balance     | 300    | usd
        """,
    ),
    Story(
        "an invoice given up",
        [FINALIZED, event("invoice.marked_uncollectible", WRITTEN_OFF)],
        """
        debit                | credit               | amount | currency
        invoice:in_1:uncollectible
        Bad debt             |                      | 1190   | usd
                             | Accounts receivable  | 1190   | usd
        """,
    ),
    Story(
        "an invoice given up, then paid",
        [
            FINALIZED,
            event("invoice.marked_uncollectible", WRITTEN_OFF),
            event("invoice_payment.paid", stripe.invoice_payment(1190, at=T0 + 40 * DAY)),
        ],
        """
        debit                | credit               | amount | currency
        inpay:inpay_1:paid
        Payment clearing     |                      | 1190   | usd
                             | Accounts receivable  | 1190   | usd
        invoice:in_1:recovered:inpay:inpay_1:paid
        Accounts receivable  |                      | 1190   | usd
                             | Recoveries           | 1190   | usd
        """,
    ),
    Story(
        "an invoice given up, then paid, heard the other way round",
        [
            FINALIZED,
            event("invoice_payment.paid", stripe.invoice_payment(1190, at=T0 + 40 * DAY)),
            event("invoice.marked_uncollectible", WRITTEN_OFF),
        ],
        """
        debit                | credit               | amount | currency
        invoice:in_1:uncollectible
        Bad debt             |                      | 1190   | usd
                             | Accounts receivable  | 1190   | usd
        invoice:in_1:recovered:inpay:inpay_1:paid
        Accounts receivable  |                      | 1190   | usd
                             | Recoveries           | 1190   | usd
        """,
    ),
    Story(
        "part of an invoice paid, the rest given up: what was paid before is no recovery",
        [
            FINALIZED,
            event("invoice_payment.paid", stripe.invoice_payment(500)),
            event("invoice.marked_uncollectible", {**WRITTEN_OFF, "amount_remaining": 690}),
        ],
        """
        debit                | credit               | amount | currency
        invoice:in_1:uncollectible
        Bad debt             |                      | 690    | usd
                             | Accounts receivable  | 690    | usd
        """,
    ),
    Story(
        "an invoice given up, then voided: it was never owed, so it was no loss",
        [FINALIZED, event("invoice.marked_uncollectible", WRITTEN_OFF), event("invoice.voided", VOID)],
        """
        debit                | credit               | amount | currency
        invoice:in_1:voided
                             | Accounts receivable  | 1190   | usd
        Deferred revenue     |                      | 1000   | usd
        Tax payable          |                      | 190    | usd
        invoice:in_1:uncollectible:reversed
                             | Bad debt             | 1190   | usd
        Accounts receivable  |                      | 1190   | usd
        """,
    ),
]


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_the_last_event_of_a_story_posts_this_entry(story: Story) -> None:
    books, judged = keep(story.events)
    assert judged[-1].outcome == "applied", judged[-1].reason
    (book,) = books.values()
    assert entry(book.added) == rows(story.posts)
