"""The ledger's public face for the operators' commands. Every function takes a connection of the ledger's role."""

from ledger.commands.books import (
    Balance,
    Clearing,
    Drift,
    OpenItem,
    Unbalanced,
    Waiting,
    clearing,
    digest,
    drift,
    receivable,
    trial_balance,
    unbalanced,
    waiting,
)
from ledger.commands.rebuilding import COMPARED, rebuilt
from ledger.commands.refusals import Attempt, refused
from ledger.store import SCHEMA
from millrace.topics import STRIPE_BILLING, STRIPE_PAYMENTS

TOPICS = (STRIPE_BILLING, STRIPE_PAYMENTS)  # what this consumer reads

__all__ = [
    "COMPARED",
    "SCHEMA",
    "TOPICS",
    "Attempt",
    "Balance",
    "Clearing",
    "Drift",
    "OpenItem",
    "Unbalanced",
    "Waiting",
    "clearing",
    "digest",
    "drift",
    "rebuilt",
    "receivable",
    "refused",
    "trial_balance",
    "unbalanced",
    "waiting",
]
