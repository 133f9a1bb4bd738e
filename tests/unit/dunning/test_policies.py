"""The policy file: what it means, what is refused with file, line and fix, and that a bad file changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from dunning import policies
from dunning.domain import Kind
from millrace.documents import Watched
from millrace.errors import Misconfigured

GOOD = """\
default:
  grace_days: 7
  declines:
    hard: 3
plans:
  scale:
    applies_to: [prod_scale, scale_monthly]
    grace_days: 30
    written_off: given
  team:
    applies_to: [prod_team]
"""

# what is wrong | the line that replaces the one it names | line | what the message must say
MISTAKES = """
a word for a number      |   grace_days: 7   |   grace_days: seven     | 2 | 'seven' is not a number of days; write a whole
a fraction of a day      |   grace_days: 7   |   grace_days: 7.5       | 2 | 7.5 is not a number of days
a day that is quoted     |   grace_days: 7   |   grace_days: "7"       | 2 | '7' is not a number of days
more than a year         |   grace_days: 7   |   grace_days: 400       | 2 | write a whole number from 0 to 365
a misspelt rule          |   grace_days: 7   |   grace_day: 7          | 2 | default.grace_day: is not known here; did you mean grace_days?
a misspelt kind          |     hard: 3       |     herd: 3             | 4 | default.declines.herd: is not known here; did you mean hard?
a rule twice             |     hard: 3       |     hard: 3\\n    hard: 4 | 5 | default.declines.hard: is there twice; keep one
no such access           |     written_off: given |     written_off: maybe | 9 | plans.scale.written_off: 'maybe' is not known; use restricted or given
two plans, one product   |     applies_to: [prod_team] |     applies_to: [prod_scale] | 11 | prod_scale belongs to two policies; name it in one of scale and team
a plan for nothing       |     applies_to: [prod_team] |     after_grace: given | 10 | plans.team: 'applies_to' is missing; add `applies_to:`
no list                  |     applies_to: [prod_team] |     applies_to: prod_team | 11 | plans.team.applies_to: is not a list; write [price_x
nothing in the list      |     applies_to: [prod_team] |     applies_to: [] | 11 | applies_to: needs 1 or more; write [price_x
a number for a name      |     applies_to: [prod_team] |     applies_to: [12] | 11 | plans.team.applies_to[0]: 12 is not a name; write it in "quotes"
not YAML                 |     hard: 3       |     hard: [3            | 5 | not YAML
no default               | default:          | defaults:               | 1 | defaults: is not known here; did you mean default?
"""  # noqa: E501 a table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "dunning.yaml"
    path.write_text(GOOD)
    return path


def test_a_plan_takes_from_the_default_what_it_leaves_out(file: Path) -> None:
    read = policies.read(file)
    team, scale, other = (read.of(frozenset({sold})) for sold in ("prod_team", "scale_monthly", "prod_new"))
    assert [(p.name, p.grace_days, p.written_off, p.after_grace) for p in (team, scale, other)] == [
        ("team", 7, "restricted", "restricted"),
        ("scale", 30, "given", "restricted"),
        ("default", 7, "restricted", "restricted"),
    ]
    assert [p.applies_to for p in read.plans] == [{"prod_scale", "scale_monthly"}, {"prod_team"}]
    assert [p.grace(Kind.HARD).days for p in (team, scale, other)] == [3, 30, 3]


@pytest.mark.parametrize(
    "mistake", MISTAKES.strip().splitlines(), ids=lambda row: row.split(" | ")[0].strip()
)
def test_a_mistake_names_file_line_and_fix(file: Path, mistake: str) -> None:
    _, good, bad, line, message = (part.rstrip() for part in mistake.split(" | "))
    assert f"{good}\n" in GOOD
    file.write_text(GOOD.replace(f"{good}\n", bad.replace("\\n", "\n") + "\n"))
    with pytest.raises(Misconfigured) as refused:
        policies.read(file)
    assert str(refused.value).startswith(f"{file}:{line}: ")
    assert message.strip() in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; write it, or set DUNNING_POLICIES"),
        ("default: {}", "default: 'grace_days' is missing"),
        ("plans: {}", "'default' is missing; add `default:`"),
        ("- 7", "not a mapping"),
    ],
)
def test_an_unusable_file_says_what_to_write(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(Misconfigured, match=message):
        policies.read(file)


def test_a_missing_file_names_its_setting(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"nowhere\.yaml: cannot be read: .* set DUNNING_POLICIES"):
        policies.read(tmp_path / "nowhere.yaml")


def test_a_changed_file_takes_effect_and_a_bad_one_leaves_the_running_version(file: Path) -> None:
    live = Watched(file, policies.read)
    assert live().default.grace_days == 7

    _replace(file, GOOD.replace("grace_days: 7", "grace_days: 9"))
    assert live().default.grace_days == 9

    _replace(file, GOOD.replace("grace_days: 7", "grace_days: many"))
    assert live().default.grace_days == 9
    assert live.refused

    file.unlink()
    assert live().default.grace_days == 9

    _replace(file, GOOD)
    assert live().default.grace_days == 7
    assert not live.refused


def test_the_demo_companys_policies_are_valid() -> None:
    read = policies.read(Path("lab/company/dunning.yaml"))
    assert read.of(frozenset({"prod_scale"})).written_off == "given"


def _replace(file: Path, text: str) -> None:
    """A new version of the file, as an editor or a mounted volume would put it there: another inode."""
    fresh = file.with_suffix(".next")
    fresh.write_text(text)
    fresh.replace(file)
