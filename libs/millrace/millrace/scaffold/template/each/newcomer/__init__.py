"""newcomer: when each new customer gets a first letter.

Invariants
- A customer gets one first letter, however often Stripe's event arrives.
- Every time comes from an event; nothing here asks a clock.
"""
