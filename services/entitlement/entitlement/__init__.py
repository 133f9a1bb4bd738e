"""Entitlement: what each customer may do, and the events that prove it.

Invariants
- Newer never loses to older: a subscription's state is a function of the set of its events, in no order.
- What has ended stays ended: no late snapshot brings a subscription back.
- Dunning's newest word on an invoice holds, whatever order its words arrive in.
- One writer at a time: a customer's row changes only from the revision it was read at.
- Every verdict carries the rule, the catalog version and the ids of the events that lead to it.
"""
