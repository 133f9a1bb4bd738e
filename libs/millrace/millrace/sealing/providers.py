"""The key-encryption keys: they wrap data keys and nothing else. Only a provider ever holds one.

`Files` keeps them in a folder. A cloud KMS or Vault's Transit engine has the same three verbs: its key version
is the version here, its encryption context or associated data is the context here.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from millrace.documents import Watched
from millrace.errors import Misconfigured, Retryable
from millrace.sealing.box import KEY_BYTES, NONCE_BYTES, Unopenable, joined

NAME = re.compile(r"[0-9]{4}\.key")
FORBIDDEN = 0o037  # a group may read, as pods with a file group do; nobody may write, others nothing
MAKE = "make 0001.key there: openssl rand -base64 32, mode 0400"


class Plain(NamedTuple):
    """A data key as it is, and what it is bound to."""

    key: bytes
    context: bytes


class Wrapped(NamedTuple):
    """A data key under a key-encryption key of this version."""

    kek: str
    key: bytes
    context: bytes = b""


class Provider(Protocol):
    """Wraps and unwraps data keys, many in one call.

    current()  the version that wraps now.
    wrap()     each key under the current version, in the order given.
    unwrap()   each key, or why this one cannot be had: Retryable when its version is not here (yet),
               Unopenable when it was changed or bound to something else. One bad key spoils no other.
    Raises:    Retryable when the provider is out of reach, Misconfigured when it can never answer.
    """

    async def current(self) -> str: ...
    async def wrap(self, keys: Sequence[Plain]) -> list[Wrapped]: ...
    async def unwrap(self, keys: Sequence[Wrapped]) -> list[bytes | Retryable | Unopenable]: ...


def provider(setting: str) -> Provider:
    """The provider that a setting names. Raises Misconfigured when it names none."""
    kind, _, rest = setting.partition(":")
    if kind == "files" and rest:
        return Files(Path(rest))
    raise Misconfigured(f"keys: {setting!r} names no provider; write files:/path/of/the/folder")


class Files:
    """Keys in a folder: 0001.key, 0002.key, … each 32 random bytes in base64; the highest wraps.

    A new file is taken over while running, so put it everywhere before anything is re-wrapped. A folder with a
    mistake is refused and what was read before stays in force.
    """

    def __init__(self, folder: Path) -> None:
        self._keys = Watched(folder, _read)

    async def current(self) -> str:
        return max(self._keys())

    async def wrap(self, keys: Sequence[Plain]) -> list[Wrapped]:
        held = self._keys()
        version = max(held)
        return [_wrap(held[version], version, plain) for plain in keys]

    async def unwrap(self, keys: Sequence[Wrapped]) -> list[bytes | Retryable | Unopenable]:
        held = self._keys()
        if any(wrapped.kek not in held for wrapped in keys):
            held = self._once_more()
        return [self._unwrap(held, wrapped) for wrapped in keys]

    def _once_more(self) -> Mapping[str, AESGCM]:
        """Read anew: two changes within one tick of the file system look like one from outside."""
        with suppress(Misconfigured):  # what was read before stays; the watch has told why
            self._keys = Watched(self._keys.path, _read)
        return self._keys()

    def _unwrap(self, held: Mapping[str, AESGCM], wrapped: Wrapped) -> bytes | Retryable | Unopenable:
        if (cipher := held.get(wrapped.kek)) is None:
            path = self._keys.path / f"{wrapped.kek}.key"
            return Retryable(f"{path} is missing and keys are wrapped with it; put it back", after=5)
        nonce, ciphertext = wrapped.key[:NONCE_BYTES], wrapped.key[NONCE_BYTES:]
        try:
            return cipher.decrypt(nonce, ciphertext, joined(wrapped.kek.encode(), wrapped.context))
        except (InvalidTag, ValueError):
            path = self._keys.path / f"{wrapped.kek}.key"
            return Unopenable(f"a data key does not open with {path}: another file, or a changed row")


def new_key(folder: Path) -> Path:
    """Make the next key, readable by its owner only. Writes: the file, whole or not at all."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    last = max((int(path.stem) for path in folder.glob("*.key") if NAME.fullmatch(path.name)), default=0)
    fresh = folder / f"{last + 1:04d}.next"
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
        file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    path = fresh.with_suffix(".key")
    os.link(fresh, path)  # unlike a rename it never replaces: a key that is lost loses everything under it
    fresh.unlink()
    return path


def _wrap(cipher: AESGCM, version: str, plain: Plain) -> Wrapped:
    nonce = os.urandom(NONCE_BYTES)
    sealed = cipher.encrypt(nonce, plain.key, joined(version.encode(), plain.context))
    return Wrapped(version, nonce + sealed, plain.context)


def _read(folder: Path) -> Mapping[str, AESGCM]:
    """The keys in a folder by version. Raises Misconfigured, naming the file and the fix."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".key")
    except OSError as problem:
        raise Misconfigured(f"{folder}: cannot be read: {problem.strerror}; {MAKE}") from problem
    if not paths:
        raise Misconfigured(f"{folder}: holds no NNNN.key; {MAKE}")
    return {path.stem: AESGCM(_key(path)) for path in paths}


def _key(path: Path) -> bytes:
    if not NAME.fullmatch(path.name):
        raise Misconfigured(f"{path}: is not named by a version; name it NNNN.key, as 0001.key")
    try:
        with path.open("rb") as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read(1024)
    except OSError as problem:
        raise Misconfigured(f"{path}: cannot be read: {problem.strerror}; give it to this user") from problem
    if mode & FORBIDDEN:
        raise Misconfigured(f"{path}: others may read or change it; chmod 0400 {path}")
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Misconfigured(f"{path}: is not {KEY_BYTES} bytes in base64; restore it from its copy")
    return key
