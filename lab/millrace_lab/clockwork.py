"""The passing of time: what is due is done in order, each in a step of its own."""

from __future__ import annotations

from collections.abc import Callable

from millrace_lab.account import Account
from millrace_lab.composition import DUE, REACTIONS


def furnished(account: Account) -> Account:
    """An account whose rooms hear each other."""
    account.reactions = REACTIONS
    return account


def next_due(account: Account, clock: str | None = None) -> int | None:
    """The next second at which time alone changes something, here or on a connected account."""
    accounts = together(account) if clock is None else [account]
    found = [at for each in accounts if (at := _own_next(each, clock)) is not None]
    return min(found, default=None)


def _own_next(account: Account, clock: str | None) -> int | None:
    due = account.agendas[clock].next() if clock in account.agendas else None
    return due[0] if due else None


def together(account: Account) -> list[Account]:
    """Those that share one time: a platform and the accounts that are connected to it."""
    platform = account.platform or account
    return [platform, *platform.connected.values()]


def tick(account: Account, clock: str | None = None) -> None:
    """Do the one thing that is due next."""
    if clock is None:
        soonest = next_due(account)
        account = next(each for each in together(account) if _own_next(each, None) == soonest)
    agenda = account.agendas[clock]
    due = agenda.next()
    assert due is not None, "nothing is due"
    at, id_, what = due
    agenda.drop(id_, what)
    _turn(account, clock, max(at, account.time(clock)))
    step = account.step(clock=clock, automatic=True)
    body = step.find(id_)
    if body is not None and not body.get("deleted"):
        DUE[what](step, body)
        step.commit()


def advance(
    account: Account, until: int, clock: str | None = None, progress: Callable[[int], None] = lambda _: None
) -> None:
    """Let time pass up to and including a second. `progress` hears where the clock stands."""
    while (at := next_due(account, clock)) is not None and at <= until:
        tick(account, clock)
        progress(at)
    _turn(account, clock, max(until, account.time(clock)))


def _turn(account: Account, clock: str | None, at: int) -> None:
    if clock is None:
        for each in together(account):
            each.now = at
    else:
        account.objects[clock] = {**account.objects[clock], "frozen_time": at}
