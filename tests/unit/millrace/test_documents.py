"""A mistake in a document names file, line and fix; a bad new version changes nothing; no secret is quoted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from millrace.documents import BYTES_MAX, Node, Watched, beside, load
from millrace.errors import Misconfigured

Verb = Callable[[Node], Any]

whole: Verb = Node.whole
flag: Verb = Node.flag
text: Verb = Node.text
instant: Verb = Node.instant


def days(node: Node) -> int:
    return node.whole("a number of days", most=365, instead="never")


def colour(node: Node) -> str:
    return node.choice("red", "green", "on")


def one_at_least(node: Node) -> list[str]:
    return [item.text() for item in node.items("[a]", least=1)]


READ: list[tuple[str, Verb, Any]] = [
    ("red", text, "red"),
    ("'7'", text, "7"),
    ("2024-04-10", text, "2024-04-10"),  # a date is a text, as written: Stripe's older versions are dates
    ("2024-02-31", text, "2024-02-31"),
    ("0", whole, 0),
    ("365", days, 365),
    ("999999999999999999", whole, 999_999_999_999_999_999),
    ("true", flag, True),
    ("No", flag, False),
    ("green", colour, "green"),
    ("on", colour, "on"),  # which YAML takes for a switch
    ("[a, 'b']", one_at_least, ["a", "b"]),
    ("[]", Node.items, []),
    ("2026-07-01T02:00:00+02:00", instant, datetime(2026, 7, 1, tzinfo=UTC)),
    ('"2026-07-01T00:00:00Z"', instant, datetime(2026, 7, 1, tzinfo=UTC)),  # as JSON has it
    ("&name red", text, "red"),
]


@pytest.mark.parametrize(("written", "verb", "means"), READ, ids=[row[0] for row in READ])
def test_a_value_is_read_by_its_verb(tmp_path: Path, written: str, verb: Verb, means: Any) -> None:
    found = verb(field(tmp_path, written))
    assert (found, type(found)) == (means, type(means))


SINGLE = "is not a single value; write one word or number"
WRONG: list[tuple[str, Verb, str]] = [
    ("7", text, '7 is not a text; write it in "quotes"'),
    ("true", text, "true is not a text"),
    ("!include other.yaml", text, "other.yaml is not a text"),
    ("", text, "has no value"),
    ('""', text, 'has no value; write it in "quotes"'),
    ("~", text, "~ is not a text"),
    ("[a]", text, SINGLE),
    ("{a: b}", flag, SINGLE),
    ("seven", days, "'seven' is not a number of days; write a whole number from 0 to 365, or never"),
    ("366", days, "366 is not a number of days"),
    ('"7"', whole, "'7' is not a whole number; write a whole number from 0, without quotes"),
    ("7.0", whole, "7.0 is not a whole number"),
    ("-1", whole, "-1 is not a whole number"),
    ("010", whole, "010 is not a whole number"),  # eight, says YAML
    ("1:30", whole, "1:30 is not a whole number"),  # ninety
    ("0x1F", whole, "0x1F is not a whole number"),
    ("1_000", whole, "1_000 is not a whole number"),
    ("!!int seven", whole, "seven is not a whole number"),
    ("9" * 5000, whole, f"{'9' * 40}… is not a whole number"),
    ("", whole, "has no value; write a whole number from 0"),
    ("1", flag, "1 is not a switch; write true or false"),
    ("'true'", flag, "'true' is not a switch; write true or false, without quotes"),
    ("!!bool maybe", flag, "maybe is not a switch"),
    ("rde", colour, "'rde' is not known; did you mean red?"),
    ("blue", colour, "'blue' is not known; use red or green or on"),
    ("", colour, "has no value; use red or green or on"),
    ("red", Node.items, "is not a list; write [a, b]"),
    ("[]", one_at_least, "needs 1 or more; write [a]"),
    ("soon", instant, "'soon' is not an instant; write 2026-07-01T00:00:00Z"),
    ("2026-07-01", instant, "2026-07-01 is not an instant"),
    ("2026-07-01T00:00:00", instant, "2026-07-01T00:00:00 is not an instant"),  # in which zone?
    ("0001-01-01T00:00:00+14:00", instant, "0001-01-01T00:00:00+14:00 is not an"),  # before the first one
    ("7", instant, "7 is not an instant"),
    ("red", Node.entries, "is not a mapping; write `key: value` lines below it"),
    (f"'{'long ' * 20}'", whole, f"'{'long ' * 8}…' is not a whole number"),
]


@pytest.mark.parametrize(
    ("written", "verb", "says"), WRONG, ids=[f"{row[0]:.20} {row[2]:.30}" for row in WRONG]
)
def test_another_value_names_file_line_and_fix(tmp_path: Path, written: str, verb: Verb, says: str) -> None:
    node = field(tmp_path, written)
    with pytest.raises(Misconfigured) as refused:
        verb(node)
    assert str(refused.value).startswith(f"{tmp_path}/crm.yaml:2: field: {says}")
    assert "; " in str(refused.value)


def teams(document: Node) -> dict[str, list[str]]:
    """A document with every kind of nesting."""
    top = document.fields("teams", optional=["owner"])
    return {
        name: [
            person.text() for person in team.fields("people", "seats", optional=["seats"])["people"].items()
        ]
        for name, team in top["teams"].entries().items()
    }


GOOD = """\
# who is in which team
teams:
  red:
    people: [ann,
             bob]
    seats: 2
  green:
    people: []
    seats: 1
"""
# what is written instead of what | line | what the message must say
MISTAKES = [
    ("teams:\n", "teems:\n", 2, "teems: is not known here; did you mean teams?"),
    ("teams:\n", "zzz:\n", 2, "zzz: is not known here; use teams or owner"),
    ("    seats: 2\n", "", 3, "teams.red: 'seats' is missing; add `seats:`"),
    (
        "    seats: 2\n",
        "    seats: 2\n    seats: 3\n",
        7,
        "teams.red.seats: is there twice; keep one of them",
    ),
    ("  green:", "  'red':", 7, "teams.red: is there twice"),
    ("bob]", "7]", 5, "teams.red.people[1]: 7 is not a text"),
    ("people: []", "people:\n      - a\n      - b: c", 10, "teams.green.people[1]: is not a single value"),
    ("  green:", "  [a, b]:", 7, "teams: holds a key that is not a name; write one word"),
    ("  green:", "  '':", 7, "teams: holds a key that is not a name"),
    ("  green:", "  <<:", 7, "teams: holds a key that is not a name"),
    ("  green:", '  "a\\nb": 1\n  green:', 7, "teams.a\\nb: is not a mapping"),
    ("[]", "*ann", 8, "*ann stands for something elsewhere; write it out here"),
    ("[ann", "[&ann ann, *ann", 4, "*ann stands for something elsewhere"),
    ("bob]", "bob", 6, "is not YAML: expected ',' or ']'"),
    ("  green", "\tgreen", 7, "is not YAML: "),
    ("  green:", "---\n  green:", 7, "is not YAML: found another document"),
    ("bob", "b\u0007b", 5, "is not YAML: a control character; remove it"),
]


def test_a_document_is_read_by_its_fields(tmp_path: Path) -> None:
    assert teams(document(tmp_path, GOOD)) == {"red": ["ann", "bob"], "green": []}


@pytest.mark.parametrize(("old", "new", "line", "says"), MISTAKES, ids=[row[3][:50] for row in MISTAKES])
def test_a_mistake_names_its_own_line(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    assert old in GOOD
    with pytest.raises(Misconfigured) as refused:
        teams(document(tmp_path, GOOD.replace(old, new, 1)))
    assert str(refused.value).startswith(f"{tmp_path}/crm.yaml:{line}: {says}")


FILES = {
    "empty": (b"", 1, "is empty; write it, or set CRM_TEAMS to the one you mean"),
    "only a comment": (b"# later\n", 1, "is empty"),
    "not UTF-8": (b"teams:\n  caf\xe9: 1\n", 2, "is not UTF-8 text; save it as UTF-8"),
    "too large": (b"#" * (BYTES_MAX + 1), 1, "is larger than 262144 bytes; check that CRM_TEAMS names"),
    "too deep": (b"[" * 5000 + b"]" * 5000, 1, "nests too deeply; write it flat"),
}


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, file: str) -> None:
    content, line, says = FILES[file]
    path = tmp_path / "crm.yaml"
    path.write_bytes(content)
    with pytest.raises(Misconfigured) as refused:
        load(path, "CRM_TEAMS")
    assert str(refused.value).startswith(f"{path}:{line}: {says}")


def test_the_largest_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    content = "\ufeffteams: {}\n".encode()
    (tmp_path / "crm.yaml").write_bytes(content + b"#" * (BYTES_MAX - len(content)))
    assert teams(load(tmp_path / "crm.yaml", "CRM_TEAMS")) == {}


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_a_missing_file_names_its_setting(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misconfigured, match=r": cannot be read: .*; set CRM_TEAMS"):
        load(tmp_path / name, "CRM_TEAMS")


def test_a_field_that_may_be_left_out_has_something_otherwise(tmp_path: Path) -> None:
    fields = document(tmp_path, "a: 7").fields(optional=["a", "b"])
    assert (fields.given("a", whole, 1), fields.given("b", whole, 1)) == (7, 1)


@pytest.mark.parametrize(
    "written",
    [
        "field: KEY",
        "field: [KEY]",
        "KEY: x",
        "field: {KEY: x}",
        "field: *KEY",
        "field: 'KEY",
        "field: !KEY!x 1",
        "a: &KEY 1\nfield: &KEY {b: 1}",
    ],
)
@pytest.mark.parametrize("key", ["whsec_c2VjcmV0", "sk_live_51Secret", "rk_test_51Secret"])
def test_a_secret_is_never_quoted(tmp_path: Path, written: str, key: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        document(tmp_path, written.replace("KEY", key)).fields("field")["field"].whole()
    shown = [str(refused.value), *(str(e) for e in chain(refused.value))]
    assert not any(key in message for message in shown)


# --- a file that is watched ---


@pytest.fixture
def watched(tmp_path: Path) -> Watched[int]:
    put(tmp_path, "seats: 1")
    return Watched(tmp_path / "crm.yaml", seats)


def seats(path: Path) -> int:
    return load(path, "CRM_TEAMS").fields("seats")["seats"].whole()


def test_a_valid_change_takes_effect_and_a_bad_one_changes_nothing(
    watched: Watched[int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert (watched(), shown(watched)) == (1, 0)
    put(tmp_path, "seats: 2")
    assert (watched(), watched.refused, shown(watched)) == (2, False, 0)
    put(tmp_path, "# sk_live_51Secret\nseats: sk_live_51Secret")
    with caplog.at_level(logging.WARNING):
        assert [watched() for _ in range(3)] == [2, 2, 2]
    assert (watched.refused, shown(watched)) == (True, 1)
    (line,) = caplog.records
    assert vars(line)["problem"].startswith(f"{watched.path}:2: seats: 'sk_…' is not a whole number")
    put(tmp_path, "seats: 3")
    assert (watched(), watched.refused, shown(watched)) == (3, False, 0)


def test_a_file_that_goes_leaves_its_value_until_it_comes_back(watched: Watched[int], tmp_path: Path) -> None:
    aside = watched.path.rename(tmp_path / "aside")
    assert (watched(), shown(watched)) == (1, 1)
    aside.rename(watched.path)
    assert (watched(), shown(watched)) == (1, 0)


def test_a_file_that_has_not_changed_is_not_read(tmp_path: Path) -> None:
    reads: list[Path] = []

    def read(path: Path) -> int:
        reads.append(path)
        return seats(path)

    put(tmp_path, "seats: 1")
    watched = Watched(tmp_path / "crm.yaml", read)
    assert ([watched() for _ in range(3)], len(reads)) == ([1, 1, 1], 1)
    put(tmp_path, "seats: x")
    assert ([watched() for _ in range(3)], len(reads)) == ([1, 1, 1], 2)


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    versions = iter(["seats: 2"])

    def read(path: Path) -> int:
        found = seats(path)
        for text in versions:
            put(tmp_path, text)
        return found

    put(tmp_path, "seats: 1")
    watched = Watched(tmp_path / "crm.yaml", read)
    assert watched() == 2


def test_the_first_version_must_be_good(tmp_path: Path) -> None:
    put(tmp_path, "seats: many")
    with pytest.raises(Misconfigured, match=r"crm\.yaml:1: seats: 'many' is not"):
        Watched(tmp_path / "crm.yaml", seats)


def test_a_bug_of_the_reader_is_not_taken_for_a_bad_file(watched: Watched[int], tmp_path: Path) -> None:
    def broken(_: Path) -> int:
        raise KeyError("seats")

    watched.read = broken
    put(tmp_path, "seats: 2")
    with pytest.raises(KeyError):
        watched()


def test_between_two_looks_nothing_is_asked_of_the_file(tmp_path: Path) -> None:
    second = 0.0
    put(tmp_path, "seats: 1")
    watched = Watched(tmp_path / "crm.yaml", seats, seconds=1.0, clock=lambda: second)
    put(tmp_path, "seats: 2")
    found = []
    for second in (0.5, 0.9, 1.0, 1.5):  # noqa: B007 the clock that is asked
        found.append(watched())
    put(tmp_path, "seats: 3")
    for second in (1.9, 2.1):  # noqa: B007
        found.append(watched())
    assert found == [1, 1, 2, 2, 2, 3]


def room(path: Path) -> str:
    """A document that names a further file, which may be missing and must not be empty."""
    place = load(path, "CRM_TEAMS").fields("room")["room"]
    try:
        return beside(path.parent / place.text()) or place.wrong("is empty", "write the room into it")
    except OSError:
        return place.wrong("is not there", "make it")


@pytest.fixture
def housed(tmp_path: Path) -> Watched[str]:
    put(tmp_path, "one", "a")
    put(tmp_path, "room: a")
    return Watched(tmp_path / "crm.yaml", room)


def test_a_file_beside_the_document_is_watched_with_it(housed: Watched[str], tmp_path: Path) -> None:
    put(tmp_path, "two", "a")
    assert housed() == "two"
    put(tmp_path, "", "a")
    assert (housed(), housed.refused) == ("two", True)
    put(tmp_path, "three", "a")
    assert (housed(), housed.refused) == ("three", False)


def test_a_file_that_the_refused_version_named_is_watched_too(housed: Watched[str], tmp_path: Path) -> None:
    put(tmp_path, "room: b")
    assert (housed(), housed.refused) == ("one", True)
    put(tmp_path, "two", "b")
    assert (housed(), housed.refused) == ("two", False)


def test_a_file_that_no_version_names_any_longer_is_forgotten(housed: Watched[str], tmp_path: Path) -> None:
    put(tmp_path, "two", "b")
    put(tmp_path, "room: b")
    assert housed() == "two"

    def unasked(_: Path) -> str:
        raise AssertionError("nothing has changed")

    housed.read = unasked
    (tmp_path / "a").unlink()
    assert (housed(), housed.refused) == ("two", False)


def test_a_link_that_is_swung_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes does it: what is mounted are links into a link, and only that one is replaced."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        put(tmp_path / version, f"room {version}", "a")
    (tmp_path / "data").symlink_to("1")
    (tmp_path / "a").symlink_to("data/a")
    put(tmp_path, "room: a")
    watched = Watched(tmp_path / "crm.yaml", room)
    assert watched() == "room 1"
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").replace(tmp_path / "data")
    assert watched() == "room 2"


def test_a_file_is_read_beside_a_document_that_nobody_watches(tmp_path: Path) -> None:
    put(tmp_path, "one", "a")
    put(tmp_path, "room: a")
    assert room(tmp_path / "crm.yaml") == "one"


def document(folder: Path, text: str) -> Node:
    (folder / "crm.yaml").write_text(text, encoding="utf-8")
    return load(folder / "crm.yaml", "CRM_TEAMS")


def field(folder: Path, written: str) -> Node:
    """The node of one field, on the second line."""
    return document(folder, f"# a document\nfield: {written}\n").fields("field")["field"]


def put(folder: Path, text: str, name: str = "crm.yaml") -> None:
    """A new version, as an editor or a mounted volume puts it there: another inode, whatever the clock says."""
    (folder / "next").write_text(text)
    (folder / "next").replace(folder / name)


def chain(problem: BaseException) -> list[BaseException]:
    """What a traceback would show beside the problem itself."""
    below = problem.__cause__ or (None if problem.__suppress_context__ else problem.__context__)
    return [below, *chain(below)] if below else []


def shown(watched: Watched[int]) -> float | None:
    return REGISTRY.get_sample_value("millrace_document_refused", {"document": str(watched.path)})
