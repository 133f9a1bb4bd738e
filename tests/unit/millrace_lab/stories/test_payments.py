"""Stories of payments that do not go straight: asked questions, refusals, refunds, disputes, and none at all."""

from __future__ import annotations

from tests.unit.millrace_lab.stories.stage import Stage


def test_the_bank_asks_at_the_first_payment() -> None:
    """The subscription waits, incomplete, until the customer has answered.

    Source: docs.stripe.com/billing/subscriptions/overview, "requires_action".
    """
    company = Stage(hears="subscription.* invoice.payment_* invoice.paid payment_intent.requires_action")
    company.sells("Team", "20.00")
    company.plays("""
    day   | what happens          | subscription | invoice | total | paid  | told
    0     | ada has a card (asks, |              |         |       |       |
          | pays)                 |              |         |       |       |
    0     | ada subscribes to 1   | incomplete   | 1 open  | 20.00 | 0.00  | subscription.created
          | Team                  |              |         |       |       | payment_intent.requires_action
          |                       |              |         |       |       | invoice.payment_action_required
          |                       |              |         |       |       | invoice.payment_failed
    0 +1h | ada authenticates the | active       | 1 paid  | 20.00 | 20.00 | invoice.paid
          | payment of invoice 1  |              |         |       |       | invoice.payment_succeeded
          |                       |              |         |       |       | subscription.updated
    """)


def test_the_bank_asks_at_a_renewal() -> None:
    """Nobody is there to answer, so it is a decline; the customer pays by hand, and answers.

    Source: docs.stripe.com/billing/subscriptions/webhooks ("payment failures", `invoice.payment_action_required`).
    """
    company = Stage(hears="subscription.updated invoice.payment_* invoice.paid")
    company.sells("Team", "20.00")
    company.plays("""
    day    | what happens          | subscription | invoice | total | refused | told
    0      | ada has a card (pays, |              |         |       |         |
           | asks, asks, pays)     |              |         |       |         |
    0      | ada subscribes to 1   | active       | 1 paid  | 20.00 |         | invoice.paid
           | Team                  |              |         |       |         | invoice.payment_succeeded
           |                       |              |         |       |         | subscription.updated
    31 +1h |                       | past_due     | 2 open  | 20.00 |         | subscription.updated
           |                       |              |         |       |         | invoice.payment_action_required
           |                       |              |         |       |         | invoice.payment_failed
           |                       |              |         |       |         | subscription.updated
    32     | ada pays invoice 2    |              |         |       | 402     | invoice.payment_action_required
           |                       |              |         |       |         | invoice.payment_failed
    32     | ada authenticates the | active       | 2 paid  | 20.00 |         | invoice.paid
           | payment of invoice 2  |              |         |       |         | invoice.payment_succeeded
           |                       |              |         |       |         | subscription.updated
    """)


def test_written_off_and_paid_after_all() -> None:
    """Tried on day 31 and 3, 5 and 7 days after each failure (34, 39, 46), then written off; a new card pays it.

    Source: docs.stripe.com/invoicing/integration/workflow-transitions: uncollectible may become paid.
    """
    company = Stage(hears="subscription.* invoice.payment_failed invoice.marked_uncollectible invoice.paid")
    company.sells("Team", "20.00")
    company.plays("""
    day    | what happens           | subscription | invoice         | total | paid  | told
    0      | ada has a card (pays,  |              |                 |       |       |
           | refuses)               |              |                 |       |       |
    0      | ada subscribes to 1    | active       | 1 paid          | 20.00 | 20.00 | subscription.created
           | Team, given up as      |              |                 |       |       | invoice.paid
           | past_due+uncollectible |              |                 |       |       | subscription.updated
    31 +1h |                        | past_due     | 2 open          | 20.00 | 0.00  | subscription.updated
           |                        |              |                 |       |       | invoice.payment_failed
           |                        |              |                 |       |       | subscription.updated
    34 +1h |                        |              |                 |       |       | invoice.payment_failed
    39 +1h |                        |              |                 |       |       | invoice.payment_failed
    46 +1h |                        |              | 2 uncollectible | 20.00 | 0.00  | invoice.payment_failed
           |                        |              |                 |       |       | invoice.marked_uncollectible
    50     | ada has a card         |              |                 |       |       |
    50     | ada pays invoice 2     | active       | 2 paid          | 20.00 | 20.00 | invoice.paid
           |                        |              |                 |       |       | subscription.updated
    62 +1h |                        |              | 3 paid          | 20.00 | 20.00 | subscription.updated
           |                        |              |                 |       |       | invoice.paid
    """)


def test_paid_outside_stripe() -> None:
    """Due on day 14 and overdue then; the transfer of day 20 is noted by hand: paid, and nothing was charged.

    `invoice.paid` without `invoice.payment_succeeded`: docs/lab/behaviours.md.
    """
    company = Stage(hears="subscription.updated invoice.[cfwsop]* charge.* invoice_payment.*")
    company.sells("Team", "90.00")
    company.plays("""
    day    | what happens         | subscription | invoice | total | paid  | stripe | told
    0      | ada subscribes to 1  | active       | 1 draft | 90.00 | 0.00  | 0.00   | invoice.created
           | Team, due in 14 days |              |         |       |       |        |
    0 +1h  |                      |              | 1 open  | 90.00 | 0.00  |        | invoice.finalized
           |                      |              |         |       |       |        | invoice.sent
    14 +1h |                      | past_due     |         |       |       |        | invoice.will_be_due
           |                      |              |         |       |       |        | invoice.overdue
           |                      |              |         |       |       |        | subscription.updated
    20     | ada pays invoice 1   | active       | 1 paid  | 90.00 | 90.00 |        | invoice.paid
           | out of band          |              |         |       |       |        | subscription.updated
    """)


def test_a_refund_and_then_a_dispute_that_is_lost() -> None:
    """Stripe's balance, with US fees of 2.9 % + 0.30 a charge and 15.00 a dispute, neither given back:

    100.00 - 3.20 = 96.80; 30.00 back: 66.80; 70.00 and 15.00 withdrawn: -18.20. Lost, nothing moves any more.
    The invoice stays paid. Source: docs.stripe.com/disputes/how-disputes-work, docs.stripe.com/refunds.
    """
    company = Stage(hears="charge.* refund.created invoice.paid")
    company.plays("""
    day | what happens        | invoice | total  | paid   | stripe | refused | told
    0   | ada has a card      |         |        |        | 0.00   |         |
    0   | we note 100.00 for  |         |        |        |        |         |
        | Workshop on ada's   |         |        |        |        |         |
        | account             |         |        |        |        |         |
    0   | we charge ada       | 1 paid  | 100.00 | 100.00 | 96.80  |         | charge.succeeded
        |                     |         |        |        |        |         | invoice.paid
    5   | we refund 30.00 of  |         |        |        | 66.80  |         | refund.created
        | invoice 1           |         |        |        |        |         | charge.refunded
    9   | ada's bank disputes |         |        |        | -18.20 |         | charge.dispute.created
        | 70.00 of invoice 1  |         |        |        |        |         | charge.dispute.funds_withdrawn
    10  | we refund 10.00 of  |         |        |        |        | 400     |
        | invoice 1           |         |        |        |        |         |
    20  | the dispute is lost |         |        |        |        |         | charge.dispute.closed
    """)


def test_a_refund_and_then_a_dispute_that_is_won() -> None:
    """As above, but what was disputed comes back: -18.20 + 70.00 = 51.80; the dispute's fee does not."""
    company = Stage(hears="charge.dispute.*")
    company.plays("""
    day | what happens        | invoice | total  | paid   | stripe | told
    0   | ada has a card      |         |        |        | 0.00   |
    0   | we note 100.00 for  |         |        |        |        |
        | Workshop on ada's   |         |        |        |        |
        | account             |         |        |        |        |
    0   | we charge ada       | 1 paid  | 100.00 | 100.00 | 96.80  |
    5   | we refund 30.00 of  |         |        |        | 66.80  |
        | invoice 1           |         |        |        |        |
    9   | ada's bank disputes |         |        |        | -18.20 | charge.dispute.created
        | 70.00 of invoice 1  |         |        |        |        | charge.dispute.funds_withdrawn
    20  | the dispute is won  |         |        |        | 51.80  | charge.dispute.funds_reinstated
        |                     |         |        |        |        | charge.dispute.closed
    """)
