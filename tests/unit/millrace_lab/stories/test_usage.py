"""Stories of usage: what is included, what comes late, and credits that were bought for it.

Usage is billed in arrears: July's on the invoice of 1 August (day 31), which becomes final an hour later.
Source: docs.stripe.com/billing/subscriptions/usage-based.
"""

from __future__ import annotations

from tests.unit.millrace_lab.stories.stage import Stage


def test_usage_beyond_the_allowance() -> None:
    """A thousand calls are included in every month, each further one is 0.02: graduated tiers, a line each.

    July: 700 + 800 = 1500, so 1000 free and 500 x 0.02 = 10.00. August: 900, all included.
    """
    company = Stage(hears="invoice.paid")
    company.sells("Team", "10.00")
    company.measures(
        "calls",
        None,
        billing_scheme="tiered",
        tiers_mode="graduated",
        tiers=[{"up_to": "1000", "unit_amount": "0"}, {"up_to": "inf", "unit_amount": "2"}],
    )
    company.plays("""
    day    | what happens        | invoice | lines             | total | told
    0      | ada has a card      |         |                   |       |
    0      | ada subscribes to 3 | 1 paid  | 3 x Team 30.00    | 30.00 | invoice.paid
           | Team + calls        |         |                   |       |
    5      | ada uses 700 calls  |         |                   |       |
    20     | ada uses 800 calls  |         |                   |       |
    31 +1h |                     | 2 paid  | 1000 x calls 0.00 | 40.00 | invoice.paid
           |                     |         | 500 x calls 10.00 |       |
           |                     |         | 3 x Team 30.00    |       |
    40     | ada uses 900 calls  |         |                   |       |
    62 +1h |                     | 3 paid  | 900 x calls 0.00  | 30.00 | invoice.paid
           |                     |         | 3 x Team 30.00    |       |
    """)


def test_usage_that_comes_late() -> None:
    """While the invoice is a draft, late usage of its period is still billed: 400 + 100 = 500 x 0.05 = 25.00.

    What comes for that period once the invoice is final is on no invoice.
    Source: docs.stripe.com/billing/subscriptions/usage-based/recording-usage.
    """
    company = Stage(hears="invoice.created invoice.paid")
    company.measures("calls", "0.05")
    company.plays("""
    day     | what happens          | invoice | lines             | total | told
    0       | ada has a card        |         |                   |       |
    0       | ada subscribes to     |         |                   |       |
            | calls                 |         |                   |       |
    10      | ada uses 400 calls    |         |                   |       |
    31      |                       | 1 draft | 400 x calls 20.00 | 20.00 | invoice.created
    31 +30m | ada uses 100 calls on |         |                   |       |
            | day 30                |         |                   |       |
    31 +1h  |                       | 1 paid  | 500 x calls 25.00 | 25.00 | invoice.paid
    32      | ada uses 60 calls on  |         |                   |       |
            | day 30                |         |                   |       |
    33      | ada uses 40 calls     |         |                   |       |
    62 +1h  |                       | 2 paid  | 40 x calls 2.00   | 2.00  | invoice.created
            |                       |         |                   |       | invoice.paid
    """)


def test_credits_are_drawn_and_then_expire() -> None:
    """50.00 were bought. July's 300 x 0.10 = 30.00 is drawn from them; what is left, 20.00, ends on day 45.

    August's 30.00 is then paid in money. Source: docs.stripe.com/billing/subscriptions/usage-based/billing-credits.
    """
    company = Stage(hears="charge.succeeded invoice.paid")
    company.measures("calls", "0.10")
    company.plays("""
    day    | what happens       | credits | moved         | invoice | lines             | total | told
    0      | ada has a card     |         |               |         |                   |       |
    0      | we grant ada 50.00 | 50.00   | granted 50.00 |         |                   |       |
           | until day 45       |         |               |         |                   |       |
    0      | ada subscribes to  |         |               |         |                   |       |
           | calls              |         |               |         |                   |       |
    10     | ada uses 300 calls |         |               |         |                   |       |
    31 +1h |                    | 20.00   | applied 30.00 | 1 paid  | 300 x calls 30.00 | 0.00  | invoice.paid
    45     |                    | 0.00    | expired 20.00 |         |                   |       |
    50     | ada uses 300 calls |         |               |         |                   |       |
    62 +1h |                    |         |               | 2 paid  | 300 x calls 30.00 | 30.00 | charge.succeeded
           |                    |         |               |         |                   |       | invoice.paid
    """)
