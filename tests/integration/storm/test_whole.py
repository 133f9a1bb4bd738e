"""A short storm through everything: the webhook, the relay, Kafka and the consumers as processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.storm.whole import Whole
from millrace_lab.delivery.schedule import Schedule
from millrace_lab.storm import lives
from millrace_lab.storm.arrivals import arrivals
from millrace_lab.storm.companies import Company
from millrace_lab.storm.hunting import judge


@pytest.mark.nightly
@pytest.mark.timeout(600)
async def test_nothing_differs_at_any_moment(tmp_path: Path) -> None:
    account = Company(5, 60, 20, lives.CAST, twins=0.05).play()
    done: list[int] = []
    system = Whole(tmp_path, say=lambda line: None, progress=done.append)
    came = arrivals(account, Schedule(5, "hostile"))
    judged = await judge(system, came, moments=3)
    assert judged.differences == []
    assert done[-1] == len(came)
