"""Whom root gives a server to, and what that user can reach."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

from lab.stack.errors import StackError
from lab.stack.process import as_user

KNOWN = ("postgres", "pgserver")  # of the system's packages; of the wheel's own starter
OURS = "millrace-lab"


def server_user(say: Callable[[str], None]) -> str:
    """A system user without other duties; one is created where there is none.

    Writes: perhaps a system user. Raises: StackError.
    """
    for name in (*KNOWN, OURS):
        if _exists(name):
            return name
    say(f"PostgreSQL never runs as root: creating the system user {OURS}")
    useradd = shutil.which("useradd")
    if useradd is None:
        raise StackError(
            "PostgreSQL never runs as root, and there is no useradd: start the stack as another user"
        )
    subprocess.run([useradd, "--system", "--no-create-home", "--shell", "/bin/false", OURS], check=True)
    return OURS


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def reaches(user: str, folder: Path) -> bool:
    """Can this user enter the folder? Asked as that user, since access lists and mounts have a say."""
    asked = subprocess.run(["test", "-x", folder], cwd="/", **as_user(user))
    return asked.returncode == 0


def own_folder(folder: Path, user: str | None) -> None:
    """A folder for this user alone. Raises: StackError when somebody else has put one there.

    The name of a folder in /var/tmp can be guessed, so one that is already there must be the
    user's own and no link, or the server would write into a stranger's hands.
    """
    owner = pwd.getpwnam(user).pw_uid if user else os.geteuid()
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (owner, os.geteuid()) or found.st_mode & 0o077:
        raise StackError(f"{folder} belongs to somebody else or is open to others; remove it")
    os.chown(folder, owner, -1)
