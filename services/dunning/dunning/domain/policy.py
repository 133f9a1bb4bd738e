"""How patient to be with whom: the first policy that names something on the invoice, or the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from dunning.domain.decline import Kind

Access = Literal["given", "restricted"]


@dataclass(frozen=True, slots=True)
class Policy:
    """One row of the company's dunning rules. Units: whole days of 24 hours."""

    name: str
    grace_days: int  # from the first failure
    after_grace: Access  # 'given' only watches: the case stays open, access is never touched
    written_off: Access  # once the invoice is uncollectible
    declines: Mapping[Kind, int]  # grace_days for a kind of decline that deserves more or less
    applies_to: frozenset[str] = frozenset()  # price ids, lookup keys or product ids

    def grace(self, kind: Kind) -> timedelta:
        return timedelta(days=self.declines.get(kind, self.grace_days))


@dataclass(frozen=True, slots=True)
class Policies:
    """All rules in force, in the order in which they are tried."""

    default: Policy
    plans: tuple[Policy, ...] = ()

    def of(self, sold: frozenset[str]) -> Policy:
        """The policy for an invoice with these prices and products on it."""
        return next((plan for plan in self.plans if plan.applies_to & sold), self.default)
