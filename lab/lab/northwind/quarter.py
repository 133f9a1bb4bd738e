"""A believable quarter of a small SaaS company: Northwind Boards, 91 days from 1 July 2026.

`build(seed)` plays the lives of its customers on the double and returns every event that it told, in order
of time and as it is delivered, with what must be true at the end. The same seed makes the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lab.northwind import personas, truth
from lab.northwind.shop import Buyer, Life, Shop
from millrace_lab.account import DAY, Account, Told
from millrace_lab.api import Api
from millrace_lab.delivery.letters import envelope
from millrace_lab.errors import Body
from millrace_lab.periods import moment

START = datetime(2026, 7, 1, tzinfo=UTC)
DAYS = 91
CUSTOMERS = 220
PAYING_DAYS = 35  # whoever has a story that needs a renewal and a retry plan arrives this early
ARRIVAL_DAYS = 80

Persona = Callable[[Buyer], Life]

# How many of 220 customers live each life, and by which day they have arrived; the rest is steady.
ROSTER: tuple[tuple[Persona, int, int], ...] = (
    (personas.annual, 4, ARRIVAL_DAYS),
    (personas.discounted, 7, 60),
    (personas.settles_abroad, 6, 60),
    (personas.trial_converts, 24, 60),
    (personas.trial_canceled, 7, 60),
    (personas.trial_without_card, 5, 60),
    (personas.trial_paused_then_resumed, 4, 60),
    (personas.trial_payment_recovers, 3, 60),
    (personas.trial_payment_exhausted, 3, 50),
    (personas.seats_grow, 12, 45),
    (personas.seats_breathe, 8, 45),
    (personas.upgrades, 12, 45),
    (personas.downgrades, 6, 50),
    (personas.leaves_at_period_end, 10, 35),
    (personas.thinks_again, 3, 50),
    (personas.leaves_at_once, 5, 40),
    (personas.leaves_refunded, 3, ARRIVAL_DAYS),
    (personas.retry_recovers, 9, PAYING_DAYS),
    (personas.card_replaced, 5, PAYING_DAYS),
    (personas.hard_decline_replaced, 2, PAYING_DAYS),
    (personas.exhausted("canceled"), 3, PAYING_DAYS),
    (personas.exhausted("canceled", hard=True), 2, PAYING_DAYS),
    (personas.exhausted("unpaid"), 2, PAYING_DAYS),
    (personas.exhausted("written off"), 3, PAYING_DAYS),
    (personas.exhausted("paused"), 2, PAYING_DAYS),
    (personas.exhausted("left"), 2, PAYING_DAYS),
    (personas.late_success("canceled"), 2, PAYING_DAYS),
    (personas.late_success("unpaid"), 2, PAYING_DAYS),
    (personas.late_success("written off"), 2, PAYING_DAYS),
    (personas.upgrade_fails, 3, 50),
    (personas.first_payment_never, 4, ARRIVAL_DAYS),
    (personas.first_payment_second_try, 4, ARRIVAL_DAYS),
    (personas.refund_part, 5, 65),
    (personas.refund_fails, 3, 65),
    (personas.voided, 3, 45),
    (personas.forgiven, 2, 45),
    (personas.credited_before_payment, 3, 45),
    (personas.credited_in_full, 2, 45),
    (personas.credit_note_withdrawn, 2, 45),
    (personas.credited_after_payment, 4, 65),
    (personas.collection_paused("keep_as_draft"), 2, 40),
    (personas.collection_paused("mark_uncollectible"), 2, 40),
    (personas.collection_paused("void"), 2, 40),
    (personas.pauses, 3, 40),
    (personas.pauses_within_a_second, 1, 60),
)


@dataclass(frozen=True, slots=True)
class Quarter:
    """Events in order of their own second; the account they came from; what must be true at the end."""

    seed: int
    starts: datetime
    ends: datetime
    events: list[tuple[datetime, Body]] = field(repr=False)
    truth: truth.Truth = field(repr=False)
    account: Account = field(repr=False)  # its clock stands at the end, and it can live on
    api: Api = field(repr=False)


def build(seed: int = 1, customers: int = CUSTOMERS) -> Quarter:
    opens = int(START.timestamp())
    shop = Shop(seed, opens)
    chance = random.Random(seed)  # noqa: S311 - a story, not a secret
    for number, (persona, arrival_days) in enumerate(_cast(chance, customers), start=1):
        buyer = Buyer(shop, number)
        shop.enter(persona(buyer), opens + buyer.random.randint(60, arrival_days * DAY))
    shop.run(opens + DAYS * DAY)
    return Quarter(
        seed=seed,
        starts=START,
        ends=moment(opens + DAYS * DAY),
        events=delivered(shop.account),
        truth=truth.of(shop.account),
        account=shop.account,
        api=shop.api,
    )


def delivered(account: Account) -> list[tuple[datetime, Body]]:
    """Everything told, as it is delivered, in order of its second; within a second as it happened."""
    told: list[Told] = sorted(account.events, key=lambda each: each.created)
    return [(moment(each.created), envelope(account, each)) for each in told]


def _cast(chance: random.Random, customers: int) -> list[tuple[Persona, int]]:
    """Who lives which life: every kind at least once where there is room, in no particular order."""
    cast: list[tuple[Persona, int]] = []
    for persona, count, days in ROSTER:
        cast += [(persona, days)] * max(1, count * customers // CUSTOMERS)
    cast += [(personas.steady, ARRIVAL_DAYS)] * max(0, customers - len(cast))
    chance.shuffle(cast)
    return cast[:customers]
