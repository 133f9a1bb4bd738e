"""What a demo left can be rebuilt from its log: all three consumers, byte-identical, whoever was killed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.demo.story import company
from lab.stack import manage
from lab.stack.jars import CHECKOUT
from tests.e2e.demo import CONSUMERS, CUSTOMERS, Played, play, rebuilt, wrong

CHAOS = CHECKOUT / ".millrace" / "test-demo-rebuilt"

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_consumer_is_rebuilt_from_what_a_quiet_quarter_left(consumer: str, played: Played) -> None:
    told = rebuilt(played, consumer)
    assert told["events"] > 500
    assert {table["name"] for table in told["tables"]} > {f"{consumer}.processed_events", "outbox.event"}


@pytest.fixture
def folder() -> Iterator[Path]:
    yield CHAOS
    manage.down(CHAOS, wipe=True)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_a_consumer_is_rebuilt_after_every_process_was_killed(
    seed: int, folder: Path, tmp_path: Path
) -> None:
    result = play(company(seed, CUSTOMERS), folder, tmp_path / "env", chaos=seed)
    assert wrong(result.checks) == []
    for consumer in CONSUMERS:
        rebuilt(Played(result, folder, tmp_path / "env"), consumer)
