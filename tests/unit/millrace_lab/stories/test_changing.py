"""Stories of subscriptions that change: seats, plans, intervals, phases.

Their months have 31 days (July and August 2026), so a share of one is n/31. A proration is
price x quantity x remaining / period, to the second, rounded once a line (docs/lab/behaviours.md;
docs.stripe.com/billing/subscriptions/prorations).
"""

from __future__ import annotations

from tests.unit.millrace_lab.stories.stage import Stage


def test_an_upgrade_within_the_cycle() -> None:
    """Prorated later, it waits for the renewal; prorated at once, it is an invoice of its own.

    Day 10, 21 of 31 days to go: 55.00 x 21/31 = 37.2581 back, 88.00 x 21/31 = 59.6129 ahead.
    Day 41, again 21 of 31: 88.00 x 21/31 = 59.6129 back, 110.00 x 21/31 = 74.5161 ahead.
    """
    company = Stage("eur", hears="invoiceitem.* invoice.paid subscription.*")
    company.sells("Team", "11.00")
    company.plays("""
    day    | what happens         | invoice | lines                  | total  | paid   | told
    0      | ada has a card       |         |                        |        |        |
    0      | ada subscribes to 5  | 1 paid  | 5 x Team 55.00         | 55.00  | 55.00  | subscription.created
           | Team                 |         |                        |        |        | invoice.paid
           |                      |         |                        |        |        | subscription.updated
    10     | ada changes to 8     |         |                        |        |        | invoiceitem.created
           | Team, prorated later |         |                        |        |        | invoiceitem.created
           |                      |         |                        |        |        | subscription.updated
    31     |                      | 2 draft | unused 5 x Team -37.26 | 110.35 | 0.00   | subscription.updated
           |                      |         | rest 8 x Team 59.61    |        |        |
           |                      |         | 8 x Team 88.00         |        |        |
    31 +1h |                      | 2 paid  |                        | 110.35 | 110.35 | invoice.paid
    41     | ada changes to 10    | 3 paid  | unused 8 x Team -59.61 | 14.91  | 14.91  | invoiceitem.created
           | Team, prorated at    |         | rest 10 x Team 74.52   |        |        | invoiceitem.created
           | once                 |         |                        |        |        | subscription.updated
           |                      |         |                        |        |        | invoice.paid
    62 +1h |                      | 4 paid  | 10 x Team 110.00       | 110.00 | 110.00 | subscription.updated
           |                      |         |                        |        |        | invoice.paid
    """)


def test_a_downgrade_whose_credit_waits_on_the_balance() -> None:
    """Day 12, 19 of 31 days to go: 7 x 12.34 x 19/31 = 52.9426 back, 3 x 12.34 x 19/31 = 22.6897 ahead.

    The difference, -30.25, is a paid invoice and a credit; of the renewal's 37.02 then 6.77 are due.
    """
    company = Stage("eur", hears="invoice.paid charge.* customer.updated")
    company.sells("Team", "12.34")
    company.plays("""
    day    | what happens        | invoice | lines                  | total  | due   | balance | told
    0      | ada has a card      |         |                        |        |       | 0.00    | customer.updated
    0      | ada subscribes to 7 | 1 paid  | 7 x Team 86.38         | 86.38  | 86.38 |         | customer.updated
           | Team                |         |                        |        |       |         | charge.succeeded
           |                     |         |                        |        |       |         | invoice.paid
    12     | ada changes to 3    | 2 paid  | unused 7 x Team -52.94 | -30.25 | 0.00  | -30.25  | customer.updated
           | Team, prorated at   |         | rest 3 x Team 22.69    |        |       |         | invoice.paid
           | once                |         |                        |        |       |         |
    31 +1h |                     | 3 paid  | 3 x Team 37.02         | 37.02  | 6.77  | 0.00    | customer.updated
           |                     |         |                        |        |       |         | charge.succeeded
           |                     |         |                        |        |       |         | invoice.paid
    62 +1h |                     | 4 paid  | 3 x Team 37.02         | 37.02  | 37.02 |         | charge.succeeded
           |                     |         |                        |        |       |         | invoice.paid
    """)


def test_an_item_that_is_added_within_the_cycle() -> None:
    """Day 10: 4 x 3.10 x 21/31 = 8.40 for the rest of July. August's lines have the newer item first.

    Source: Stripe's description of `invoice.lines`: what waited, then items, each in reverse chronological order.
    """
    company = Stage(hears="invoiceitem.created invoice.paid")
    company.sells("Team", "20.00")
    company.sells("Extra", "3.10")
    company.plays("""
    day    | what happens        | invoice | lines               | total | paid  | told
    0      | ada has a card      |         |                     |       |       |
    0      | ada subscribes to 2 | 1 paid  | 2 x Team 40.00      | 40.00 | 40.00 | invoice.paid
           | Team                |         |                     |       |       |
    10     | ada adds 4 Extra,   |         |                     |       |       | invoiceitem.created
           | prorated later      |         |                     |       |       |
    31 +1h |                     | 2 paid  | rest 4 x Extra 8.40 | 60.80 | 60.80 | invoice.paid
           |                     |         | 4 x Extra 12.40     |       |       |
           |                     |         | 2 x Team 40.00      |       |       |
    """)


def test_a_renewal_whose_prorations_outweigh_it() -> None:
    """Day 1, 30 of 31 days to go: 155.00 x 30/31 = 150.00 back, 31.00 x 30/31 = 30.00 ahead.

    31.00 - 150.00 + 30.00 = -89.00: paid without a payment, and two renewals of 31.00 are paid from it.
    """
    company = Stage(hears="invoice.paid charge.*")
    company.sells("Team", "31.00")
    company.plays("""
    day     | what happens         | invoice | lines                   | total  | due    | balance | told
    0       | ada has a card       |         |                         |        |        | 0.00    |
    0       | ada subscribes to 5  | 1 paid  | 5 x Team 155.00         | 155.00 | 155.00 |         | charge.succeeded
            | Team                 |         |                         |        |        |         | invoice.paid
    1       | ada changes to 1     |         |                         |        |        |         |
            | Team, prorated later |         |                         |        |        |         |
    31 +1h  |                      | 2 paid  | unused 5 x Team -150.00 | -89.00 | 0.00   | -89.00  | invoice.paid
            |                      |         | rest 1 x Team 30.00     |        |        |         |
            |                      |         | 1 x Team 31.00          |        |        |         |
    62 +1h  |                      | 3 paid  | 1 x Team 31.00          | 31.00  | 0.00   | -58.00  | invoice.paid
    92 +1h  |                      | 4 paid  | 1 x Team 31.00          | 31.00  | 0.00   | -27.00  | invoice.paid
    123 +1h |                      | 5 paid  | 1 x Team 31.00          | 31.00  | 4.00   | 0.00    | charge.succeeded
            |                      |         |                         |        |        |         | invoice.paid
    """)


def test_from_months_to_a_year() -> None:
    """Another interval begins a new cycle at once: the unused 21/31 of 12.00 = 8.1290 back, the year ahead.

    The year ends on 11 July 2027, day 375. Source: docs.stripe.com/billing/subscriptions/change-price.
    """
    company = Stage(hears="invoice.paid subscription.updated")
    company.sells("Team", "12.00")
    company.sells("Yearly", "120.00", interval="year")
    company.plays("""
    day     | what happens        | invoice | lines                 | total  | paid   | told
    0       | ada has a card      |         |                       |        |        |
    0       | ada subscribes to 1 | 1 paid  | 1 x Team 12.00        | 12.00  | 12.00  | invoice.paid
            | Team                |         |                       |        |        | subscription.updated
    10      | ada changes to 1    | 2 paid  | unused 1 x Team -8.13 | 111.87 | 111.87 | subscription.updated
            | Yearly              |         | 1 x Yearly 120.00     |        |        | invoice.paid
    374     |                     |         |                       |        |        |
    375     |                     | 3 draft | 1 x Yearly 120.00     | 120.00 | 0.00   | subscription.updated
    375 +1h |                     | 3 paid  |                       | 120.00 | 120.00 | invoice.paid
    """)


def test_a_schedule_with_phases() -> None:
    """Two months of an introduction, a month of three seats, then it ends: 29 August is a week before.

    A phase that begins with a period is not prorated. Source: docs.stripe.com/billing/subscriptions/
    subscription-schedules; `expiring` is told seven days before the end (docs.stripe.com/api/events/types).
    """
    company = Stage(hears="subscription_schedule.* subscription.deleted invoice.paid")
    company.sells("Intro", "5.00")
    company.sells("Team", "10.00")
    company.plays("""
    day    | what happens         | subscription | invoice | lines          | total | told
    0      | ada has a card       |              |         |                |       |
    0      | ada is scheduled for | active       | 1 paid  | 1 x Intro 5.00 | 5.00  | subscription_schedule.created
           | 2 months of Intro, 1 |              |         |                |       | invoice.paid
           | months of 3 Team,    |              |         |                |       | subscription_schedule.updated
           | then cancel          |              |         |                |       |
    31 +1h |                      |              | 2 paid  | 1 x Intro 5.00 | 5.00  | invoice.paid
    62 +1h |                      |              | 3 paid  | 3 x Team 30.00 | 30.00 | subscription_schedule.updated
           |                      |              |         |                |       | invoice.paid
    85     |                      |              |         |                |       | subscription_schedule.expiring
    92 +1h |                      | canceled     |         |                |       | subscription_schedule.completed
           |                      |              |         |                |       | subscription.deleted
    """)


def test_two_subscriptions_of_one_customer() -> None:
    """Each has its own cycle and its own invoices; that one ends is nothing to the other.

    Extra's cycle begins on day 10 (11 July): it renews on day 41 (11 August).
    """
    company = Stage(hears="subscription.deleted invoice.paid invoice.voided")
    company.sells("Team", "20.00")
    company.sells("Extra", "3.00")
    company.plays("""
    day    | what happens          | subscription        | invoice | lines           | total | told
    0      | ada has a card        |                     |         |                 |       |
    0      | ada subscribes to 2   | active              | 1 paid  | 2 x Team 40.00  | 40.00 | invoice.paid
           | Team                  |                     |         |                 |       |
    10     | ada subscribes to 4   | Team active         | 2 paid  | 4 x Extra 12.00 | 12.00 | invoice.paid
           | Extra                 | Extra active        |         |                 |       |
    20     | ada cancels Team at   | Team active, ending |         |                 |       |
           | the period's end      |                     |         |                 |       |
    31     |                       | Team canceled       |         |                 |       | subscription.deleted
    41 +1h |                       |                     | 3 paid  | 4 x Extra 12.00 | 12.00 | invoice.paid
    50     | ada cancels Extra now | Extra canceled      |         |                 |       | subscription.deleted
    90     |                       |                     |         |                 |       |
    """)
