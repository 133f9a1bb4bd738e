"""A rotation, as `millrace endpoints check` sees it: what is said at each step, and when nothing is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingest.domain import Endpoint, Secret
from ingest.domain.rotation import Used, concerns

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def secret(name: str, ends: float | None = None, value: str = "whsec_") -> Secret:
    """Hours from now until it ends."""
    return Secret(name, f"{value}{name}".encode(), None if ends is None else NOW + timedelta(hours=ends))


def used(events: int, hours_ago: float) -> Used:
    return Used(events, NOW - timedelta(hours=hours_ago))


OLD, NEW = secret("old"), secret("new")
STORY = [
    # when                                  secrets, new first         used lately                       says
    ("before", [OLD], {"old": used(9, 0)}, []),
    ("nothing comes in at all", [NEW, OLD], {}, []),
    ("another one is put in", [NEW, OLD], {"old": used(9, 0)},
     ["new is new and has verified nothing yet", "old is old and still verifies, last at 2026-11-21T12:00:00Z"]),
    ("the new one verifies", [NEW, OLD], {"old": used(9, 2), "new": used(3, 0)},
     ["old is old and still verifies, last at 2026-11-21T10:00:00Z"]),
    ("the old one no longer verifies", [NEW, OLD], {"new": used(12, 0)}, []),
    ("the old one is taken out", [NEW], {"new": used(12, 0), "old": used(1, 23)}, []),
    # with an end to the old one
    ("its end is far", [NEW, secret("old", 25)], {"new": used(1, 0)}, []),
    ("its end is near, it is quiet", [NEW, secret("old", 24)], {"new": used(1, 0)}, []),
    ("its end is near, it verifies", [NEW, secret("old", 24)], {"new": used(1, 0), "old": used(1, 1)},
     ["old still verifies and opens nothing from 2026-11-22T12:00:00Z on"]),
    ("it has ended", [NEW, secret("old", 0)], {"new": used(1, 0), "old": used(5, 1)},
     ["old is retired since 2026-11-21T12:00:00Z; take it out"]),
    ("it has ended, and nothing comes any more", [NEW, secret("old", -1)], {"old": used(5, 1.1)},
     ["new is new and has verified nothing yet",
      "old is retired since 2026-11-21T11:00:00Z, and nothing was verified since"]),
    ("the new one came before its end", [NEW, secret("old", -1)], {"old": used(5, 1.1), "new": used(1, 1.2)},
     ["old is retired since 2026-11-21T11:00:00Z, and nothing was verified since"]),
    ("it ended long ago", [NEW, secret("old", -99)], {"new": used(1, 0)},
     ["old is retired since 2026-11-17T09:00:00Z; take it out"]),
    ("it has ended, and nothing came at all", [NEW, secret("old", -1)], {},
     ["old is retired since 2026-11-21T11:00:00Z; take it out"]),
    ("the only one is about to end", [secret("old", 3)], {"old": used(5, 0)},
     ["old still verifies and opens nothing from 2026-11-21T15:00:00Z on"]),
    ("an API key in its place", [secret("key", value="sk_live_")], {}, ["key does not begin with whsec_"]),
]  # fmt: skip


@pytest.mark.parametrize(("when", "secrets", "lately", "says"), STORY, ids=[row[0] for row in STORY])
def test_each_step_says_what_to_look_at(
    when: str, secrets: list[Secret], lately: dict[str, Used], says: list[str]
) -> None:
    endpoint = Endpoint("main", "acct_1", True, "", tuple(secrets))
    found = [f"{concern.secret} {concern.says}" for concern in concerns(endpoint, lately, NOW)]
    assert [whole[: len(start)] for whole, start in zip(found, says, strict=True)] == says
    assert not any(value in line for line in found for value in ("whsec_old", "whsec_new", "sk_live_"))
