"""Stories of subscriptions that do not ask for money for a while: trials without a card, and both kinds of pause."""

from __future__ import annotations

from tests.unit.millrace_lab.stories.stage import Stage


def test_a_trial_without_a_card_that_is_canceled_at_its_end() -> None:
    """`trial_will_end` comes three days before. Source: docs.stripe.com/billing/subscriptions/trials."""
    company = Stage(hears="subscription.* invoice.finalized")
    company.sells("Team", "20.00")
    company.plays("""
    day | what happens          | subscription | invoice | lines         | total | told
    0   | ada subscribes to 2   | trialing     | 1 paid  | 2 x Team 0.00 | 0.00  | subscription.created
        | Team, on trial for 14 |              |         |               |       | invoice.finalized
        | days, without a card  |              |         |               |       |
        | then cancel           |              |         |               |       |
    11  |                       |              |         |               |       | subscription.trial_will_end
    14  |                       | canceled     |         |               |       | subscription.deleted
    20  |                       |              |         |               |       |
    """)


def test_a_trial_without_a_card_that_is_paused_at_its_end() -> None:
    """It waits for a card, without invoices. Resumed, its month begins there: 20 July, and 20 August is day 50."""
    company = Stage(hears="subscription.* invoice.paid")
    company.sells("Team", "20.00")
    company.plays("""
    day    | what happens          | subscription | invoice | lines          | total | told
    0      | ada subscribes to 2   | trialing     | 1 paid  | 2 x Team 0.00  | 0.00  | subscription.created
           | Team, on trial for 14 |              |         |                |       | invoice.paid
           | days, without a card  |              |         |                |       |
           | then pause            |              |         |                |       |
    14     |                       | paused       |         |                |       | subscription.trial_will_end
           |                       |              |         |                |       | subscription.updated
           |                       |              |         |                |       | subscription.paused
    18     | ada has a card        |              |         |                |       |
    19     | ada resumes           | active       | 2 paid  | 2 x Team 40.00 | 40.00 | subscription.updated
           |                       |              |         |                |       | subscription.resumed
           |                       |              |         |                |       | invoice.paid
    45     |                       |              |         |                |       |
    50 +1h |                       |              | 3 paid  | 2 x Team 40.00 | 40.00 | subscription.updated
           |                       |              |         |                |       | invoice.paid
    """)


def test_a_trial_without_a_card_that_is_invoiced_at_its_end() -> None:
    """The invoice cannot be collected an hour later, so the subscription is past due until a card pays it."""
    company = Stage(hears="subscription.* invoice.payment_failed invoice.paid")
    company.sells("Team", "20.00")
    company.plays("""
    day    | what happens          | subscription | invoice | lines          | total | told
    0      | ada subscribes to 2   | trialing     | 1 paid  | 2 x Team 0.00  | 0.00  | subscription.created
           | Team, on trial for 14 |              |         |                |       | invoice.paid
           | days, without a card  |              |         |                |       |
           | then create_invoice   |              |         |                |       |
    14     |                       | active       | 2 draft | 2 x Team 40.00 | 40.00 | subscription.trial_will_end
           |                       |              |         |                |       | subscription.updated
    14 +1h |                       | past_due     | 2 open  |                | 40.00 | invoice.payment_failed
           |                       |              |         |                |       | subscription.updated
    15     | ada has a card        |              |         |                |       |
    15     | ada pays invoice 2    | active       | 2 paid  |                | 40.00 | invoice.paid
           |                       |              |         |                |       | subscription.updated
    """)


def test_collection_is_paused_and_the_subscription_goes_on() -> None:
    """`pause_collection` changes no status: renewals are invoiced as ever, and voided as they become final.

    Source: docs.stripe.com/billing/subscriptions/pause-payment.
    """
    company = Stage(hears="subscription.* invoice.voided invoice.paid")
    company.sells("Team", "31.00")
    company.plays("""
    day    | what happens             | subscription | invoice | lines          | total | told
    0      | ada has a card           |              |         |                |       |
    0      | ada subscribes to 1 Team | active       | 1 paid  | 1 x Team 31.00 | 31.00 | subscription.created
           |                          |              |         |                |       | invoice.paid
           |                          |              |         |                |       | subscription.updated
    10     | we pause ada's           | active, void |         |                |       | subscription.updated
           | collection, void         |              |         |                |       |
    31     |                          |              | 2 draft | 1 x Team 31.00 | 31.00 | subscription.updated
    31 +1h |                          |              | 2 void  |                | 31.00 | invoice.voided
    40     | we collect from ada      | active       |         |                |       | subscription.updated
           | again                    |              |         |                |       |
    62 +1h |                          |              | 3 paid  | 1 x Team 31.00 | 31.00 | subscription.updated
           |                          |              |         |                |       | invoice.paid
    """)


def test_the_subscription_is_paused_and_its_time_given_back() -> None:
    """`POST …/pause` (API endive) is a status: no renewals, and the unused 21/31 of 31.00 = 21.00 waits.

    Resumed on day 40, a month begins: 31.00 - 21.00 = 10.00 now; 10 August to 10 September is day 71.
    """
    company = Stage(hears="subscription.* invoiceitem.created invoice.paid")
    company.sells("Team", "31.00")
    company.plays("""
    day    | what happens             | subscription | invoice | lines                  | total | told
    0      | ada has a card           |              |         |                        |       |
    0      | ada subscribes to 1 Team | active       | 1 paid  | 1 x Team 31.00         | 31.00 | subscription.created
           |                          |              |         |                        |       | invoice.paid
           |                          |              |         |                        |       | subscription.updated
    10     | ada pauses               | paused       |         |                        |       | invoiceitem.created
           |                          |              |         |                        |       | subscription.updated
           |                          |              |         |                        |       | subscription.paused
    35     |                          |              |         |                        |       |
    40     | ada resumes              | active       | 2 paid  | unused 1 x Team -21.00 | 10.00 | subscription.updated
           |                          |              |         | 1 x Team 31.00         |       | subscription.resumed
           |                          |              |         |                        |       | invoice.paid
    71 +1h |                          |              | 3 paid  | 1 x Team 31.00         | 31.00 | subscription.updated
           |                          |              |         |                        |       | invoice.paid
    """)
