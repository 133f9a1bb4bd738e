"""The company's dunning policies, as they stand in their file; `lab/company/dunning.yaml` explains one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dunning.domain import Access, Kind, Policies, Policy
from millrace.documents import Fields, Node, load

RULES = ("grace_days", "after_grace", "written_off", "declines")
GRACE_DAYS_MAX = 365
UNSAID = Policy("default", 0, "restricted", "restricted", {})


def read(path: Path) -> Policies:
    """The policies in a file. Raises Misconfigured: file:line, what is wrong, what to write instead."""
    top = load(path, "DUNNING_POLICIES").fields("default", optional=["plans"])
    default = _policy("default", top["default"].fields("grace_days", optional=RULES), UNSAID, frozenset())
    return Policies(default, tuple(_plans(top["plans"], default)) if "plans" in top else ())


def _plans(node: Node, default: Policy) -> Iterator[Policy]:
    owners: dict[str, str] = {}
    for name, plan in node.entries().items():
        rules = plan.fields("applies_to", optional=RULES)
        yield _policy(name, rules, default, _sold(name, rules["applies_to"], owners))


def _sold(name: str, node: Node, owners: dict[str, str]) -> frozenset[str]:
    """What a policy applies to. Writes: `owners`, so that nothing belongs to two."""
    for item in node.items("[price_x, prod_y]", least=1):
        one = item.text("a name")
        if owners.setdefault(one, name) != name:
            item.wrong(f"{one} belongs to two policies", f"name it in one of {owners[one]} and {name}")
    return frozenset(one for one, owner in owners.items() if owner == name)


def _policy(name: str, rules: Fields, base: Policy, sold: frozenset[str]) -> Policy:
    """A policy whose missing fields are those of `base`; its own grace_days leave out the declines of `base`."""
    return Policy(
        name,
        grace_days=rules.given("grace_days", _days, base.grace_days),
        after_grace=rules.given("after_grace", _access, base.after_grace),
        written_off=rules.given("written_off", _access, base.written_off),
        declines=rules.given("declines", _declines, {} if "grace_days" in rules else base.declines),
        applies_to=sold,
    )


def _declines(node: Node) -> dict[Kind, int]:
    return {Kind(name): _days(days) for name, days in node.fields(optional=Kind).items()}


def _days(node: Node) -> int:
    return node.whole("a number of days", most=GRACE_DAYS_MAX)


def _access(node: Node) -> Access:
    return node.choice("restricted", "given")
