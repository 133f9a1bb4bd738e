"""Stories of single invoices: credited, voided, negative, with taxes, in currencies without cents or with more."""

from __future__ import annotations

from tests.unit.millrace_lab.stories.stage import Stage


def test_credit_notes_over_a_paid_invoice() -> None:
    """With 20 % on top: 100.00 + 50.00 = 150.00, tax 30.00, total 180.00.

    Half the book is refunded with its tax: 25.00 + 5.00 = 30.00. Half the workshop goes to the balance:
    50.00 + 10.00 = 60.00. 90.00 are left to credit, 75.00 before tax. Stripe's fee is 180.00 x 2.9 % + 0.30 = 5.52,
    so 174.48 is ours, and after the refund 144.48. Source: docs.stripe.com/invoicing/credit-notes.
    """
    company = Stage(hears="credit_note.created refund.created charge.refunded invoice.paid invoice.voided")
    company.taxes("vat", "20", inclusive=False)
    company.plays("""
    day | what happens          | invoice | total  | credited | note  | balance | stripe | refused | told
    0   | ada has a card        |         |        |          |       | 0.00    | 0.00   |         |
    0   | we note 100.00 for    |         |        |          |       |         |        |         |
        | Workshop on ada's     |         |        |          |       |         |        |         |
        | account               |         |        |          |       |         |        |         |
    0   | we note 50.00 for     |         |        |          |       |         |        |         |
        | Book on ada's account |         |        |          |       |         |        |         |
    0   | we charge ada, with   | 1 paid  | 180.00 | 0.00     |       |         | 174.48 |         | invoice.paid
        | tax txr_vat           |         |        |          |       |         |        |         |
    3   | we credit 25.00 of    | 1 paid  | 180.00 | 30.00    | 30.00 |         | 144.48 |         | refund.created
        | Book on invoice 1 and |         |        |          |       |         |        |         | charge.refunded
        | refund 30.00          |         |        |          |       |         |        |         | credit_note.created
    4   | we credit 50.00 of    | 1 paid  | 180.00 | 90.00    | 60.00 | -60.00  |        |         | credit_note.created
        | Workshop on invoice 1 |         |        |          |       |         |        |         |
        | and owe 60.00         |         |        |          |       |         |        |         |
    5   | we credit 100.00 of   |         |        |          |       |         |        | 400     |
        | Workshop on invoice 1 |         |        |          |       |         |        |         |
        | and owe 120.00        |         |        |          |       |         |        |         |
    """)


def test_a_voided_invoice_gives_back_the_balance_that_it_took() -> None:
    """10.00 of credit leave 30.00 due of 40.00. Void is final. Source: docs.stripe.com/api/invoices/void."""
    company = Stage(hears="invoice.voided invoice.paid payment_intent.canceled")
    company.plays("""
    day | what happens         | invoice | total | due   | balance | refused | told
    0   | ada has a card       |         |       |       | 0.00    |         |
    0   | we give ada a credit |         |       |       | -10.00  |         |
        | of 10.00             |         |       |       |         |         |
    0   | we note 40.00 for    |         |       |       |         |         |
        | Workshop on ada's    |         |       |       |         |         |
        | account              |         |       |       |         |         |
    1   | we bill ada          | 1 open  | 40.00 | 30.00 | 0.00    |         |
    5   | we void invoice 1    | 1 void  | 40.00 | 30.00 | -10.00  |         | payment_intent.canceled
        |                      |         |       |       |         |         | invoice.voided
    6   | ada pays invoice 1   |         |       |       |         | 400     |
    """)


def test_a_negative_invoice() -> None:
    """What is owed to the customer becomes a credit, which the next invoice takes: 25.00 - 20.00 = 5.00.

    What waited is listed newest first (Stripe's description of `invoice.lines`).
    Source: docs.stripe.com/billing/customer/balance.
    """
    company = Stage(hears="invoice.paid charge.succeeded")
    company.plays("""
    day | what happens          | invoice | lines           | total  | due  | balance | told
    0   | ada has a card        |         |                 |        |      | 0.00    |
    0   | we note 10.00 for     |         |                 |        |      |         |
        | Book on ada's account |         |                 |        |      |         |
    1   | we note -30.00 for    |         |                 |        |      |         |
        | Goodwill on ada's     |         |                 |        |      |         |
        | account               |         |                 |        |      |         |
    1   | we charge ada         | 1 paid  | Goodwill -30.00 | -20.00 | 0.00 | -20.00  | invoice.paid
        |                       |         | Book 10.00      |        |      |         |
    9   | we note 25.00 for     |         |                 |        |      |         |
        | Workshop on ada's     |         |                 |        |      |         |
        | account               |         |                 |        |      |         |
    9   | we charge ada         | 2 paid  | Workshop 25.00  | 25.00  | 5.00 | 0.00    | charge.succeeded
        |                       |         |                 |        |      |         | invoice.paid
    """)


def test_taxes_on_top_and_within() -> None:
    """19 % on top of 100.00 are 19.00; 19 % within 119.00 are 119.00 x 19/119 = 19.00.

    On top of 12.34 they are 2.3446; within 12.34 they are 12.34 x 19/119 = 1.9703, and the price stays the same.
    Of no tax at all there is nothing. Source: docs.stripe.com/billing/taxes/tax-rates.
    """
    company = Stage("eur", hears="invoice.paid")
    company.taxes("ontop", "19", inclusive=False)
    company.taxes("within", "19", inclusive=True)
    company.sells("Team", "100.00")
    company.sells("Large", "119.00")
    company.sells("Odd", "12.34")
    company.plays("""
    day | what happens        | invoice | lines            | tax   | total  | due    | told
    0   | ada has a card      |         |                  |       |        |        |
    0   | ada subscribes to 1 | 1 paid  | 1 x Team 100.00  | 19.00 | 119.00 | 119.00 | invoice.paid
        | Team, with tax      |         |                  |       |        |        |
        | txr_ontop           |         |                  |       |        |        |
    0   | ada subscribes to 1 | 2 paid  | 1 x Large 119.00 | 19.00 | 119.00 | 119.00 | invoice.paid
        | Large, with tax     |         |                  |       |        |        |
        | txr_within          |         |                  |       |        |        |
    0   | ada subscribes to 1 | 3 paid  | 1 x Odd 12.34    | 2.34  | 14.68  | 14.68  | invoice.paid
        | Odd, with tax       |         |                  |       |        |        |
        | txr_ontop           |         |                  |       |        |        |
    1   | ada subscribes to 1 | 4 paid  | 1 x Odd 12.34    | 1.97  | 12.34  | 12.34  | invoice.paid
        | Odd, with tax       |         |                  |       |        |        |
        | txr_within          |         |                  |       |        |        |
    2   | ada subscribes to 1 | 5 paid  | 1 x Odd 12.34    | 0.00  | 12.34  | 12.34  | invoice.paid
        | Odd                 |         |                  |       |        |        |
    """)


def test_taxes_are_prorated_with_their_lines() -> None:
    """Day 10, 21 of 31 days: 100.00 x 21/31 = 67.7419 back, 200.00 x 21/31 = 135.4839 ahead, net 67.74.

    19 % a line: 67.74 x 0.19 = 12.8706 back, 135.48 x 0.19 = 25.7412 ahead; 25.74 - 12.87 = 12.87.
    """
    company = Stage("eur", hears="invoice.paid")
    company.taxes("ontop", "19", inclusive=False)
    company.sells("Team", "100.00")
    company.plays("""
    day | what happens        | invoice | lines                  | tax   | total  | told
    0   | ada has a card      |         |                        |       |        |
    0   | ada subscribes to 1 | 1 paid  | 1 x Team 100.00        | 19.00 | 119.00 | invoice.paid
        | Team, with tax      |         |                        |       |        |
        | txr_ontop           |         |                        |       |        |
    10  | ada changes to 2    | 2 paid  | unused 1 x Team -67.74 | 12.87 | 80.61  | invoice.paid
        | Team, prorated at   |         | rest 2 x Team 135.48   |       |        |
        | once                |         |                        |       |        |
    """)


def test_a_currency_without_cents() -> None:
    """Day 10: 3000 x 21/31 = 2032.26 back, 5000 x 21/31 = 3387.10 ahead. Source: docs.stripe.com/currencies."""
    company = Stage("jpy", hears="invoice.paid")
    company.sells("Team", "1000")
    company.plays("""
    day | what happens        | invoice | lines                 | total | paid | told
    0   | ada has a card      |         |                       |       |      |
    0   | ada subscribes to 3 | 1 paid  | 3 x Team 3000         | 3000  | 3000 | invoice.paid
        | Team                |         |                       |       |      |
    10  | ada changes to 5    | 2 paid  | unused 3 x Team -2032 | 1355  | 1355 | invoice.paid
        | Team, prorated at   |         | rest 5 x Team 3387    |       |      |
        | once                |         |                       |       |      |
    """)


def test_a_currency_with_thousandths() -> None:
    """Amounts of dinars end in 0, computed ones too: of 10.250, 5 % are 0.5125, rounded to 0.510.

    Day 10: 10.250 x 21/31 = 6.9435 back, 20.500 x 21/31 = 13.8871 ahead; 5 % of 6.940 are 0.3470 back, of 13.890
    0.6945 ahead, 0.690 - 0.350 = 0.340. Source: docs.stripe.com/currencies; that lines are rounded so: our reading.
    """
    company = Stage("kwd", hears="invoice.paid")
    company.taxes("ontop", "5", inclusive=False)
    company.sells("Team", "10.250")
    company.plays("""
    day | what happens        | invoice | lines                  | tax   | total  | paid   | told
    0   | ada has a card      |         |                        |       |        |        |
    0   | ada subscribes to 1 | 1 paid  | 1 x Team 10.250        | 0.510 | 10.760 | 10.760 | invoice.paid
        | Team, with tax      |         |                        |       |        |        |
        | txr_ontop           |         |                        |       |        |        |
    10  | ada changes to 2    | 2 paid  | unused 1 x Team -6.940 | 0.340 | 7.290  | 7.290  | invoice.paid
        | Team, prorated at   |         | rest 2 x Team 13.890   |       |        |        |
        | once                |         |                        |       |        |        |
    """)
