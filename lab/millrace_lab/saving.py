"""A whole account and its deliveries as one file, from which both go on exactly as they would have.

The file is JSON by the line: a header, then every body once (an object and the events about it share one),
then the rest, which names bodies by their line. It is replaced as a whole or not at all.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from millrace_lab.account import Account, Agenda, Told
from millrace_lab.clockwork import furnished
from millrace_lab.delivery.mail import Mail
from millrace_lab.delivery.schedule import Schedule, restored
from millrace_lab.errors import Body

FORMAT = 1


class Unreadable(Exception):
    """A file that is not a saved account, or not of this format."""


class _Bodies:
    """Every body once, by identity: bodies are never changed in place."""

    def __init__(self) -> None:
        self.lines: list[Body] = []
        self._numbers: dict[int, int] = {}

    def number(self, body: Body) -> int:
        if id(body) not in self._numbers:
            self._numbers[id(body)] = len(self.lines)
            self.lines.append(body)
        return self._numbers[id(body)]


def save(path: Path, account: Account, mail: Mail | None = None) -> int:
    """Write the account; the file at `path` is the old one until the new one is complete. Answers its bytes."""
    bodies = _Bodies()
    rest = {**_account(account, bodies), "mail": _mail(mail) if mail else None}
    header = {"millrace_lab": FORMAT, "bodies": len(bodies.lines)}
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            written = _write(file, [header, *bodies.lines, rest])
        draft.replace(path)
        return written
    finally:
        draft.unlink(missing_ok=True)


def load(path: Path) -> tuple[Account, Mail]:
    """The account and its mail. Raises Unreadable."""
    try:
        with path.open("rb") as file:
            header = _header(path, file.readline())
            lines = [orjson.loads(line) for line in file]
        bodies, rest = lines[: header["bodies"]], lines[header["bodies"]]
    except (OSError, orjson.JSONDecodeError, IndexError, KeyError) as problem:
        raise Unreadable(f"{path} cannot be read as a saved account: {problem}") from problem
    account = _restored(rest, bodies)
    return account, _restored_mail(account, rest["mail"])


def _write(file: BinaryIO, lines: Iterable[Body]) -> int:
    written = sum(file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)) for line in lines)
    file.flush()
    os.fsync(file.fileno())
    return written


def _header(path: Path, line: bytes) -> Body:
    header: Any = orjson.loads(line)
    if not isinstance(header, dict) or "millrace_lab" not in header:
        raise Unreadable(f"{path} is not a saved account")
    if header["millrace_lab"] != FORMAT:
        raise Unreadable(
            f"{path} is in format {header['millrace_lab']}; this program reads and writes format {FORMAT}"
        )
    return header


# The account.

PLAIN = ("seed", "now", "livemode", "id", "serial", "replays")


def _account(account: Account, bodies: _Bodies) -> Body:
    return {
        **{name: getattr(account, name) for name in PLAIN},
        "settings": {
            name: each for name, each in account.settings.items() if name != "site"
        },  # where it is served
        "objects": {id_: bodies.number(body) for id_, body in account.objects.items()},
        "kinds": {kind: list(ids) for kind, ids in account.kinds.items()},
        "children": [[parent, kind, list(ids)] for (parent, kind), ids in account.children.items()],
        "before": {id_: [bodies.number(body), at] for id_, (body, at) in account.before.items()},
        "agendas": [[clock, agenda.serial, _entries(agenda)] for clock, agenda in account.agendas.items()],
        "events": [_told(told, bodies) for told in account.events],
        "connected": [_account(each, bodies) for each in account.connected.values()],
    }


def _entries(agenda: Agenda) -> list[tuple[int, int, str, str]]:
    """What is still due, earliest first."""
    return sorted(entry for entry in agenda.heap if agenda.due.get((entry[2], entry[3])) == entry[0])


def _told(told: Told, bodies: _Bodies) -> list[Any]:
    return [
        told.id,
        told.type,
        told.created,
        bodies.number(told.object),
        told.previous,
        told.request,
        told.clock,
        told.thin,
        told.twin,
        told.account,
    ]


def _restored(rest: Body, bodies: list[Body]) -> Account:
    account = furnished(Account(rest["seed"], rest["now"], livemode=rest["livemode"], id=rest["id"]))
    account.serial, account.settings, account.replays = rest["serial"], rest["settings"], rest["replays"]
    account.objects = {id_: bodies[number] for id_, number in rest["objects"].items()}
    account.kinds = {kind: dict.fromkeys(ids) for kind, ids in rest["kinds"].items()}
    account.children = {(parent, kind): dict.fromkeys(ids) for parent, kind, ids in rest["children"]}
    account.before = {id_: (bodies[number], at) for id_, (number, at) in rest["before"].items()}
    account.agendas = {clock: _agenda(serial, entries) for clock, serial, entries in rest["agendas"]}
    account.events = [
        Told(number, id_, type_, created, bodies[body], *others)
        for number, (id_, type_, created, body, *others) in enumerate(rest["events"])
    ]
    account.by_event = {told.id: told for told in account.events}
    for each in rest["connected"]:
        account.connect(_restored(each, bodies))
    return account


def _agenda(serial: int, entries: list[list[Any]]) -> Agenda:
    heap = [(at, number, id_, what) for at, number, id_, what in entries]
    heapq.heapify(heap)
    return Agenda({(id_, what): at for at, _, id_, what in heap}, heap, serial)


# The deliveries.


def _mail(mail: Mail) -> Body:
    return {"state": mail.state(), "schedule": mail.schedule.state()}


def _restored_mail(account: Account, kept: Body | None) -> Mail:
    mail = Mail(account, restored(kept["schedule"]) if kept else Schedule(account.seed))
    if kept:
        mail.restore(kept["state"])
    return mail
