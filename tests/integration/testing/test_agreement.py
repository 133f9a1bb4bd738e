"""One suite over three places: what the harness says in milliseconds is what Kafka and PostgreSQL do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from lab.stack import Stack
from tests.integration.testing import worlds
from tests.integration.testing.worlds import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def places(stack: Stack) -> AsyncIterator[tuple[World, World, World]]:
    async with worlds.worlds(stack) as made:
        yield made


async def in_order(w: World) -> None:
    await w.send(w.event("add", "e1", 1), w.event("add", "e2", 2), w.event("add", "e3", 3, of="b"))


async def nobodys(w: World) -> None:
    await w.send(w.event("look", "e1"), w.event("invented", "e2"))


async def twice(w: World) -> None:
    await w.send(w.event("add", "e1"), w.event("add", "e1"), w.event("add", "e2"))
    await w.send(w.event("add", "e1"), w.event("add", "e2"), w.event("add", "e3"))


async def poison(w: World) -> None:
    await w.send(
        w.event("add", "e1"), w.event("add", "e2", "two"), w.event("add", "e3"), w.event("add", "e4", of="b")
    )


async def later(w: World) -> None:
    await w.send(w.event("add", "e1", None))
    await w.send(w.event("add", "e2"), w.event("add", "e3", of="b"))


async def bug(w: World) -> None:
    await w.send(w.event("broken", "e1"), w.event("look", "e2"), w.event("add", "e3", of="b"))


async def released(w: World) -> None:
    await w.send(w.event("take", "t1", 5))
    await w.send(w.event("add", "e1", 7))


async def chain(w: World) -> None:
    await w.send(
        w.event("take", "t5", 5), w.event("take", "t1", 1), w.event("add", "e1", 1), w.event("add", "e5", 5)
    )


async def waits(w: World) -> None:
    await w.send(w.event("take", "t1", 5), w.event("add", "e1", 1))


async def strangers(w: World) -> None:
    await w.put("no headers", b"{}")
    await w.put("no object", b"[1]", like=w.event("add", "e1"))
    await w.put("not for us", b"{", like=w.event("invented", "e2", of="b"))
    await w.send(w.event("add", "e3"), w.event("add", "e4", of="b"))


async def redriven_in_vain(w: World) -> None:
    await w.send(w.event("add", "e1", "one"), w.event("add", "e2"))
    await w.redrive(f"acct_test/{w.story}.a")


async def mended(w: World) -> None:
    await w.deploy("fold with a bug")
    await w.send(
        w.event("add", "e1", 5), w.event("take", "e2", 3), w.event("add", "e3", 2), w.event("take", "e4", 4)
    )
    await w.send(w.event("add", "e5", 1))
    await w.deploy("fold")
    await w.redrive(f"acct_test/{w.story}.a")
    await w.send(w.event("add", "e6", 1))


async def handled(w: World) -> None:
    await w.send(
        w.event("add", "e1", 1),
        w.event("add", "e2", "two"),
        w.event("add", "e3"),
        w.event("look", "e4", of="b"),
    )


async def handled_again(w: World) -> None:
    await w.send(w.event("add", "e1"), w.event("add", "e1"))
    await w.send(w.event("add", "e1"), w.event("add", "e2"))


async def half(w: World) -> None:
    await w.send(w.event("half", "e1"), w.event("add", "e2", of="b"))


async def told(w: World) -> None:
    await w.send(w.event("tell", "e1"), w.event("tell", "e2"))


async def late(w: World) -> None:
    await w.send(w.event("add", "e1"), w.event("late", "e2"), w.event("add", "e3"))


Play = Callable[[World], Awaitable[None]]
BEHIND, POISON, FAILED, WAITING = (f"parked {why}" for why in ("behind", "poison", "failed", "waiting"))
STORIES: list[tuple[str, str, Play, dict[str, str]]] = [
    ("one after another", "fold", in_order, {"e1": "applied", "e2": "applied", "e3": "applied"}),
    ("nobody's", "fold", nobodys, {"e1": "noop", "e2": "noop"}),
    ("twice", "fold", twice, {"e1": "applied", "e2": "applied", "e3": "applied"}),
    ("poison holds its key", "fold", poison, {"e1": "applied", "e2": POISON, "e3": BEHIND, "e4": "applied"}),
    ("held since an earlier batch", "fold", later, {"e1": POISON, "e2": BEHIND, "e3": "applied"}),
    ("a bug", "fold", bug, {"e1": FAILED, "e2": BEHIND, "e3": "applied"}),
    ("released by its fact", "fold", released, {"t1": "applied", "e1": "applied"}),
    ("a chain of waiting", "fold", chain, dict.fromkeys(("t5", "t1", "e1", "e5"), "applied")),
    ("waiting for ever", "fold", waits, {"t1": WAITING, "e1": "applied"}),
    ("nobody can read it", "fold", strangers,
     {"no headers": POISON, "e1": POISON, "e2": "noop", "e3": BEHIND, "e4": "applied"}),
    ("redriven in vain", "fold", redriven_in_vain, {"e1": POISON, "e2": BEHIND}),
    ("mended and redriven", "fold", mended, dict.fromkeys((f"e{n}" for n in range(1, 7)), "applied")),
    ("order does not matter", "unordered fold", poison,
     {"e1": "applied", "e2": POISON, "e3": "applied", "e4": "applied"}),
    ("handled", "handlers", handled, {"e1": "applied", "e2": POISON, "e3": BEHIND, "e4": "noop"}),
    ("handled once", "handlers", handled_again, {"e1": "applied", "e2": "applied"}),
    ("half done and undone", "handlers", half, {"e1": FAILED, "e2": "applied"}),
    ("told through the outbox", "handlers", told, {"e1": "applied", "e2": "applied"}),
    ("not ready at first", "handlers", late, {"e1": "applied", "e2": "applied", "e3": "applied"}),
    ("order of handlers does not matter", "unordered handlers", handled,
     {"e1": "applied", "e2": POISON, "e3": "applied", "e4": "noop"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "version", "play", "outcomes"), STORIES, ids=[s[0] for s in STORIES])
async def test_all_three_agree(
    places: tuple[World, World, World], name: str, version: str, play: Play, outcomes: dict[str, str]
) -> None:
    told = []
    for world in places:
        world.begin(name.replace(" ", "-").replace("'", ""))
        await world.deploy(version)
        await play(world)
        told.append(await world.seen())
    memory, postgres, kafka = told
    assert memory.outcomes == outcomes
    assert memory == postgres
    assert memory == kafka
