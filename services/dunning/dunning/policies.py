"""The company's dunning policies: read from a YAML file, checked, and read again when the file changes.

A mistake names file, line and fix. A new file with a mistake is refused; the running version stays.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from dunning import metrics
from dunning.domain import Kind, Policies, Policy
from millrace.errors import Misconfigured

log = logging.getLogger("dunning.policies")

RULES = ("grace_days", "after_grace", "written_off", "declines")
GRACE_DAYS_MAX = 365
T = TypeVar("T")


class Live:
    """The policies in force: asked once a batch, read again when the file has changed.

    Raises: Misconfigured at construction only; later a bad file is refused, told, and counted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._mark()
        self.policies = read(path)

    def __call__(self) -> Policies:
        if (mark := self._mark()) != self._seen:
            self._seen = mark
            self._read_again()
        return self.policies

    def _mark(self) -> tuple[int, int, int]:
        try:
            stat = self.path.stat()
        except OSError:  # on the way from one version to the next, or gone: what is running stays
            return (0, 0, 0)
        return (stat.st_mtime_ns, stat.st_ino, stat.st_size)

    def _read_again(self) -> None:
        try:
            self.policies = read(self.path)
        except Misconfigured as problem:
            metrics.POLICIES_REFUSED.set(1)
            log.error("new policies refused, the running version stays", extra={"problem": str(problem)})
            return
        metrics.POLICIES_REFUSED.set(0)
        log.info("new policies are in force", extra={"path": str(self.path)})


def read(path: Path) -> Policies:
    """The policies in a file. Raises Misconfigured: file:line, what is wrong, what to write instead."""
    try:
        text = path.read_text()
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as problem:
        raise Misconfigured(f"{path}: cannot be read: {problem.strerror}; set DUNNING_POLICIES") from problem
    except UnicodeDecodeError as problem:
        raise Misconfigured(f"{path}: is not UTF-8 text; save it as UTF-8") from problem
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else 1
        raise Misconfigured(
            f"{path}:{line}: not YAML: {problem.problem}; check the indentation there"
        ) from problem
    return _File(path).policies(node)


class _File:
    """One file being checked: every complaint knows the line it is about."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def refuse(self, node: yaml.Node | None, what: str, fix: str) -> NoReturn:
        line = node.start_mark.line + 1 if node else 1
        raise Misconfigured(f"{self.path}:{line}: {what}; {fix}")

    def policies(self, node: yaml.Node | None) -> Policies:
        fields = self.mapping(node, "the file", ("default", "plans"))
        if "default" not in fields:
            self.refuse(node, "there is no default policy", "add `default:` with `grace_days`")
        default = self.default(fields["default"])
        return Policies(default, tuple(self.plans(fields.get("plans"), default)))

    def default(self, node: yaml.Node) -> Policy:
        fields = self.mapping(node, "default", RULES)
        if "grace_days" not in fields:
            self.refuse(node, "default has no grace_days", "add `grace_days: 7`")
        return self.policy(
            "default", fields, Policy("default", 0, "restricted", "restricted", {}), frozenset()
        )

    def plans(self, node: yaml.Node | None, default: Policy) -> Iterator[Policy]:
        taken: dict[str, str] = {}
        for name, plan in self.mapping(node, "plans").items() if node else ():
            fields = self.mapping(plan, name, ("applies_to", *RULES))
            if "applies_to" not in fields:
                self.refuse(
                    plan, f"{name} applies to nothing", "add `applies_to: [a price, lookup key or product]`"
                )
            sold = self.names(fields["applies_to"])
            for one in sorted(sold & taken.keys()):
                fix = f"name it in one of {taken[one]} and {name}"
                self.refuse(fields["applies_to"], f"{one} belongs to two policies", fix)
            taken |= dict.fromkeys(sold, name)
            yield self.policy(name, fields, default, sold)

    def policy(self, name: str, fields: dict[str, yaml.Node], base: Policy, sold: frozenset[str]) -> Policy:
        """A policy whose missing fields are those of `base`."""

        def given(field: str, read: Callable[[yaml.Node], T], otherwise: T) -> T:
            return read(fields[field]) if field in fields else otherwise

        return Policy(
            name,
            grace_days=given("grace_days", self.days, base.grace_days),
            after_grace=given("after_grace", self.access, base.after_grace),
            written_off=given("written_off", self.access, base.written_off),
            declines=given("declines", self.declines, {} if "grace_days" in fields else base.declines),
            applies_to=sold,
        )

    def mapping(self, node: yaml.Node | None, what: str, known: tuple[str, ...] = ()) -> dict[str, yaml.Node]:
        """The fields of a mapping, each once, and none that is not known."""
        if not isinstance(node, yaml.MappingNode):
            self.refuse(node, f"{what} is not a mapping", "write `name: value` lines below it")
        fields: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in fields:
                self.refuse(key, f"{name} is there twice", "keep one of them")
            if known and name not in known:
                near = difflib.get_close_matches(name, known, 1) or [", ".join(known)]
                self.refuse(key, f"{name} is unknown in {what}", f"did you mean {near[0]}?")
            fields[name] = value
        return fields

    def declines(self, node: yaml.Node) -> dict[Kind, int]:
        fields = self.mapping(node, "declines", tuple(kind.value for kind in Kind))
        return {Kind(name): self.days(value) for name, value in fields.items()}

    def days(self, node: yaml.Node) -> int:
        value = self.scalar(node)
        if type(value) is not int or not 0 <= value <= GRACE_DAYS_MAX:
            self.refuse(
                node, f"{value!r} is not a number of days", f"write a whole number from 0 to {GRACE_DAYS_MAX}"
            )
        return value

    def access(self, node: yaml.Node) -> Any:
        value = self.scalar(node)
        if value not in ("given", "restricted"):
            self.refuse(node, f"{value!r} is no access", "write `restricted` or `given`")
        return value

    def names(self, node: yaml.Node) -> frozenset[str]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self.refuse(node, "applies_to is not a list of names", "write `[price_x, prod_y]`")
        found = [self.scalar(one) for one in node.value]
        for one, value in zip(node.value, found, strict=True):
            if not isinstance(value, str) or not value:
                self.refuse(one, f"{value!r} is not a name", "put it in quotes")
        return frozenset(found)

    def scalar(self, node: yaml.Node) -> Any:
        """A plain value as YAML means it: 7 is a number, "7" is a word."""
        if not isinstance(node, yaml.ScalarNode):
            self.refuse(node, "a single value is expected here", "write one word or number")
        return yaml.SafeLoader("").construct_object(node)
