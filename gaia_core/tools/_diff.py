"""Diff: what changed between two versions of a toolset, and whether calls made for the old one still fit the new.

A change is *breaking* when arguments that the old schema took may be refused by the new one, *compatible* otherwise.
Where a schema says something that this comparison doesn't know, a difference counts as breaking.
"""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import attrs
import msgspec

from gaia_core.frozen_types import made_once
from gaia_core.tools._tool import ToolDefinition
from gaia_core.tools._toolset import Toolset

JSON: TypeAlias = dict[str, Any]

# Words for people: they don't decide what is valid.
_ANNOTATIONS = ("title", "description", "default", "examples", "$schema", "$comment", "deprecated")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_STRUCTURE = ("type", "enum", "anyOf", "properties", "required", "additionalProperties", "items")


@attrs.frozen
class Change:
    """One tool that both versions have, differently. *breaking* lists why an old call may not fit."""

    __attrs_pre_init__ = made_once

    name: str
    breaking: tuple[str, ...]
    compatible: tuple[str, ...]


@attrs.frozen
class Difference:
    """What changed. Falsy when models are sent exactly the same."""

    __attrs_pre_init__ = made_once

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Change, ...]
    instructions: bool

    @property
    def compatible(self) -> bool:
        """True when every call that was made for the old version fits the new one."""
        return not self.removed and not any(change.breaking for change in self.changed)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.instructions)

    def __str__(self) -> str:
        lines = [f"- {name}: removed (breaking)" for name in self.removed]
        lines += [f"+ {name}: added" for name in self.added]
        for change in self.changed:
            lines += [f"~ {change.name}: {reason} (breaking)" for reason in change.breaking]
            lines += [f"~ {change.name}: {reason}" for reason in change.compatible]
        if self.instructions:
            lines.append("~ instructions changed")
        return "\n".join(lines) or "no difference"


def diff(old: Toolset | Iterable[ToolDefinition], new: Toolset | Iterable[ToolDefinition]) -> Difference:
    """Compare two toolsets, or the recorded definitions of them."""
    before, after = _by_name(old), _by_name(new)
    changed = tuple(
        _change(before[name], after[name]) for name in sorted(before) if name in after and before[name] != after[name]
    )
    told = isinstance(old, Toolset) and isinstance(new, Toolset) and old.instructions != new.instructions
    return Difference(
        added=tuple(sorted(set(after) - set(before))),
        removed=tuple(sorted(set(before) - set(after))),
        changed=changed,
        instructions=told,
    )


def _by_name(versions: Toolset | Iterable[ToolDefinition]) -> dict[str, ToolDefinition]:
    definitions = versions.definitions if isinstance(versions, Toolset) else versions
    return {definition.name: definition for definition in definitions}


def _change(old: ToolDefinition, new: ToolDefinition) -> Change:
    before: JSON = msgspec.json.decode(old.parameters)
    after: JSON = msgspec.json.decode(new.parameters)
    breaking = tuple(dict.fromkeys(_narrowed(before, after, "")))
    compatible = []
    if old.description != new.description:
        compatible.append("the description changed")
    known, now = before.get("properties", {}), after.get("properties", {})
    compatible += [
        f"{name}: added, optional" for name in now if name not in known and name not in after.get("required", ())
    ]
    if old.parameters != new.parameters and not breaking and not compatible:
        compatible.append("the schema changed; it takes all that it took")
    return Change(old.name, breaking, tuple(compatible))


def _narrowed(old: Any, new: Any, path: str) -> Iterator[str]:
    """Why a value that *old* takes may be refused by *new*."""
    old, new = _bare(old), _bare(new)
    if old == new or new in ({}, True):
        return
    where = path or "arguments"
    if not isinstance(old, dict) or not isinstance(new, dict) or "$ref" in old or "$ref" in new:
        yield f"{where}: the type changed"
    elif "anyOf" in old:
        for member in old["anyOf"]:
            yield from _narrowed({**old, **member, "anyOf": None}, new, path)
    elif "anyOf" in new:
        if all(any(True for _ in _narrowed(old, member, path)) for member in new["anyOf"]):
            yield f"{where}: {_kind(old)} is not taken any more"
    else:
        yield from _narrowed_plain(old, new, path)


def _narrowed_plain(old: JSON, new: JSON, path: str) -> Iterator[str]:
    where = path or "arguments"
    if "enum" in new:
        gone = [value for value in old["enum"] if value not in new["enum"]] if "enum" in old else None
        if gone is None:
            yield f"{where}: only certain values are allowed now"
        elif gone:
            yield f"{where}: no longer allowed: {', '.join(msgspec.json.encode(value).decode() for value in gone)}"
    if not _types(old) <= _types(new) and "type" in new:
        yield f"{where}: {_kind(old)} became {_kind(new)}"
        return
    yield from _narrowed_bounds(old, new, where)
    yield from _narrowed_members(old, new, path)


def _narrowed_bounds(old: JSON, new: JSON, where: str) -> Iterator[str]:
    for keyword in new:
        if keyword in _LOWER or keyword in _UPPER:
            tighter = keyword not in old or (
                new[keyword] > old[keyword] if keyword in _LOWER else new[keyword] < old[keyword]
            )
            if tighter:
                yield f"{where}: {keyword} is {new[keyword]} now"
        elif keyword not in _STRUCTURE and old.get(keyword) != new[keyword]:
            yield f"{where}: {keyword} changed"


def _narrowed_members(old: JSON, new: JSON, path: str) -> Iterator[str]:
    known, now = old.get("properties", {}), new.get("properties", {})
    rest = new.get("additionalProperties", {})
    for name, schema in known.items():
        here = f"{path}.{name}" if path else name
        if name in now:
            yield from _narrowed(schema, now[name], here)
        elif rest is False:
            yield f"{here}: removed"
        else:
            yield from _narrowed(schema, rest, here)
    for name in new.get("required", ()):
        if name not in old.get("required", ()):
            here = f"{path}.{name}" if path else name
            yield f"{here}: required now"
    if rest is False and old.get("additionalProperties", {}) is not False and "object" in _types(old):
        yield f"{path or 'arguments'}: other names are refused now"
    elif isinstance(rest, dict) and isinstance(old.get("additionalProperties"), dict):
        yield from _narrowed(old["additionalProperties"], rest, f"{path}.*")
    if "items" in new:
        yield from _narrowed(old.get("items", {}), new["items"], f"{path}[]")


def _bare(schema: Any) -> Any:
    """*schema* without its words for people."""
    if not isinstance(schema, dict):
        return schema
    return {key: value for key, value in schema.items() if key not in _ANNOTATIONS and value is not None}


def _types(schema: JSON) -> frozenset[str]:
    declared = schema.get("type")
    if declared is None:
        return frozenset(_json_type(value) for value in schema["enum"]) if "enum" in schema else frozenset({"any"})
    types = frozenset((declared,) if isinstance(declared, str) else declared)
    return types | {"integer"} if "number" in types else types


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    return "string" if isinstance(value, str) else "integer"


def _kind(schema: JSON) -> str:
    return " or ".join(sorted(_types(schema)))
