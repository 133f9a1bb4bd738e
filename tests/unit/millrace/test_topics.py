"""Topics: each named once, with a policy a broker understands."""

from __future__ import annotations

import re

from millrace import topics
from millrace.topics import TOPICS, dead_letter


def test_every_name_that_code_may_use_is_a_topic_with_a_policy() -> None:
    constants = {value for name, value in vars(topics).items() if name.isupper() and isinstance(value, str)}
    letters = {dead_letter(consumer) for consumer in ("entitlement", "ledger", "dunning", "outbox-relay")}
    assert [t.name for t in TOPICS] == list(dict.fromkeys(t.name for t in TOPICS))
    assert {t.name for t in TOPICS} == constants | letters


def test_names_are_legal_in_kafka_and_never_mix_dot_and_underscore() -> None:
    for topic in TOPICS:
        assert re.fullmatch(r"[a-z][a-z.-]{0,248}", topic.name), topic.name


def test_a_topic_forgets_after_its_days_or_keeps_the_newest_of_each_key() -> None:
    policies = {t.name: t.config() for t in TOPICS}
    assert policies["stripe.billing"] == {"cleanup.policy": "delete", "retention.ms": "2592000000"}
    assert policies["ledger.dead-letter"] == {"cleanup.policy": "delete", "retention.ms": "7776000000"}
    assert policies["entitlement.state"] == {"cleanup.policy": "compact"}
    assert policies["millrace.relay.cursor"] == {"cleanup.policy": "compact"}


def test_the_relays_cursor_has_one_partition_and_so_one_order() -> None:
    assert {t.name: t.partitions for t in TOPICS if t.partitions} == {"millrace.relay.cursor": 1}
