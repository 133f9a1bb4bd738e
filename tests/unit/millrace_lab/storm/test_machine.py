"""The state machine finds nothing wrong with a careful receiver, and what is wrong with each of four others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from millrace_lab.storm import lives, oracle
from millrace_lab.storm.arrivals import Arrival
from millrace_lab.storm.companies import Persona
from millrace_lab.storm.comparing import Answers
from millrace_lab.storm.rare_lives import EVERYBODY
from tests.unit.millrace_lab.storm.machine import Receiver, Storm
from tests.unit.millrace_lab.storm.receivers import Careful, CountingEvents, Forgetful, Hasty, RefundingTwice

WRONG: dict[type[Careful], Sequence[Persona]] = {
    # the receiver → lives in which its fault can show
    Hasty: (lives.leaves_at_once, lives.never_paid),
    CountingEvents: (lives.steady,),
    RefundingTwice: (lives.is_refunded,),
    Forgetful: (lives.leaves_at_once,),
}
TRIED = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
)


def storm(made: type[Careful], lived: Sequence[Persona] = EVERYBODY) -> type[Storm]:
    class Over(Storm):
        cast = lived

        def receiver(self) -> Receiver:
            return made()

        def expected(self, arrivals: list[Arrival]) -> Answers:
            return oracle.of(arrivals)

    return Over


def test_a_careful_receiver_comes_through_any_storm() -> None:
    run_state_machine_as_test(storm(Careful), settings=TRIED)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_one_does_not(wrong: type[Careful]) -> None:
    with pytest.raises(AssertionError):
        tried = settings(TRIED, max_examples=400, stateful_step_count=40)
        run_state_machine_as_test(storm(wrong, WRONG[wrong]), settings=tried)  # type: ignore[no-untyped-call]
