"""Data keys in real tables: made once, bounded in use, and once destroyed, gone for everybody."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
import pytest

from millrace import postgres, sealing
from millrace.errors import Retryable
from millrace.sealing import Files, Keys, Plain, Subject, Unopenable, Wrapped, key_id, new_key, rewrap, store
from tests.integration.millrace.sealing import ACCOUNT, ANNA, BERT, EDGE, HERE, MAILER, Rooms, rooms_in
from tests.support.database import MakeDatabase


@pytest.fixture
async def rooms(database: MakeDatabase) -> AsyncIterator[Rooms]:
    async with rooms_in(database) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    new_key(tmp_path / "keys")
    return tmp_path / "keys"


class Counted(Files):
    """Files that count how often they are asked."""

    wraps = unwraps = 0

    async def wrap(self, keys: Sequence[Plain]) -> list[Wrapped]:
        self.wraps += 1
        return await super().wrap(keys)

    async def unwrap(self, keys: Sequence[Wrapped]) -> list[bytes | Retryable | Unopenable]:
        self.unwraps += 1
        return await super().unwrap(keys)


# --- made once ---


async def test_what_one_process_seals_another_opens(rooms: Rooms, folder: Path) -> None:
    key = await Keys(rooms.edge, Files(folder)).of(ANNA)
    sealed = key.seal(HERE, b"anna")
    there = await Keys(rooms.mailer, Files(folder)).by_id([key_id(sealed)])
    assert there[key.id].open(HERE, sealed) == b"anna"
    assert there[key.id].subject == ANNA


async def test_everybody_has_a_key_of_their_own(rooms: Rooms, folder: Path) -> None:
    keys = Keys(rooms.edge, Files(folder))
    subjects = [ANNA, BERT, ACCOUNT, Subject("acct_2", "cus_anna"), Subject("acct_2")]
    made = await asyncio.gather(*map(keys.of, subjects))
    assert len({key.id for key in made}) == 5
    assert len({row["wrapped"] for row in await rooms.rows()}) == 5
    sealed = made[0].seal(HERE, b"anna")
    for key in made[1:]:
        renamed = sealed[:1] + key.id.to_bytes(8, "big") + sealed[9:]
        with pytest.raises(Unopenable):
            key.open(HERE, renamed)


async def test_processes_that_make_one_key_at_once_make_one(rooms: Rooms, folder: Path) -> None:
    subjects = [Subject("acct_1", f"cus_{n}") for n in range(20)]
    processes = [Keys(rooms.edge, Files(folder)) for _ in range(6)]
    made = await asyncio.gather(*(keys.of(one) for keys in processes for one in subjects))
    ids = {(key.subject, key.id) for key in made}
    assert len(ids) == len(await rooms.rows()) == 20
    for key, other in zip(made[:20], made[20:40], strict=True):
        assert other.open(HERE, key.seal(HERE, b"x")) == b"x"


async def test_what_many_ask_for_at_once_is_few_questions(rooms: Rooms, folder: Path) -> None:
    files = Counted(folder)
    keys = Keys(rooms.edge, files)
    await asyncio.gather(*(keys.of(Subject("acct_1", f"cus_{n % 100}")) for n in range(300)))
    assert (files.wraps, files.unwraps) == (1, 1)
    assert keys.known(Subject("acct_1", "cus_7"))
    await keys.of(Subject("acct_1", "cus_7"))
    assert files.unwraps == 1
    await keys.by_id(row["id"] for row in await rooms.rows())
    assert files.unwraps == 2


async def test_memory_is_bounded_and_forgets_with_time(rooms: Rooms, folder: Path) -> None:
    seconds = [0.0]
    keys = Keys(rooms.edge, Files(folder), keys_max=10, seconds_max=300, now=lambda: seconds[0])
    subjects = [Subject("acct_1", f"cus_{n}") for n in range(30)]
    for subject in subjects:
        await keys.of(subject)
    assert [subject for subject in subjects if keys.known(subject)] == subjects[20:]
    seconds[0] = 300
    assert not any(map(keys.known, subjects))


async def test_an_unknown_id_is_not_in_the_answer(rooms: Rooms, folder: Path) -> None:
    assert await Keys(rooms.mailer, Files(folder)).by_id([4711]) == {}


async def test_the_next_try_works_when_the_database_is_back(rooms: Rooms, folder: Path) -> None:
    keys = Keys(rooms.edge, Files(folder))
    await rooms.owner.execute(f"revoke select on sealing.subject_key from {EDGE.role}")
    for answer in await asyncio.gather(keys.of(ANNA), keys.of(BERT), return_exceptions=True):
        assert isinstance(answer, Retryable)
        assert str(answer) == "the data keys are out of reach: InsufficientPrivilegeError"
    await rooms.owner.execute(f"grant select on sealing.subject_key to {EDGE.role}")
    assert (await keys.of(ANNA)).subject == ANNA


async def test_a_key_that_does_not_unwrap_spoils_no_other(rooms: Rooms, folder: Path) -> None:
    keys = Keys(rooms.edge, Files(folder))
    anna, bert = await asyncio.gather(keys.of(ANNA), keys.of(BERT))
    await rooms.owner.execute("update sealing.subject_key set wrapped = '\\x00' where id = $1", anna.id)
    fresh = Keys(rooms.edge, Files(folder))
    refused, fine = await asyncio.gather(fresh.of(ANNA), fresh.of(BERT), return_exceptions=True)
    assert isinstance(refused, Unopenable)
    assert not isinstance(fine, BaseException)
    assert fine.id == bert.id


async def test_a_wrapped_key_that_was_copied_to_another_customer_does_not_unwrap(
    rooms: Rooms, folder: Path
) -> None:
    keys = Keys(rooms.edge, Files(folder))
    anna, bert = await asyncio.gather(keys.of(ANNA), keys.of(BERT))
    (wrapped,) = (row["wrapped"] for row in await rooms.rows() if row["id"] == anna.id)
    await rooms.owner.execute("update sealing.subject_key set wrapped = $1 where id = $2", wrapped, bert.id)
    with pytest.raises(Unopenable):
        await Keys(rooms.edge, Files(folder)).by_id([bert.id])


# --- renewed ---


async def test_an_old_key_is_followed_by_a_new_one_and_goes_on_opening(rooms: Rooms, folder: Path) -> None:
    first = await Keys(rooms.edge, Files(folder)).of(ANNA)
    assert (await Keys(rooms.edge, Files(folder)).of(ANNA)).id == first.id
    second = await Keys(rooms.edge, Files(folder), renew_days=0).of(ANNA)
    assert second.id != first.id
    assert [row["version"] for row in await rooms.rows()] == [1, 2]
    assert (await Keys(rooms.edge, Files(folder)).of(ANNA)).id == second.id
    opening = await Keys(rooms.mailer, Files(folder)).by_id([first.id, second.id])
    assert opening[first.id].open(HERE, first.seal(HERE, b"x")) == b"x"


async def test_thirty_days_are_told_by_the_rows_own_time(rooms: Rooms, folder: Path) -> None:
    keys = Keys(rooms.edge, Files(folder))
    await asyncio.gather(keys.of(ANNA), keys.of(BERT))
    await rooms.owner.execute("alter table sealing.subject_key disable trigger subject_key_is_guarded")
    for subject, age in ((ANNA, "30 days 1 hour"), (BERT, "29 days 23 hours")):
        aged = f"update sealing.subject_key set created_at = now() - interval '{age}' where customer = $1"
        await rooms.owner.execute(aged, subject.customer)
    fresh = Keys(rooms.edge, Files(folder))
    await asyncio.gather(fresh.of(ANNA), fresh.of(BERT))
    assert [(row["customer"], row["version"]) for row in await rooms.rows()] == [
        ("cus_anna", 1),
        ("cus_bert", 1),
        ("cus_anna", 2),
    ]


async def test_an_index_key_is_never_renewed(rooms: Rooms, folder: Path) -> None:
    first = await Keys(rooms.edge, Files(folder)).index("acct_1")
    second = await Keys(rooms.edge, Files(folder), renew_days=0).index("acct_1")
    assert first.digest("customer.email", "a") == second.digest("customer.email", "a")
    other = await Keys(rooms.edge, Files(folder)).index("acct_2")
    assert other.digest("customer.email", "a") != first.digest("customer.email", "a")


# --- destroyed ---


async def test_what_an_erased_customer_sealed_opens_for_nobody_and_never_again(
    rooms: Rooms, folder: Path
) -> None:
    old = await Keys(rooms.edge, Files(folder)).of(ANNA)
    new = await Keys(rooms.edge, Files(folder), renew_days=0).of(ANNA)
    bert = await Keys(rooms.edge, Files(folder)).of(BERT)
    assert await rooms.destroy(ANNA) == 2
    assert await rooms.destroy(ANNA) == 0
    keys = Keys(rooms.edge, Files(folder), renew_days=0)
    assert set(await keys.by_id([old.id, new.id, bert.id])) == {bert.id}
    thrown = await keys.of(ANNA)
    assert thrown.id == new.id
    late = thrown.seal(HERE, b"anna again")
    with pytest.raises(Unopenable):
        new.open(HERE, late)
    with pytest.raises(Unopenable):
        (await Keys(rooms.edge, Files(folder)).of(ANNA)).open(HERE, late)
    assert await Keys(rooms.mailer, Files(folder)).by_id([key_id(late)]) == {}
    assert [row["wrapped"] is None for row in await rooms.rows()] == [True, True, False]


async def test_a_process_that_holds_a_key_lets_go_of_it_in_time(rooms: Rooms, folder: Path) -> None:
    seconds = [0.0]
    keys = Keys(rooms.edge, Files(folder), seconds_max=300, now=lambda: seconds[0])
    key = await keys.of(ANNA)
    await keys.by_id([key.id])
    await rooms.destroy(ANNA)
    assert keys.known(ANNA) is key
    seconds[0] = 300
    assert await keys.by_id([key.id]) == {}
    with pytest.raises(Unopenable):
        key.open(HERE, (await keys.of(ANNA)).seal(HERE, b"x"))


async def test_who_is_erased_before_anything_was_sealed_stays_erased(rooms: Rooms, folder: Path) -> None:
    assert await rooms.destroy(ANNA) == 0
    thrown = await Keys(rooms.edge, Files(folder)).of(ANNA)
    assert await Keys(rooms.mailer, Files(folder)).by_id([thrown.id]) == {}
    assert len(await rooms.rows()) == 1


async def test_an_accounts_own_key_is_not_destroyed_for_a_customer(rooms: Rooms) -> None:
    with pytest.raises(ValueError, match="name a customer"):
        await rooms.destroy(ACCOUNT)


async def test_a_renewal_during_an_erasure_revives_nobody(rooms: Rooms, folder: Path) -> None:
    await Keys(rooms.edge, Files(folder)).of(ANNA)
    async with postgres.transaction(rooms.keeper) as tx:
        await sealing.destroy(tx, *ANNA)
        renewal = asyncio.create_task(Keys(rooms.edge, Files(folder), renew_days=0).of(ANNA))
        await rooms.blocked()
    thrown = await renewal
    assert await Keys(rooms.mailer, Files(folder)).by_id([thrown.id]) == {}
    assert [row["wrapped"] for row in await rooms.rows()] == [None]


async def test_an_erasure_during_a_renewal_takes_the_new_key_too(rooms: Rooms, folder: Path) -> None:
    await Keys(rooms.edge, Files(folder)).of(ANNA)
    async with postgres.transaction(rooms.edge) as tx:
        await tx.execute(store.ADD, *([value] for value in (*ANNA, "data", 2, "0001", b"wrapped")))
        erasure = asyncio.create_task(rooms.destroy(ANNA))
        await rooms.blocked()
    assert await erasure == 2
    assert [row["wrapped"] for row in await rooms.rows()] == [None, None]


# --- wrapped anew ---


async def sealed_for(rooms: Rooms, folder: Path, many: int) -> dict[int, bytes]:
    keys = Keys(rooms.edge, Files(folder))
    made = await asyncio.gather(*(keys.of(Subject("acct_1", f"cus_{n}")) for n in range(many)))
    return {key.id: key.seal(HERE, str(key.id).encode()) for key in made}


async def opens_all(rooms: Rooms, folder: Path, sealed: dict[int, bytes]) -> None:
    keys = await Keys(rooms.mailer, Files(folder)).by_id(sealed)
    assert {id: keys[id].open(HERE, sealed[id]) for id in sealed} == {id: str(id).encode() for id in sealed}


async def test_a_new_key_encryption_key_changes_how_keys_are_wrapped_and_nothing_else(
    rooms: Rooms, folder: Path
) -> None:
    sealed = await sealed_for(rooms, folder, 25)
    await Keys(rooms.edge, Files(folder)).index("acct_1")
    gone = Subject("acct_1", "cus_3")
    await rooms.destroy(gone)
    sealed = {
        row["id"]: sealed[row["id"]] for row in await rooms.rows() if row["wrapped"] and row["id"] in sealed
    }
    before = [dict(row) for row in await rooms.rows()]
    new_key(folder)
    told = [(p.done, p.failed, p.left) async for p in rewrap(rooms.keeper, Files(folder), at_once=10)]
    assert told == [(10, 0, 15), (20, 0, 5), (25, 0, 0)]
    after = [dict(row) for row in await rooms.rows()]
    for was, now in zip(before, after, strict=True):
        changed = {name for name in was if was[name] != now[name]}
        assert changed == ({"kek", "wrapped"} if was["wrapped"] else set())
    (folder / "0001.key").unlink()
    await opens_all(rooms, folder, sealed)
    assert [count async for count in rewrap(rooms.keeper, Files(folder))] == []
    assert await sealing.counts(rooms.keeper) == [("data", "", 1), ("data", "0002", 24), ("index", "0002", 1)]


async def test_wrapping_anew_goes_on_where_it_was_interrupted(rooms: Rooms, folder: Path) -> None:
    sealed = await sealed_for(rooms, folder, 25)
    new_key(folder)
    interrupted = rewrap(rooms.keeper, Files(folder), at_once=10)
    await anext(interrupted)
    await interrupted.aclose()
    await opens_all(rooms, folder, sealed)
    assert [(p.done, p.left) async for p in rewrap(rooms.keeper, Files(folder), at_once=10)] == [
        (10, 5),
        (15, 0),
    ]
    (folder / "0001.key").unlink()
    await opens_all(rooms, folder, sealed)


async def test_a_key_that_does_not_unwrap_is_told_and_left_as_it_is(rooms: Rooms, folder: Path) -> None:
    sealed = await sealed_for(rooms, folder, 3)
    bad = min(sealed)
    await rooms.owner.execute("update sealing.subject_key set wrapped = '\\x00' where id = $1", bad)
    new_key(folder)
    assert [p async for p in rewrap(rooms.keeper, Files(folder), at_once=1)][-1] == (2, 1, 0)
    assert [row["kek"] for row in await rooms.rows()] == ["0001", "0002", "0002"]


async def test_two_who_wrap_anew_or_erase_at_once_lose_nothing(rooms: Rooms, folder: Path) -> None:
    sealed = await sealed_for(rooms, folder, 40)

    async def all_of_it() -> None:
        async for _ in rewrap(rooms.keeper, Files(folder), at_once=3):
            pass

    new_key(folder)
    gone = [Subject("acct_1", f"cus_{n}") for n in range(0, 40, 4)]
    await asyncio.gather(all_of_it(), all_of_it(), *map(rooms.destroy, gone))
    alive = {row["id"]: sealed[row["id"]] for row in await rooms.rows() if row["wrapped"]}
    assert len(alive) == 30
    (folder / "0001.key").unlink()
    await opens_all(rooms, folder, alive)


async def test_a_wrong_key_encryption_key_opens_nothing(rooms: Rooms, folder: Path) -> None:
    sealed = await sealed_for(rooms, folder, 1)
    (folder / "0001.key").unlink()
    (folder / "0001.key").write_bytes(base64.b64encode(b"x" * 32))
    (folder / "0001.key").chmod(0o400)
    with pytest.raises(Unopenable, match=r"0001\.key"):
        await Keys(rooms.mailer, Files(folder)).by_id(sealed)


# --- looked up ---


async def test_a_customer_is_found_by_a_value_that_the_table_does_not_hold(
    rooms: Rooms, folder: Path
) -> None:
    key = await Keys(rooms.edge, Files(folder)).index("acct_1")
    field, email = "customer.email", "Anna@mill.example"
    rows = [("acct_1", field, key.digest(field, email), one.customer) for one in (ANNA, BERT, ANNA)]
    for _ in range(2):
        await rooms.index(rows)

    async def found(text: str, account: str = "acct_1") -> list[str]:
        return await sealing.lookup(rooms.mailer, Files(folder), account, field, text)

    assert await found(" anna@MILL.example") == ["cus_anna", "cus_bert"]
    assert await found("ann@mill.example") == []
    assert await found(email, account="acct_2") == []
    await rooms.destroy(ANNA)
    assert await found(email) == ["cus_bert"]
    await rooms.index(rows)
    assert await found(email) == ["cus_bert"]


# --- guarded ---

REFUSALS = (
    asyncpg.RestrictViolationError,  # by a trigger
    asyncpg.CheckViolationError,
    asyncpg.InsufficientPrivilegeError,
)


@pytest.mark.parametrize(
    ("who", "statement"),
    [
        ("owner", "delete from sealing.subject_key"),
        ("owner", "truncate sealing.subject_key"),
        ("owner", "update sealing.subject_key set id = default"),
        ("owner", "update sealing.subject_key set account = 'acct_2'"),
        ("owner", "update sealing.subject_key set customer = 'cus_bert'"),
        ("owner", "update sealing.subject_key set purpose = 'index', customer = ''"),
        ("owner", "update sealing.subject_key set version = 2"),
        ("owner", "update sealing.subject_key set created_at = created_at - interval '1 day'"),
        ("owner", "update sealing.subject_key set wrapped = null"),
        ("owner", "update sealing.subject_key set destroyed_at = now()"),
        ("keeper", "delete from sealing.subject_key"),
        ("keeper", "update sealing.subject_key set customer = 'cus_bert'"),
        ("edge", "update sealing.subject_key set wrapped = '\\x00'"),
        ("edge", "update sealing.subject_key set wrapped = null, destroyed_at = now()"),
        ("edge", "delete from sealing.blind_index"),
        ("edge", "insert into sealing.subject_key (account, customer, purpose, version, kek, destroyed_at)"
                 " values ('acct_1', 'cus_bert', 'data', 1, '', now())"),
        ("mailer", "insert into sealing.subject_key (account, customer, purpose, version, kek, wrapped)"
                   " values ('acct_1', 'cus_bert', 'data', 1, '0001', '\\x00')"),
        ("mailer", "delete from sealing.blind_index"),
        ("mailer", "select * from sealing.audit"),
    ],
)  # fmt: skip
async def test_what_nobody_or_not_this_role_may_do(
    rooms: Rooms, folder: Path, who: str, statement: str
) -> None:
    await Keys(rooms.edge, Files(folder)).of(ANNA)
    before = await rooms.rows()
    with pytest.raises(REFUSALS):
        await getattr(rooms, who).execute(statement)
    assert await rooms.rows() == before


async def test_a_destroyed_key_does_not_come_back(rooms: Rooms, folder: Path) -> None:
    key = await Keys(rooms.edge, Files(folder)).of(ANNA)
    (row,) = await rooms.rows()
    await rooms.destroy(ANNA)
    back = "update sealing.subject_key set wrapped = $2, destroyed_at = null where id = $1"
    for connection in (rooms.owner, rooms.keeper):
        with pytest.raises(asyncpg.RestrictViolationError, match="destroyed, and stays so"):
            await connection.execute(back, key.id, row["wrapped"])


STATEMENTS = {name: text for name, text in vars(store).items() if name.isupper() and isinstance(text, str)}
ROLES = {"NEWEST": EDGE, "ADD": EDGE, "INDEX": EDGE, "BY_ID": MAILER, "FIND": MAILER}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_every_statement_is_allowed_to_whoever_runs_it(rooms: Rooms, name: str) -> None:
    assert STATEMENTS[name].lstrip().startswith("-- ")
    connection = await asyncpg.connect(rooms.db.dsn(ROLES.get(name, sealing.SCHEMA)))
    try:
        statement = await connection.prepare(STATEMENTS[name])
        nulls = [None] * len(statement.get_parameters())
        await connection.fetch(f"explain {STATEMENTS[name]}", *nulls)
    finally:
        await connection.close()
