"""A consumer's project of the reference shape, written once into a folder; from then on it is its owner's.

The templates are a project called `newcomer`, complete and valid as it stands: writing it means to put the name in
that word's place. `template/common` is in both forms, `template/fold` and `template/each` in one.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Form = Literal["fold", "each"]

SHAPE = re.compile(r"[a-z][a-z0-9_]*")
LENGTH_MAX = 30  # with what is put before and behind it, it stays a name for PostgreSQL and Kubernetes
TAKEN = {
    "tests": "the project's own tests are called that",
    "public": "PostgreSQL has a schema of that name",
    "information_schema": "PostgreSQL has a schema of that name",
    "outbox": "the outbox is called that in every database",
    "sealing": "the keys of sealed fields are called that in every database",
}
OURS = {"ingest", "outbox_relay", "entitlement", "ledger", "dunning", "operations", "lab"}
# Source: PostgreSQL 18, appendix C: reserved, and those that may name a function or type only.
RESERVED = """
all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze
from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit
localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references
returning right select session_user similar some symmetric system_user table tablesample then to trailing true
union unique user using variadic verbose when where window with
"""


class Refused(Exception):
    """The project cannot be written; the message says why and what to do."""


def why_not(name: str) -> str:
    """Why a consumer cannot be called that; '' when it can."""
    if not SHAPE.fullmatch(name) or len(name) > LENGTH_MAX or name.endswith("_"):
        return (
            f"it becomes a package, a schema and a role: at most {LENGTH_MAX} lower-case letters, digits and _, "
            "a letter first, no _ last"
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "it is a word of Python"
    if name in RESERVED.split() or name.startswith("pg_"):
        return "it is a word of PostgreSQL's"
    if name in sys.stdlib_module_names:
        return "Python's own library has a module of that name"
    if name in TAKEN or name in OURS:
        return TAKEN.get(name, "a service of Millrace's own is called that")
    return "a package of that name is installed" if (found := find_spec(name)) and found.origin else ""


def create(name: str, into: Path, form: Form = "fold") -> list[Path]:
    """Write the project as the folder `into/name`; returns its files. Overwrites nothing. Raises Refused."""
    if why := why_not(name):
        raise Refused(f"{name!r} is no name for a consumer: {why}")
    to = into / name
    if to.exists():
        raise Refused(f"{to} exists already: choose another name or --into another folder")
    return sorted(_written(to / _filled(path, name), _filled(text, name)) for path, text in template(form))


def template(form: Form) -> Iterator[tuple[str, str]]:
    """(path, text) of every file of the template."""
    for part in ("common", form):
        yield from _files(resources.files(__package__) / "template" / part)


def _files(folder: Traversable, above: str = "") -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_file() and not entry.name.endswith(".pyc"):
            yield above + entry.name, entry.read_text()
        elif entry.is_dir() and entry.name != "__pycache__":
            yield from _files(entry, f"{above}{entry.name}/")


def _filled(text: str, name: str) -> str:
    """Kubernetes' names have no underscore, variables of the environment no lower case."""
    dashed = name.replace("_", "-")
    return text.replace("newcomer", name).replace("NEWCOMER", name.upper()).replace("new-comer", dashed)


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
