"""A catalog with a mistake names file, line and fix; and the version that runs goes on running."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from entitlement.catalog import InForce, read
from lab.northwind import plans
from millrace.clock import FrozenClock
from millrace.errors import Misconfigured
from tests.unit.entitlement.telling import CATALOG

GOOD = """\
version: "1"
effective_from: 2026-01-01T00:00:00Z
features:
  boards: {kind: limit}
  sso: {kind: switch, when_restricted: keep}
  seats: {kind: seats}
plans:
  team:
    prices: [price_1]
    lookup_keys: [team_monthly]
    features: {boards: 10}
  scale:
    products: [prod_scale]
    features: {boards: unlimited, sso: true, seats: 3}
"""
# what is written instead of what → line, what the message must say
MISTAKES = {
    "unknown key": ("version:", "versoin:", 1, "versoin: is not known here; did you mean version?"),
    "missing key": ('version: "1"\n', "", 1, "'version' is missing; add `version:`"),
    "version is a number": (
        'version: "1"',
        "version: 1",
        1,
        'version: 1 is not a text; write it in "quotes"',
    ),
    "no instant": (
        "2026-01-01T00:00:00Z",
        "soon",
        2,
        "effective_from: 'soon' is not an instant; write 2026-",
    ),
    "no day": ("2026-01-01T00:00:00Z", "2026-02-31", 2, "effective_from: 2026-02-31 is not an instant"),
    "unknown kind": (
        "kind: limit",
        "kind: lmit",
        4,
        "features.boards.kind: 'lmit' is not known; did you mean limit?",
    ),
    "unknown policy": ("keep", "kep", 5, "'kep' is not known; did you mean keep?"),
    "feature without kind": ("{kind: limit}", "{}", 4, "features.boards: 'kind' is missing"),
    "features is a list": ("{boards: 10}", "[boards]", 11, "plans.team.features: is not a mapping"),
    "unknown feature": ("{boards: 10}", "{boadrs: 10}", 11, "no such feature; declare it under `features:`"),
    "limit is a word": ("{boards: 10}", "{boards: many}", 11, "'many' is not a limit; write a whole number"),
    "limit is negative": ("{boards: 10}", "{boards: -1}", 11, "-1 is not a limit"),
    "limit is a switch": ("{boards: 10}", "{boards: true}", 11, "true is not a limit"),
    "limit is a fraction": ("{boards: 10}", "{boards: 1.5}", 11, "1.5 is not a limit"),
    "limit is a list": ("{boards: 10}", "{boards: [10]}", 11, "is not a single value"),
    "switch is a number": ("sso: true", "sso: 1", 14, "sso: 1 is not a switch; write true or false"),
    "seats is a word": (
        "seats: 3",
        "seats: some",
        14,
        "seats: 'some' is not a number of seats; write a whole number from 0, or true",
    ),
    "prices is a word": ("[price_1]", "price_1", 9, "plans.team.prices: is not a list; write [a, b]"),
    "price is a number": ("[price_1]", "[7]", 9, "7 is not a text"),
    "price twice": (
        "[team_monthly]",
        "[price_1]",
        10,
        "'price_1' belongs to plan 'team' already; name it once",
    ),
    "plan twice": ("  scale:", "  team:", 12, "plans.team: is there twice; keep one of them"),
    "bad YAML": ("[price_1]", "[price_1", 10, "not YAML: "),
    "tab": ("  boards:", "\tboards:", 4, "not YAML: "),
    "empty": (GOOD, "", 1, "is empty; write it, or set ENTITLEMENT_CATALOG to"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_file_line_and_fix_and_the_running_version_stays(
    mistake: str, tmp_path: Path
) -> None:
    old, new, line, says = MISTAKES[mistake]
    path = written(tmp_path, GOOD)
    watched = InForce(path, FrozenClock(datetime(2026, 7, 1, tzinfo=UTC)))
    bad = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(Misconfigured) as refused:
        read(bad)
    assert str(refused.value).startswith(f"{path}:{line}: ")
    assert says in str(refused.value)
    assert watched.current().version == "1"
    assert watched.file.refused
    written(tmp_path, GOOD.replace('"1"', '"2"'))
    assert watched.current().version == "2"
    assert not watched.file.refused


def written(folder: Path, text: str) -> Path:
    """A file with a time stamp of its own, however fast the test writes."""
    path = folder / "catalog.yaml"
    stamp = path.stat().st_mtime_ns + 1_000_000 if path.exists() else 1_000_000_000
    path.write_text(text)
    os.utime(path, ns=(stamp, stamp))
    return path


def test_a_service_does_not_start_with_a_bad_or_missing_file(tmp_path: Path) -> None:
    clock = FrozenClock(datetime(2026, 7, 1, tzinfo=UTC))
    with pytest.raises(Misconfigured, match="versoin: is not known here"):
        InForce(written(tmp_path, GOOD.replace("version", "versoin")), clock)
    with pytest.raises(Misconfigured, match=r"nowhere\.yaml: cannot be read: .* set ENTITLEMENT_CATALOG"):
        InForce(tmp_path / "nowhere.yaml", clock)


def test_a_version_waits_for_its_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "entitlement.catalog")
    clock = FrozenClock(datetime(2026, 7, 1, tzinfo=UTC))
    watched = InForce(written(tmp_path, GOOD), clock)
    written(tmp_path, GOOD.replace('"1"', '"2"').replace("2026-01-01", "2026-07-02"))
    assert watched.current().version == "1"
    clock.at += timedelta(days=1)
    assert watched.current().version == "2"
    assert watched.current().plans["scale"].gives == {"boards": -1, "sso": 0, "seats": 3}
    assert [vars(line)["catalog"] for line in caplog.records] == ["1", "2"]
    with pytest.raises(Misconfigured, match="has not come yet"):
        InForce(watched.file.path, FrozenClock(datetime(2026, 7, 1, tzinfo=UTC)))


def test_a_version_that_waits_does_not_come_while_its_file_is_bad(tmp_path: Path) -> None:
    clock = FrozenClock(datetime(2026, 7, 1, tzinfo=UTC))
    watched = InForce(written(tmp_path, GOOD), clock)
    next_ = GOOD.replace('"1"', '"2"').replace("2026-01-01", "2026-07-02")
    written(tmp_path, next_)
    assert watched.current().version == "1"
    written(tmp_path, next_.replace("boards: 10", "boards: ten"))
    clock.at += timedelta(days=1)
    assert watched.current().version == "1"
    written(tmp_path, next_)
    assert watched.current().version == "2"


def test_other_content_under_the_same_version_is_refused(tmp_path: Path) -> None:
    watched = InForce(written(tmp_path, GOOD), FrozenClock(datetime(2026, 7, 1, tzinfo=UTC)))
    written(tmp_path, GOOD.replace("boards: 10", "boards: 99"))
    assert watched.current().plans["team"].gives == {"boards": 10}
    assert watched.file.refused


def test_a_file_that_disappears_leaves_the_running_version(tmp_path: Path) -> None:
    watched = InForce(written(tmp_path, GOOD), FrozenClock(datetime(2026, 7, 1, tzinfo=UTC)))
    watched.file.path.unlink()
    assert watched.current().version == "1"


def test_the_companys_catalog_sells_exactly_what_the_company_sells() -> None:
    sold = {plans.lookup_key(plan, currency, interval) for plan, currency, interval, _ in plans.amounts()}
    assert set(CATALOG.by_price) == sold
    assert set(CATALOG.by_product) == set(map(plans.product_id, plans.PLANS))
