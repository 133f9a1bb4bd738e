"""Key-encryption keys in files: a mistake is named with its file and its fix, and a new key needs no restart."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from millrace.errors import Misconfigured, Retryable
from millrace.sealing import Files, Plain, Unopenable, Wrapped, new_key, provider

DATA_KEY = Plain(b"k" * 32, b"anna's, version 1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    new_key(tmp_path / "keys")
    return tmp_path / "keys"


def write(path: Path, content: bytes, mode: int = 0o400) -> Path:
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


async def only(keys: Files, wrapped: Wrapped) -> bytes | Retryable | Unopenable:
    (found,) = await keys.unwrap([wrapped])
    return found


async def test_what_was_wrapped_unwraps_in_order(folder: Path) -> None:
    keys, plain = Files(folder), [Plain(bytes([n]) * 32, str(n).encode()) for n in range(20)]
    wrapped = await keys.wrap(plain)
    assert await keys.unwrap(wrapped) == [one.key for one in plain]
    assert {one.kek for one in wrapped} == {"0001"}
    assert len({one.key for one in await keys.wrap([DATA_KEY] * 20)}) == 20


def test_a_new_key_is_its_owners_alone_and_replaces_none(folder: Path) -> None:
    second = new_key(folder)
    assert second.name == "0002.key"
    assert second.stat().st_mode & 0o777 == 0o400
    assert len(base64.b64decode(second.read_bytes())) == 32
    assert {path.name for path in folder.iterdir()} == {"0001.key", "0002.key"}
    (folder / "0001.key").unlink()
    assert new_key(folder).name == "0003.key"
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_a_new_key_wraps_from_the_next_call_on_and_the_old_one_unwraps(folder: Path) -> None:
    keys = Files(folder)
    (old,) = await keys.wrap([DATA_KEY])
    new_key(folder)
    assert await keys.current() == "0002"
    (new,) = await keys.wrap([DATA_KEY])
    assert (old.kek, new.kek) == ("0001", "0002")
    assert await keys.unwrap([old, new]) == [DATA_KEY.key, DATA_KEY.key]


@pytest.mark.parametrize(
    ("name", "content", "mode", "says"),
    [
        ("0002.key", b"", 0o400, "0002.key: is not 32 bytes in base64; restore it"),
        ("0002.key", base64.b64encode(b"k" * 31), 0o400, "0002.key: is not 32 bytes in base64; restore it"),
        ("0002.key", b"not base64 !", 0o400, "0002.key: is not 32 bytes in base64; restore it"),
        (
            "0002.key",
            base64.b64encode(b"k" * 32),
            0o404,
            "0002.key: others may read or change it; chmod 0400",
        ),
        (
            "0002.key",
            base64.b64encode(b"k" * 32),
            0o420,
            "0002.key: others may read or change it; chmod 0400",
        ),
        ("2.key", base64.b64encode(b"k" * 32), 0o400, "2.key: is not named by a version; name it NNNN.key"),
    ],
)
async def test_a_bad_key_is_refused_and_the_ones_before_stay(
    folder: Path, name: str, content: bytes, mode: int, says: str
) -> None:
    running = Files(folder)
    (wrapped,) = await running.wrap([DATA_KEY])
    write(folder / name, content, mode)
    with pytest.raises(Misconfigured) as refused:
        Files(folder)
    assert says in str(refused.value)
    assert str(refused.value).startswith(str(folder))
    assert await running.current() == "0001"
    assert await only(running, wrapped) == DATA_KEY.key


def test_a_group_may_read(folder: Path) -> None:
    (folder / "0001.key").chmod(0o440)
    Files(folder)


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_keys_is_refused(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "keys"
    if made:
        write_readme(folder)
    with pytest.raises(Misconfigured, match=r"keys: (cannot be read|holds no NNNN\.key).*openssl rand"):
        Files(folder)


def write_readme(folder: Path) -> None:
    folder.mkdir()
    (folder / "README").write_text("what does not end in .key is passed over")


async def test_a_missing_key_is_waited_for_by_its_name(folder: Path) -> None:
    second = new_key(folder)
    (wrapped,) = await Files(folder).wrap([DATA_KEY])
    kept = second.read_bytes()
    second.unlink()
    keys = Files(folder)
    missing = await only(keys, wrapped)
    assert isinstance(missing, Retryable)
    assert str(missing).startswith(f"{second} is missing")
    write(second, kept)
    assert await only(keys, wrapped) == DATA_KEY.key


def stamp_of(folder: Path) -> int:
    return folder.stat().st_mtime_ns


async def test_a_key_that_came_within_one_tick_of_the_file_system_is_found(folder: Path) -> None:
    keys, stamp = Files(folder), stamp_of(folder)
    new_key(folder)
    (wrapped,) = await Files(folder).wrap([DATA_KEY])
    os.utime(folder, ns=(stamp, stamp))
    assert await only(keys, wrapped) == DATA_KEY.key


async def test_a_wrong_key_is_told_and_spoils_no_other(folder: Path) -> None:
    (old,) = await Files(folder).wrap([DATA_KEY])
    second = new_key(folder)
    (new,) = await Files(folder).wrap([DATA_KEY])
    write(second, base64.b64encode(b"x" * 32))
    fine, wrong = await Files(folder).unwrap([old, new])
    assert fine == DATA_KEY.key
    assert isinstance(wrong, Unopenable)
    assert str(second) in str(wrong)


async def test_a_wrapped_key_is_bound_to_its_row_and_its_version(folder: Path) -> None:
    (wrapped,) = await Files(folder).wrap([DATA_KEY])
    write(folder / "0002.key", (folder / "0001.key").read_bytes())  # the same key by another name
    keys = Files(folder)
    for changed in (
        wrapped._replace(context=b"bert's, version 1"),
        wrapped._replace(kek="0002"),
        wrapped._replace(key=wrapped.key[:-1] + bytes([wrapped.key[-1] ^ 1])),
        wrapped._replace(key=b""),
    ):
        assert isinstance(await only(keys, changed), Unopenable)


@pytest.mark.parametrize("setting", ["", "files:", "files", "/etc/keys", "vault:transit"])
def test_a_setting_that_names_no_provider_says_how_to_write_one(setting: str) -> None:
    with pytest.raises(Misconfigured, match="write files:/path/of/the/folder"):
        provider(setting)


async def test_a_setting_names_the_folder(folder: Path) -> None:
    assert await provider(f"files:{folder}").current() == "0001"
