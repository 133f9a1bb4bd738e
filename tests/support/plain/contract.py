"""What is promised: channels, messages and schemas, as asyncapi.yaml and the files beside it say."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker

FORMATS = FormatChecker(())


@FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@dataclass(frozen=True)
class Message:
    """What may be on a channel."""

    name: str
    schema: dict[str, Any]
    headers: Draft202012Validator
    payload: Draft202012Validator

    def fits(self, type_: str) -> bool:
        """Whether events of this ce_type are told by it."""
        return fnmatchcase(type_, self.schema.get("x-ce-type", ""))


@dataclass(frozen=True)
class Channel:
    """A topic, or several that one description stands for."""

    address: re.Pattern[str]
    compacted: bool
    messages: tuple[Message, ...]

    def message(self, type_: str, *, claimed: bool) -> Message | None:
        if claimed:
            return next((m for m in self.messages if "dataref" in m.schema["properties"]), None)
        return next((m for m in self.messages if m.fits(type_)), None)


class Contract:
    """The folder `schemas/`, read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.document: dict[str, Any] = yaml.safe_load((folder / "asyncapi.yaml").read_text())
        self.channels = tuple(
            self._channel(said) for said in self.document["channels"].values() if not said.get("x-private")
        )

    def of(self, topic: str) -> Channel | None:
        """The channel of a topic; one with an address of its own comes before one with a parameter."""
        fitting = [channel for channel in self.channels if channel.address.fullmatch(topic)]
        return min(fitting, key=lambda channel: "(" in channel.address.pattern, default=None)

    def _channel(self, said: dict[str, Any]) -> Channel:
        address = re.sub(r"\\{\w+\\}", "(.+)", re.escape(said["address"]))
        policy = said["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"]
        messages = (self._message(self._resolved(message)) for message in said["messages"].values())
        return Channel(re.compile(address), policy == ["compact"], tuple(messages))

    def _message(self, said: dict[str, Any]) -> Message:
        schema = self._resolved(said["payload"]["schema"])
        return Message(said["name"], schema, _validator(self._resolved(said["headers"])), _validator(schema))

    def _resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        """What a reference names: a file, or a place in the document."""
        if "$ref" not in node:
            return node
        file, _, place = node["$ref"].partition("#")
        found: Any = json.loads((self.folder / file).read_text()) if file else self.document
        for step in place.split("/")[1:]:
            found = found[step]
        assert isinstance(found, dict)
        return found


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=FORMATS)
