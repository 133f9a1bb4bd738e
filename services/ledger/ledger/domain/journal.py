"""The journal as values: lines that balance, the facts they tell, and the book of one family of facts.

Line → Posting → Book. A rule reads an event against the book of its family and tells postings, or why there
are none. A posting is named by its fact, not by the event that brought it: the fact happens once (I4).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from operator import attrgetter

import orjson

from ledger.domain.chart import Account
from millrace.errors import Poison
from millrace.events import Event, instant
from millrace.money import Money


@dataclass(frozen=True, slots=True)
class Tags:
    """What a line is about; reports and later postings find it by these."""

    customer: str | None = None
    invoice: str | None = None
    line: str | None = None  # the invoice line it came from
    sub_item: str | None = None
    open_item: str | None = None  # what both sides of a clearing account name: payment intent, charge, refund
    service_from: datetime | None = None  # the period that deferred revenue is earned over
    service_to: datetime | None = None


LARGEST = 10**15  # minor units; far beyond any invoice, and sums of many still fit

UNTAGGED = Tags()
TAGS = attrgetter(*(tag.name for tag in fields(Tags)))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a journal entry: debits are positive, credits negative."""

    account: Account
    money: Money
    tags: Tags = UNTAGGED


def debit(account: Account, money: Money, tags: Tags = UNTAGGED) -> Line:
    """A line on the left side."""
    return Line(account, money, tags)


def credit(account: Account, money: Money, tags: Tags = UNTAGGED) -> Line:
    """A line on the right side."""
    return Line(account, -money, tags)


@dataclass(frozen=True, slots=True)
class Posting:
    """One journal transaction. `content_hash` covers everything it says, whatever the order of its lines."""

    fact: str  # natural key: object and transition
    kind: str
    effective_at: datetime  # when Stripe says it happened
    lines: tuple[Line, ...]
    reverses: str | None = None  # the fact that this one undoes
    content_hash: bytes = field(default=b"", compare=False)

    def on(self, account: Account) -> int:
        """What this posting does to an account, over all its lines of one currency."""
        return sum(line.money.amount_minor for line in self.lines if line.account is account)


def posting(
    fact: str, kind: str, effective_at: datetime, lines: Iterable[Line], reverses: str | None = None
) -> Posting:
    """A posting that balances, without empty lines. Raises Poison when it does not, or an amount is absurd."""
    kept = tuple(line for line in lines if line.money.amount_minor)
    if any(abs(line.money.amount_minor) > LARGEST for line in kept):
        raise Poison(f"{fact} has an amount that no account can hold")
    sums: Counter[str] = Counter()
    for line in kept:
        sums[line.money.currency] += line.money.amount_minor
    if off := {currency: amount for currency, amount in sums.items() if amount}:
        raise Poison(f"{fact} does not balance: {off}")
    told = Posting(fact, kind, effective_at, kept, reverses)
    return replace(told, content_hash=content_hash(told))


def content_hash(told: Posting) -> bytes:
    """SHA-256 over the canonical header and lines."""
    lines = sorted(orjson.dumps(_plain(line)) for line in told.lines)
    header = orjson.dumps([told.fact, told.kind, instant(told.effective_at), told.reverses])
    return hashlib.sha256(b"\n".join([header, *lines])).digest()


def _plain(line: Line) -> list[str | int | None]:
    plain = [instant(tag) if isinstance(tag, datetime) else tag for tag in TAGS(line.tags)]
    return [int(line.account), line.money.currency, line.money.amount_minor, *plain]


def reversal(lines: Iterable[Line], swap: Mapping[Account, Account] | None = None) -> list[Line]:
    """The lines that undo these, equal ones merged. `swap` sends an account's reversal to another one."""
    sums: dict[Line, int] = {}
    for line in lines:
        account = (swap or {}).get(line.account, line.account)
        bare = replace(line, account=account, money=Money(0, line.money.currency))
        sums[bare] = sums.get(bare, 0) - line.money.amount_minor
    return [replace(bare, money=Money(amount, bare.money.currency)) for bare, amount in sums.items()]


@dataclass(frozen=True, slots=True)
class Book:
    """What is posted about one family: the facts that must see each other.

    `added` are the postings of the last event alone: what has to be written for it.
    """

    facts: Mapping[str, Posting] = field(default_factory=dict)
    added: tuple[Posting, ...] = ()

    def of(self, *kinds: str) -> list[Posting]:
        """The postings of these kinds, in the order of their facts' names, so that arrival plays no part."""
        return [self.facts[fact] for fact in sorted(self.facts) if self.facts[fact].kind in kinds]


@dataclass(frozen=True, slots=True)
class Wait:
    """Another fact of the same family has to come first."""

    reason: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to post, and this is why."""

    reason: str


Told = Sequence[Posting] | Wait | Nothing
Rule = Callable[[Book, Event], Told]


class Conflict(Poison):
    """One fact was told twice with different content: neither is skipped, neither is guessed to be right."""


def enter(book: Book, told: Iterable[Posting]) -> Book:
    """The book with the facts it did not have. Raises Conflict when it has one with other content."""
    facts, added = dict(book.facts), []
    for one in told:
        known = facts.get(one.fact)
        if known is None:
            facts[one.fact] = one
            added.append(one)
        elif known.content_hash != one.content_hash:
            raise Conflict(f"{one.fact} is posted with other content: {_difference(known, one)}")
    return Book(facts, tuple(added))


def _difference(known: Posting, other: Posting) -> str:
    if sorted(map(_sums, known.lines)) != sorted(map(_sums, other.lines)):
        return "amounts differ"
    return "dates differ" if known.effective_at != other.effective_at else "references differ"


def _sums(line: Line) -> tuple[int, str, int]:
    return int(line.account), line.money.currency, line.money.amount_minor
