"""Companies: a seed is a whole story, every life is lived, and what is told is what Stripe could tell."""

from __future__ import annotations

from collections import Counter

import pytest

from millrace_lab.account import Account, Told
from millrace_lab.rendering import shown
from millrace_lab.storm.companies import Company, Persona
from millrace_lab.storm.rare_lives import EVERYBODY
from tests.support.stripe_spec import problems


def told(account: Account) -> list[object]:
    return [(each.id, each.type, each.created, each.object) for each in account.events]


def test_one_seed_is_one_story_and_another_seed_another() -> None:
    first, again, other = (Company(seed, 40, 12, EVERYBODY).play() for seed in (5, 5, 6))
    assert told(first) == told(again)
    assert told(first) != told(other)


def test_whoever_stays_away_changes_nothing_for_the_others() -> None:
    everybody = Company(5, 40, 12, EVERYBODY).play()
    fewer = Company(5, 40, 12, EVERYBODY, without={3, 4}).play()
    gone = ("billing+3@storm.example", "billing+4@storm.example")
    expected = {name: life for name, life in lived(everybody).items() if name not in gone}
    assert lived(fewer) == expected


def lived(account: Account) -> dict[str, list[tuple[int, str]]]:
    """What was told of each customer, by the customer's address, when and of which type."""
    names = {
        told.object["id"]: told.object["email"] for told in account.events if told.type == "customer.created"
    }
    found: dict[str, list[tuple[int, str]]] = {name: [] for name in names.values()}
    for each in account.events:
        if (name := names.get(each.object.get("customer", ""))) is not None:
            found[name].append((each.created, each.type))
    return found


# What each life must bring about among twelve who live it, or it is not the life that it says it is.
SHOWS: dict[str, set[str]] = {
    "steady": {"invoice.paid"},
    "discounted": {"customer.discount.created"},
    "seats": {"customer.subscription.updated", "invoiceitem.created"},
    "upgrades": {"customer.subscription.updated", "invoiceitem.created"},
    "downgrades": {"customer.subscription.updated", "invoiceitem.created"},
    "tries_it": {"customer.subscription.trial_will_end", "customer.subscription.deleted"},
    "tries_it_without_card": {"customer.subscription.paused", "customer.subscription.resumed"},
    "retries": {"invoice.payment_failed", "invoice.paid"},
    "brings_another_card": {"invoice.payment_failed", "payment_method.attached"},
    "never_pays_again": {
        "invoice.payment_failed",
        "customer.subscription.deleted",
        "invoice.marked_uncollectible",
    },
    "pays_after_all": {"invoice.payment_failed", "invoice.paid"},
    "never_paid": {"invoice.payment_failed", "invoice.voided"},
    "leaves": {"customer.subscription.deleted"},
    "leaves_at_once": {"customer.subscription.deleted"},
    "is_refunded": {"refund.created", "refund.updated", "refund.failed"},
    "is_forgiven": {"invoice.voided", "invoice.marked_uncollectible"},
    "is_credited": {"credit_note.created", "credit_note.voided"},
    "pauses_collection": {"invoice.voided", "invoice.marked_uncollectible"},
    "pauses": {"customer.subscription.paused", "customer.subscription.resumed"},
    "pays_outside": {"invoice.payment_failed", "invoice.paid"},
    "goes_for_good": {"customer.deleted", "customer.subscription.deleted"},
    "is_taxed": {"invoice.payment_failed", "invoiceitem.created"},
    "settles_abroad": {"refund.created"},
    "subscribes_twice": {"customer.subscription.deleted"},
    "is_measured": {"invoice.paid"},
    "has_credit": {"customer.updated"},
    "downgrades_to_credit": {"invoiceitem.created", "customer.updated"},
    "must_authenticate": {"invoice.payment_failed", "invoice.paid"},
    "disputes": {"charge.dispute.created", "charge.dispute.closed", "charge.dispute.funds_withdrawn"},
    "is_sent_invoices": {"invoice.sent", "invoice.overdue"},
    "buys_once": {"invoiceitem.created"},
    "goes_annual": {"customer.subscription.updated"},
    "is_scheduled": {"subscription_schedule.created", "customer.subscription.updated"},
}


@pytest.mark.parametrize("life", EVERYBODY, ids=lambda life: life.__name__)
def test_every_life_is_lived_and_told_as_stripe_would(life: Persona) -> None:
    wrong: Counter[str] = Counter()

    def hear(each: Told) -> None:
        wrong.update(
            f"{each.type}: {problem}" for problem in ([] if each.thin else problems(shown(each.object)))
        )

    account = Company(2, 75, 12, [life]).play(hear=hear)
    assert SHOWS[life.__name__] <= {each.type for each in account.events}
    assert wrong == {}
