"""A saved account goes on exactly as the one that was saved."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from millrace_lab import clockwork
from millrace_lab.account import DAY, Account
from millrace_lab.api import Api, Request
from millrace_lab.delivery.mail import Answer, Mail
from millrace_lab.delivery.schedule import Schedule
from millrace_lab.edge.triggers import trigger
from millrace_lab.saving import Unreadable, load, save
from tests.support.double import OPENS


def lived(seed: int = 7) -> tuple[Account, Mail]:
    """An account in the middle of things: objects of several kinds, a deleted one, deliveries under way."""
    account = clockwork.furnished(Account(seed, OPENS))
    mail = Mail(account, Schedule(seed, "hostile"))
    api = Api(account)
    api.post("/v1/webhook_endpoints", url="https://example.com/hook", enabled_events=["*"])
    for number in range(12):
        product = api.post("/v1/products", name=f"Team {number}")
        api.post(f"/v1/products/{product['id']}", description="für alle ☕")
    api.delete(f"/v1/products/{product['id']}")
    go_on(account, mail, OPENS + 60)
    return account, mail


def go_on(account: Account, mail: Mail, until: int) -> None:
    """Live until a second, every third delivery failing."""
    while letters := mail.take(until):
        for letter in letters:
            clockwork.advance(account, max(letter.at, account.now))
            mail.record(letter, Answer(500 if letter.attempt % 3 == 0 else 200, 3))
    clockwork.advance(account, until)


def test_saved_loaded_and_saved_again_is_the_same_file(tmp_path: Path) -> None:
    account, mail = lived()
    first, second = tmp_path / "first", tmp_path / "second"
    size = save(first, account, mail)
    save(second, *load(first))
    assert first.read_bytes() == second.read_bytes()
    assert size == first.stat().st_size


def test_a_loaded_account_goes_on_as_the_saved_one_would_have(tmp_path: Path) -> None:
    account, mail = lived()
    save(tmp_path / "kept", account, mail)
    other, others_mail = load(tmp_path / "kept")
    for one, its_mail in ((account, mail), (other, others_mail)):
        Api(one).post("/v1/products", name="Later")
        go_on(one, its_mail, OPENS + 5 * DAY)
    assert other.events == account.events
    assert other.objects == account.objects
    assert others_mail.log == mail.log
    assert others_mail.schedule.records == mail.schedule.records


def test_a_body_that_an_event_shares_with_its_object_is_written_once(tmp_path: Path) -> None:
    account, mail = lived()
    save(tmp_path / "kept", account, mail)
    header, *lines = (tmp_path / "kept").read_bytes().splitlines()
    bodies = {id(b) for b in account.objects.values()} | {id(t.object) for t in account.events}
    bodies |= {id(body) for body, _ in account.before.values()}
    assert orjson.loads(header)["bodies"] == len(bodies) == len(lines) - 1
    other, _ = load(tmp_path / "kept")
    created = next(told for told in other.events[::-1] if told.type == "product.updated")
    assert other.before[created.object["id"]][0] is created.object


def test_nothing_that_an_account_holds_is_forgotten(tmp_path: Path) -> None:
    account, mail = lived()
    account.settings["twins"] = 1.0
    account.replays["key_1"] = {"at": OPENS, "body": {}}
    trigger(Api(account), "charge.succeeded")
    assert any(told.twin for told in account.events)
    save(tmp_path / "kept", account, mail)
    other, _ = load(tmp_path / "kept")
    own = {"listeners"}  # set up anew by whoever listens
    assert {k: v for k, v in vars(other).items() if k not in own and v != getattr(account, k)} == {}


def test_connected_accounts_are_kept_and_go_on_with_their_platform(tmp_path: Path) -> None:
    account, mail = lived()
    id_ = Api(account).post("/v1/accounts", type="custom", country="DE")["id"]
    ask = Request("POST", "/v1/products", {"name": "Theirs"}, key="sk_test_lab", account=id_)
    assert Api(account).call(ask).status == 200
    save(tmp_path / "kept", account, mail)
    other, _ = load(tmp_path / "kept")
    clockwork.advance(other, OPENS + DAY)
    assert Api(other).call(ask).body["name"] == "Theirs"
    was, now = account.connected[id_], other.connected[id_]
    assert now.events[: len(was.events)] == was.events
    assert [told.account for told in now.events] == [id_, id_]
    assert (now.now, now.platform, now.listeners) == (OPENS + DAY, other, other.listeners)


REFUSED = {
    "nothing": (b"", "cannot be read"),
    "something else": (b"hello\n", "cannot be read"),
    "other JSON": (b'{"a": 1}\n', "is not a saved account"),
    "another format": (
        b'{"millrace_lab": 99, "bodies": 0}\n{}\n',
        "format 99; this program reads and writes",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_loaded_is_refused_in_a_sentence(what: str, tmp_path: Path) -> None:
    content, sentence = REFUSED[what]
    (tmp_path / "kept").write_bytes(content)
    with pytest.raises(Unreadable, match=sentence):
        load(tmp_path / "kept")


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    account, mail = lived()
    save(tmp_path / "kept", account, mail)
    whole = (tmp_path / "kept").read_bytes().splitlines(keepends=True)
    (tmp_path / "kept").write_bytes(b"".join(whole[:-1]))
    with pytest.raises(Unreadable, match="cannot be read"):
        load(tmp_path / "kept")


def test_a_save_that_fails_leaves_the_old_file_as_it_was(tmp_path: Path) -> None:
    account, mail = lived()
    save(tmp_path / "kept", account, mail)
    before = (tmp_path / "kept").read_bytes()
    account.settings["name"] = object()
    with pytest.raises(TypeError):
        save(tmp_path / "kept", account, mail)
    assert (tmp_path / "kept").read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]
