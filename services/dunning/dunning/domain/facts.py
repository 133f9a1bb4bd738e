"""What is known of an invoice's payment, in a form that cannot depend on the order of telling.

Every field joins with its other self by an operation that is commutative, associative and idempotent:
the greatest, the earliest, the union. So any order of arrival, with any duplicates, ends in the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Protocol, Self, TypeVar

from dunning.domain.decline import Decline


class Comparable(Protocol):
    def __lt__(self, other: Self, /) -> bool: ...


T = TypeVar("T", bound=Comparable)


class End(IntEnum):
    """How the matter ended. The greater wins: what is written off may still be paid, but paid stays paid."""

    WRITTEN_OFF = 1
    CUSTOMER_GONE = 2
    CREDITED = 3
    VOIDED = 4
    PAID = 5


@dataclass(frozen=True, slots=True, order=True)
class Attempt:
    """The newest word on the attempts; the greatest is the newest, whatever order they are told in."""

    number: int  # attempt_count; manual attempts after the first do not raise it
    at: datetime
    event: str  # settles a tie within a second, the same way in every order
    final: bool  # Stripe plans no further attempt


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything dunning has been told about one invoice."""

    customer: str = ""
    subscription: str = ""
    sold: frozenset[str] = frozenset()  # prices and products on the invoice: they choose the policy
    attempts: int = 0  # the highest Stripe has told us; late news never lowers it
    failed_at: datetime | None = None  # the earliest failure: grace is counted from here
    latest: Attempt | None = None
    decline: Decline | None = None
    gave_up: bool = False  # Stripe marked it uncollectible because its attempts had run out
    grace_ended: datetime | None = None  # the latest deadline whose timer has come due
    end: End | None = None

    def joined(self, other: Facts) -> Facts:
        """All that either knows."""
        return Facts(
            customer=max(self.customer, other.customer),
            subscription=max(self.subscription, other.subscription),
            sold=self.sold | other.sold,
            attempts=max(self.attempts, other.attempts),
            failed_at=_earliest(self.failed_at, other.failed_at),
            latest=_greatest(self.latest, other.latest),
            decline=_greatest(self.decline, other.decline),
            gave_up=self.gave_up or other.gave_up,
            grace_ended=_greatest(self.grace_ended, other.grace_ended),
            end=_greatest(self.end, other.end),
        )

    @property
    def final(self) -> bool:
        """Whether Stripe will try no more on its own."""
        return self.gave_up or (self.latest is not None and self.latest.final)


def _greatest(a: T | None, b: T | None) -> T | None:
    if a is None or b is None:
        return b if a is None else a
    return b if a < b else a


def _earliest(a: datetime | None, b: datetime | None) -> datetime | None:
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)
