"""The rules of the books, pure: one noun of Stripe's a module.

chart      the accounts
journal    lines, postings, the book of one family, and what a rule may answer
invoice · payment · credit_note    the billing side
charge · refund · balance          the cash side
readings   what several of them read
"""
