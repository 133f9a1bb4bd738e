"""The rules of entitlement, pure.

subscription   what one event shows of a subscription
newer          which of several snapshots stands
plans          the catalog: what a plan gives
access         subscriptions + restrictions + catalog -> verdicts
customer       the state of one customer, and how each event changes it
"""
