"""Repair: arguments that small models send as text, `"5"` for 5, `"true"` for true, `"[\\"a\\"]"` for ["a"].

A text is replaced by the JSON value that it holds where the schema takes no text there and takes that value's type.
The caller validates what comes out, so nothing is accepted that the schema forbids.
"""

from typing import Any

import msgspec

from gaia_core.errors import NestingError
from gaia_core.nesting import decode_json

_MOST_SCHEMAS = 64
"""Schemas that are looked at for one value, and so the bound on what a stranger's schema may cost."""
_MOST_VALUES = 10_000
_LONGEST_TEXT = 1_000_000
_TOGETHER = ("allOf", "anyOf", "oneOf")


def repaired(schema: Any, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """*arguments* with each text replaced that stands for a value of another type; None when there is none.

    *schema* is a decoded JSON schema of the object. *arguments* stays as it is.
    """
    repair = _Repair(schema)
    value = repair.value(arguments, [schema])
    return value if repair.changed and isinstance(value, dict) else None


class _Repair:
    __slots__ = ("_left", "_root", "changed")

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MOST_VALUES
        self.changed = False

    def value(self, value: Any, schemas: list[Any]) -> Any:
        """*value*, for which *schemas* apply, repaired."""
        self._left -= 1
        if self._left < 0 or not isinstance(value, str | dict | list):
            return value
        applying = self._applying(schemas)
        if isinstance(value, str):
            found = _meant(value, _types(applying))
            if found is value:
                return value
            self.changed = True
            value = found
        if isinstance(value, dict):
            return {name: self.value(item, _of_member(applying, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, _of_item(applying, index)) for index, item in enumerate(value)]
        return value

    def _applying(self, schemas: list[Any]) -> list[dict[str, Any]]:
        """*schemas* and those that they combine or refer to, each once."""
        found: dict[int, dict[str, Any]] = {}
        waiting = list(schemas)
        while waiting and len(found) < _MOST_SCHEMAS:
            schema = waiting.pop()
            if not isinstance(schema, dict) or id(schema) in found:
                continue
            found[id(schema)] = schema
            for keyword in _TOGETHER:
                if isinstance(combined := schema.get(keyword), list):
                    waiting += combined[:_MOST_SCHEMAS]
            if isinstance(reference := schema.get("$ref"), str):
                waiting.append(self._referred(reference))
        return list(found.values())

    def _referred(self, reference: str) -> Any:
        """What a JSON pointer into the schema names; None for any other reference."""
        if not reference.startswith("#/"):
            return None
        value = self._root
        for token in reference[2:].split("/"):
            name = token.replace("~1", "/").replace("~0", "~")
            value = value.get(name) if isinstance(value, dict) else None
        return value


def _types(schemas: list[dict[str, Any]]) -> frozenset[str]:
    """The JSON types that *schemas* name."""
    found: set[str] = set()
    for schema in schemas:
        kinds = schema.get("type")
        named = kinds if isinstance(kinds, list) else [kinds]
        found.update(kind for kind in named if isinstance(kind, str))
        listed = schema["enum"] if isinstance(schema.get("enum"), list) else []
        found.update(_type(value) for value in (*listed, *((schema["const"],) if "const" in schema else ())))
    return frozenset(found)


def _meant(text: str, types: frozenset[str]) -> Any:
    """The value that *text* stands for where *types* are taken; *text* itself for none."""
    if not types or "string" in types or len(text) > _LONGEST_TEXT:
        return text
    try:
        value = decode_json(text.strip().encode())
    except (msgspec.DecodeError, NestingError, UnicodeError, ValueError):
        lowered = text.strip().lower()
        if lowered not in ("true", "false"):  # as Python writes them
            return text
        value = lowered == "true"
    kind = _type(value)
    fits = kind in types or (kind == "integer" and "number" in types)
    whole = kind == "number" and "integer" in types and isinstance(value, float) and value.is_integer()
    return value if fits or whole else text


def _type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _of_member(schemas: list[dict[str, Any]], name: str) -> list[Any]:
    found: list[Any] = []
    for schema in schemas:
        named = schema.get("properties")
        found.append(named[name] if isinstance(named, dict) and name in named else schema.get("additionalProperties"))
    return found


def _of_item(schemas: list[dict[str, Any]], index: int) -> list[Any]:
    found: list[Any] = []
    for schema in schemas:
        first = schema.get("prefixItems")
        known = isinstance(first, list) and index < len(first)
        found.append(first[index] if isinstance(first, list) and known else schema.get("items"))
    return found
