"""The ledger: every cent that Stripe tells of, posted once, in books that balance and are never edited.

- A fact happens once: by its natural key, whatever events tell it, in whatever order, however often.
- Every journal transaction sums to zero per currency; the database refuses any other.
- Nothing is updated or deleted; a correction is another posting that says what it reverses.
- The amounts are Stripe's. Where they disagree with themselves the event is parked and names the field.
- Billing and cash post apart and meet in clearing accounts, which return to zero when everything has arrived.
"""
