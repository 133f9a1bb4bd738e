"""Stories of subscriptions that change: seats, plans, intervals, phases.

Their months have 31 days (July and August 2026), so a share of one is n/31. A proration is
price × quantity × remaining / period, to the second, rounded once a line (facts/ledger.md §4;
docs.stripe.com/billing/subscriptions/prorations).
"""

from __future__ import annotations

from tests.unit.millrace_lab.stories.stage import Stage


def test_an_upgrade_within_the_cycle() -> None:
    """Prorated later, it waits for the renewal; prorated at once, it is an invoice of its own.

    Day 10, 21 of 31 days to go: 55.00 × 21/31 = 37.2581 back, 88.00 × 21/31 = 59.6129 ahead.
    Day 41, again 21 of 31: 88.00 × 21/31 = 59.6129 back, 110.00 × 21/31 = 74.5161 ahead.
    """
    company = Stage("eur", hears="invoiceitem.* invoice.paid subscription.*")
    company.sells("Team", "11.00")
    company.plays("""
    day    | what happens             | invoice | lines                  | total  | paid   | told
    0      | ada has a card           |         |                        |        |        |
    0      | ada subscribes to 5 Team | 1 paid  | 5 × Team 55.00         | 55.00  | 55.00  | subscription.created
           |                          |         |                        |        |        | invoice.paid
           |                          |         |                        |        |        | subscription.updated
    10     | ada changes to 8 Team,   |         |                        |        |        | invoiceitem.created
           | prorated later           |         |                        |        |        | invoiceitem.created
           |                          |         |                        |        |        | subscription.updated
    31     |                          | 2 draft | unused 5 × Team -37.26 | 110.35 | 0.00   | subscription.updated
           |                          |         | rest 8 × Team 59.61    |        |        |
           |                          |         | 8 × Team 88.00         |        |        |
    31 +1h |                          | 2 paid  |                        | 110.35 | 110.35 | invoice.paid
    41     | ada changes to 10 Team,  | 3 paid  | unused 8 × Team -59.61 | 14.91  | 14.91  | invoiceitem.created
           | prorated at once         |         | rest 10 × Team 74.52   |        |        | invoiceitem.created
           |                          |         |                        |        |        | subscription.updated
           |                          |         |                        |        |        | invoice.paid
    62 +1h |                          | 4 paid  | 10 × Team 110.00       | 110.00 | 110.00 | subscription.updated
           |                          |         |                        |        |        | invoice.paid
    """)


def test_a_downgrade_whose_credit_waits_on_the_balance() -> None:
    """Day 12, 19 of 31 days to go: 7 × 12.34 × 19/31 = 52.9426 back, 3 × 12.34 × 19/31 = 22.6897 ahead.

    The difference, -30.25, is a paid invoice and a credit; of the renewal's 37.02 then 6.77 are due.
    """
    company = Stage("eur", hears="invoice.paid invoice.payment_succeeded charge.* customer.updated")
    company.sells("Team", "12.34")
    company.plays("""
    day    | what happens             | invoice | lines                  | total  | due   | balance | told
    0      | ada has a card           |         |                        |        |       | 0.00    | customer.updated
    0      | ada subscribes to 7 Team | 1 paid  | 7 × Team 86.38         | 86.38  | 86.38 |         | customer.updated
           |                          |         |                        |        |       |         | charge.succeeded
           |                          |         |                        |        |       |         | invoice.paid
           |                          |         |                        |        |       |         | invoice.payment_succeeded
    12     | ada changes to 3 Team,   | 2 paid  | unused 7 × Team -52.94 | -30.25 | 0.00  | -30.25  | customer.updated
           | prorated at once         |         | rest 3 × Team 22.69    |        |       |         | invoice.paid
           |                          |         |                        |        |       |         | invoice.payment_succeeded
    31 +1h |                          | 3 paid  | 3 × Team 37.02         | 37.02  | 6.77  | 0.00    | customer.updated
           |                          |         |                        |        |       |         | charge.succeeded
           |                          |         |                        |        |       |         | invoice.paid
           |                          |         |                        |        |       |         | invoice.payment_succeeded
    62 +1h |                          | 4 paid  | 3 × Team 37.02         | 37.02  | 37.02 |         | charge.succeeded
           |                          |         |                        |        |       |         | invoice.paid
           |                          |         |                        |        |       |         | invoice.payment_succeeded
    """)


def test_a_renewal_whose_prorations_outweigh_it() -> None:
    """Day 1, 30 of 31 days to go: 155.00 × 30/31 = 150.00 back, 31.00 × 30/31 = 30.00 ahead.

    31.00 - 150.00 + 30.00 = -89.00: paid without a payment, and two renewals of 31.00 are paid from it.
    """
    company = Stage(hears="invoice.paid charge.*")
    company.sells("Team", "31.00")
    company.plays("""
    day     | what happens             | invoice | lines                   | total  | due    | balance | told
    0       | ada has a card           |         |                         |        |        | 0.00    |
    0       | ada subscribes to 5 Team | 1 paid  | 5 × Team 155.00         | 155.00 | 155.00 |         | charge.succeeded
            |                          |         |                         |        |        |         | invoice.paid
    1       | ada changes to 1 Team,   |         |                         |        |        |         |
            | prorated later           |         |                         |        |        |         |
    31 +1h  |                          | 2 paid  | unused 5 × Team -150.00 | -89.00 | 0.00   | -89.00  | invoice.paid
            |                          |         | rest 1 × Team 30.00     |        |        |         |
            |                          |         | 1 × Team 31.00          |        |        |         |
    62 +1h  |                          | 3 paid  | 1 × Team 31.00          | 31.00  | 0.00   | -58.00  | invoice.paid
    92 +1h  |                          | 4 paid  | 1 × Team 31.00          | 31.00  | 0.00   | -27.00  | invoice.paid
    123 +1h |                          | 5 paid  | 1 × Team 31.00          | 31.00  | 4.00   | 0.00    | charge.succeeded
            |                          |         |                         |        |        |         | invoice.paid
    """)


def test_from_months_to_a_year() -> None:
    """Another interval begins a new cycle at once: the unused 21/31 of 12.00 = 8.1290 back, the year ahead.

    The year ends on 11 July 2027, day 375. Source: docs.stripe.com/billing/subscriptions/change-price.
    """
    company = Stage(hears="invoice.paid subscription.updated")
    company.sells("Team", "12.00")
    company.sells("Yearly", "120.00", interval="year")
    company.plays("""
    day     | what happens             | invoice | lines                 | total  | paid   | told
    0       | ada has a card           |         |                       |        |        |
    0       | ada subscribes to 1 Team | 1 paid  | 1 × Team 12.00        | 12.00  | 12.00  | invoice.paid
            |                          |         |                       |        |        | subscription.updated
    10      | ada changes to 1 Yearly  | 2 paid  | unused 1 × Team -8.13 | 111.87 | 111.87 | subscription.updated
            |                          |         | 1 × Yearly 120.00     |        |        | invoice.paid
    374     |                          |         |                       |        |        |
    375     |                          | 3 draft | 1 × Yearly 120.00     | 120.00 | 0.00   | subscription.updated
    375 +1h |                          | 3 paid  |                       | 120.00 | 120.00 | invoice.paid
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
    day    | what happens           | subscription | invoice | lines          | total | told
    0      | ada has a card         |              |         |                |       |
    0      | ada is scheduled for 2 | active       | 1 paid  | 1 × Intro 5.00 | 5.00  | subscription_schedule.created
           | months of Intro, 1     |              |         |                |       | invoice.paid
           | months of 3 Team, then |              |         |                |       | subscription_schedule.updated
           | cancel                 |              |         |                |       |
    31 +1h |                        |              | 2 paid  | 1 × Intro 5.00 | 5.00  | invoice.paid
    62 +1h |                        |              | 3 paid  | 3 × Team 30.00 | 30.00 | subscription_schedule.updated
           |                        |              |         |                |       | invoice.paid
    85     |                        |              |         |                |       | subscription_schedule.expiring
    92 +1h |                        | canceled     |         |                |       | subscription_schedule.completed
           |                        |              |         |                |       | subscription.deleted
    """)


def test_two_subscriptions_of_one_customer() -> None:
    """Each has its own cycle and its own invoices; that one ends is nothing to the other.

    Extra's cycle begins on day 10 (11 July): it renews on day 41 (11 August).
    """
    company = Stage(hears="subscription.deleted invoice.paid invoice.voided")
    company.sells("Team", "20.00")
    company.sells("Extra", "3.00")
    company.plays("""
    day    | what happens             | subscription        | invoice | lines           | total | told
    0      | ada has a card           |                     |         |                 |       |
    0      | ada subscribes to 2 Team | active              | 1 paid  | 2 × Team 40.00  | 40.00 | invoice.paid
    10     | ada subscribes to 4      | Team active         | 2 paid  | 4 × Extra 12.00 | 12.00 | invoice.paid
           | Extra                    | Extra active        |         |                 |       |
    20     | ada cancels Team at the  | Team active, ending |         |                 |       |
           | period's end             |                     |         |                 |       |
    31     |                          | Team canceled       |         |                 |       | subscription.deleted
    41 +1h |                          |                     | 3 paid  | 4 × Extra 12.00 | 12.00 | invoice.paid
    50     | ada cancels Extra now    | Extra canceled      |         |                 |       | subscription.deleted
    90     |                          |                     |         |                 |       |
    """)
