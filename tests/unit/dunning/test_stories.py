"""Stories of unpaid invoices, each a table that a billing expert can check line by line.

Left of the bar: the day and the event in words (see `told`). Right: where the case stands after it.
`-` is no case. Policies: 7 days of grace, 3 after a hard decline, 10 when the bank wants authentication.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from dunning.domain import Case
from tests.unit.dunning.runner import judge
from tests.unit.dunning.told import told

STORIES = """
a soft decline that recovers within grace
 0    failed 1                         | grace        1  given       applied  grace until 2026-03-08 00:00 UTC
 0    declined insufficient_funds      | grace        1  given       applied  insufficient_funds: soft
 3    failed 2                         | grace        2  given       applied  grace until 2026-03-08 00:00 UTC
 5    paid 3                           | recovered    3  given       applied  paid

nobody pays: restricted when grace ends, exhausted when Stripe tries no more
 0    failed 1                         | grace        1  given       applied  policy default
 3    failed 2                         | grace        2  given       applied  grace until 2026-03-08
 7    timer 7                          | restricted   2  restricted  applied  Stripe will try again
 9    failed 3                         | restricted   3  restricted  applied  Stripe will try again
 14   failed 4 last                    | exhausted    4  restricted  applied  Stripe tries no more

the last attempt fails within grace: grace is kept as promised
 0    failed 1                         | grace        1  given       applied  grace until 2026-03-08
 5    failed 2 last                    | grace        2  given       applied  grace until 2026-03-08
 7    timer 7                          | exhausted    2  restricted  applied  Stripe tries no more

a success that is days late recovers, and failures that are later still change nothing
 0    failed 1                         | grace        1  given       applied  grace until
 7    timer 7                          | restricted   1  restricted  applied  grace ended on 2026-03-08
 9    paid 3                           | recovered    3  given       applied  paid
 9    failed 2                         | recovered    3  given       applied  paid
 9    failed 2                         | recovered    3  given       noop     already ended: recovered
 10   timer 7                          | recovered    3  given       noop     already ended: recovered

a success after exhaustion recovers
 0    failed 1                         | grace        1  given       applied  grace until
 7    timer 7                          | restricted   1  restricted  applied  grace ended
 14   failed 4 last                    | exhausted    4  restricted  applied  Stripe tries no more
 40   paid 4                           | recovered    4  given       applied  paid

a hard decline shortens grace
 0    declined lost_card               | -            0  given       applied  no payment has failed
 0    failed 1                         | grace        1  given       applied  policy default; lost_card: hard
 3    timer 3                          | restricted   1  restricted  applied  grace ended on 2026-03-04

after a hard decline the retries pass in silence: only the invoice tells that no more will come
 0    updated 0                        | -            0  given       noop     does not concern the retries
 0    failed 1                         | grace        1  given       applied  grace until
 0    declined lost_card               | grace        1  given       applied  policy default; lost_card: hard
 3    timer 3                          | restricted   1  restricted  applied  Stripe will try again
 9    updated 1                        | restricted   1  restricted  applied  Stripe will try again
 14   updated 1 last                   | exhausted    1  restricted  applied  Stripe tries no more

a decline told after its failure moves the deadline; the old timer then means nothing
 0    failed 1                         | grace        1  given       applied  grace until 2026-03-08
 1    declined authentication_required | grace        1  given       applied  authentication_required: auth
 7    timer 7                          | grace        1  given       applied  grace until 2026-03-11
 10   timer 10                         | restricted   1  restricted  applied  grace ended on 2026-03-11

the customer renews the card, and the new one has no money: the newest reason decides
 0    failed 1                         | grace        1  given       applied  grace until 2026-03-08
 0    declined lost_card               | grace        1  given       applied  grace until 2026-03-04
 3    timer 3                          | restricted   1  restricted  applied  grace ended on 2026-03-04
 4    declined insufficient_funds      | grace        1  given       applied  grace until 2026-03-08
 7    timer 7                          | restricted   1  restricted  applied  grace ended on 2026-03-08

a void within grace closes the case
 0    failed 1                         | grace        1  given       applied  grace until
 2    voided                           | closed       1  given       applied  voided: nothing is owed
 7    timer 7                          | closed       1  given       noop     already ended: closed

a void after restriction gives access back
 0    failed 1                         | grace        1  given       applied  grace until
 7    timer 7                          | restricted   1  restricted  applied  grace ended
 8    voided                           | closed       1  given       applied  voided: nothing is owed

written off, and paid after all
 0    failed 1                         | grace        1  given       applied  grace until
 7    timer 7                          | restricted   1  restricted  applied  grace ended
 20   uncollectible user_forgiven      | written_off  1  restricted  applied  written off as uncollectible
 30   paid 1                           | recovered    1  given       applied  paid

Stripe gives up and marks the invoice uncollectible: exhausted, once grace is over
 0    failed 1                         | grace        1  given       applied  grace until
 5    uncollectible max_payment_attempts | grace      1  given       applied  grace until
 7    timer 7                          | exhausted    1  restricted  applied  Stripe tries no more

uncollectible because collection was paused opens no case
 0    uncollectible subscription_paused | -           0  given       applied  no payment has failed

credited in full: nothing is owed, whichever event tells it
 0    failed 1                         | grace        1  given       applied  grace until
 1    credit-note -                    | grace        1  given       noop     does not tell
 1    credit-note 900                  | grace        1  given       noop     does not tell
 1    credit-note 0                    | closed       1  given       applied  credited in full
 1    paid 1 credited                  | closed       1  given       noop     already ended: closed

settled by credit notes alone is closed, not recovered
 0    failed 1                         | grace        1  given       applied  grace until
 1    paid 1 credited                  | closed       1  given       applied  credited in full

a first payment that fails opens no case
 0    failed 1 first                   | -            0  given       noop     a first invoice
 0    declined insufficient_funds      | -            0  given       applied  no payment has failed

a first invoice paid at its creation has no attempts
 0    paid 0                           | -            0  given       applied  no payment has failed

the same event twice, and an older attempt that is late
 0    failed 2                         | grace        2  given       applied  grace until 2026-03-08
 0    failed 2                         | grace        2  given       noop     this was known already
 -3   failed 1                         | grace        2  given       applied  grace until 2026-03-05
"""


class Line(NamedTuple):
    day: float
    words: str
    stage: str
    attempts: int
    access: str
    outcome: str
    why: str


def stories() -> Iterator[tuple[str, list[Line]]]:
    """Each story with its lines."""
    for block in STORIES.strip().split("\n\n"):
        title, *rows = block.splitlines()
        yield title, [_line(row) for row in rows]


def _line(row: str) -> Line:
    event, after = row.split(" | ")
    number, words = event.split(maxsplit=1)
    stage, attempts, access, outcome, why = after.split(maxsplit=4)
    return Line(float(number), words.strip(), stage, int(attempts), access, outcome, why)


@pytest.mark.parametrize(("title", "lines"), [pytest.param(*story, id=story[0]) for story in stories()])
def test_the_story_goes_as_told(title: str, lines: list[Line]) -> None:
    case: Case | None = None
    for line in lines:
        decision = judge(case, told(line.words, line.day))
        case = decision.state or case
        stands = case.standing if case else None
        seen = (
            (stands.stage or "-", case.facts.attempts, stands.access)
            if case and stands
            else ("-", 0, "given")
        )
        assert (*seen, decision.outcome) == (line.stage, line.attempts, line.access, line.outcome), line
        assert line.why in decision.reason, line


def test_every_story_is_told() -> None:
    assert len(list(stories())) == 19
