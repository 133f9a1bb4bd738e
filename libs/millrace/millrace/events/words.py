"""Open lists of words: a writer keeps to those that are known, a reader takes whatever comes.

    Stage = Annotated[str, words("open", "grace", "closed")]

So a word can be added without a new version: no reader has been promised that there are no others, by the type
(it is a string) or by the JSON Schema (`anyOf` the known ones, or any string).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

READING = "reading"  # the context of a validation that only reads: any word will do


@dataclass(frozen=True, slots=True)
class Words:
    """An annotation of `str`. Made by `words`."""

    known: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        said = handler(schema)
        return {"anyOf": [{"enum": list(self.known), **said}, said]}

    def _checked(self, word: str, info: ValidationInfo) -> str:
        if info.context != READING and word not in self.known:
            raise ValueError(f"it is none of {', '.join(self.known)}; a new word is added to the list first")
        return word


def words(*known: str) -> Words:
    """The words that a field may be written with."""
    return Words(known)
