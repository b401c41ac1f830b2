"""Arguments for calls, made from a tool's schema: plain ones that fit, and odd ones that fit as well."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gaia_core.errors import ArgumentsError
from gaia_core.tools import Tool

_PLAIN = "example"
_ODD = ("", "no such thing", "../../../no/such/thing", "\N{PILE OF POO} \u0000 '\";--", "x" * 5_000)


def sample(tool: Tool) -> dict[str, Any] | None:
    """Arguments that fit: what is required, as plain as it can be. None when none can be made."""
    schema: dict[str, Any] = msgspec.json.decode(tool.parameters.schema)
    members: Mapping[str, Any] = schema.get("properties", {})
    made = {name: _value(members.get(name, {})) for name in schema.get("required", ())}
    return made if fits(tool, made) else None


def odd(tool: Tool, base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Arguments that fit and that a model may well give wrongly: *base*, one text of it being another."""
    for name, value in base.items():
        if isinstance(value, str):
            for text in _ODD:
                changed = {**base, name: text}
                if fits(tool, changed):
                    yield changed


def fits(tool: Tool, arguments: Mapping[str, Any]) -> bool:
    """Whether *arguments* pass the tool's validation."""
    try:
        tool.parameters.decode(tool.name, msgspec.json.encode(arguments))
    except ArgumentsError:
        return False
    return True


def _value(schema: Mapping[str, Any]) -> Any:
    for word in ("examples", "enum"):
        if schema.get(word):
            return schema[word][0]
    if "default" in schema:
        return schema["default"]
    if "anyOf" in schema:
        return _value(schema["anyOf"][0])
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    match kind:
        case "integer" | "number":
            low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
            return min(low, schema.get("maximum", low))
        case "boolean":
            return False
        case "array":
            return [_value(schema.get("items", {})) for _ in range(schema.get("minItems", 0))]
        case "object":
            members = schema.get("properties", {})
            return {name: _value(members.get(name, {})) for name in schema.get("required", ())}
        case "null":
            return None
        case _:
            return _PLAIN[: schema.get("maxLength", len(_PLAIN))].ljust(schema.get("minLength", 0), "e")
