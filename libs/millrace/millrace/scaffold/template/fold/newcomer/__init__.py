"""newcomer: what each customer has paid.

Invariants
- An invoice that was paid is counted once, however often and in whatever order Stripe's events arrive.
- Every time comes from an event; nothing here asks a clock.
"""
