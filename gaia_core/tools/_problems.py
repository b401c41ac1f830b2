"""Problems: everything that is wrong with a call's arguments, each with its path, in words that a model can act on.

msgspec stops at the first error, so after a failure the value is walked along the shapes of its type and each part
is converted by itself.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from gaia_core.tools._shape import Array, Field, Map, Object, Row, Union_, Values, shape_of

Hook = Callable[[type, Any], Any]

_WHERE = re.compile(r" - at `[^`]*`$")
_JSON_TYPES = (
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a number"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
    (type(None), "null"),
)
_EXPECTED = (
    ("`bool`", "a boolean"),
    ("`int`", "an integer"),
    ("`float`", "a number"),
    ("`str`", "a string"),
    ("`array`", "an array"),
    ("`object`", "an object"),
    ("`null`", "null"),
)
_LONGEST_VALUE = 60


def nearest(name: str, names: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest of *names*, or nothing."""
    match = difflib.get_close_matches(name, tuple(names), n=1, cutoff=0.6)
    return f" Did you mean {match[0]!r}?" if match else ""


def problems_of(value: Any, fields: tuple[Field, ...], hook: Hook) -> tuple[str, ...]:
    """What is wrong with *value* as an object of *fields*; empty when it is right."""
    return tuple(_object(value, fields, "", hook))


def unknown_names(value: Any, fields: tuple[Field, ...]) -> tuple[str, ...]:
    """The names below *value* that its type does not have: nested ones pass msgspec unseen."""
    return tuple(_unknown(value, fields, ""))


def _object(value: Any, fields: tuple[Field, ...], path: str, hook: Hook) -> Iterable[str]:
    if not isinstance(value, dict):
        names = ", ".join(field.name for field in fields)
        yield f"{path or 'arguments'}: expected an object with {names or 'no members'}, got {_kind(value)}"
        return
    yield from _unknown_here(value, fields, path)
    for field in fields:
        here = f"{path}.{field.name}" if path else field.name
        if field.name in value:
            yield from _part(value[field.name], field.type, here, hook)
        elif field.required:
            yield f"{here}: required, but missing"


def _part(value: Any, annotation: Any, path: str, hook: Hook) -> Iterable[str]:
    shape = shape_of(annotation)
    error = _error(value, annotation, hook)
    if error is None:
        yield from _unknown_below(value, annotation, path)
        return
    below = tuple(_below(value, annotation, path, hook))
    if below:
        yield from below
    elif isinstance(shape, Values):
        allowed = ", ".join(_show(allowed) for allowed in shape.values)
        yield f"{path}: {_show(value)} is not one of the allowed values: {allowed}"
    else:
        yield f"{path}: {error}"


def _below(value: Any, annotation: Any, path: str, hook: Hook) -> Iterable[str]:
    """The problems of the parts of a value whose own kind is right."""
    match shape_of(annotation):
        case Object(_, fields) if isinstance(value, dict):
            yield from _object(value, fields, path, hook)
        case Array(item, _) if isinstance(value, list):
            for index, member in enumerate(value):
                yield from _part(member, item, f"{path}[{index}]", hook)
        case Row(items, optional) if isinstance(value, list) and len(items) - optional <= len(value) <= len(items):
            for index, (member, item) in enumerate(zip(value, items, strict=False)):
                yield from _part(member, item, f"{path}[{index}]", hook)
        case Map(item) if isinstance(value, dict):
            for name, member in value.items():
                yield from _part(member, item, f"{path}.{name}", hook)
        case Union_(members) if isinstance(value, dict | list):
            for member in members:
                yield from _below(value, member, path, hook)
        case _:
            return


def _error(value: Any, annotation: Any, hook: Hook) -> str | None:
    try:
        msgspec.convert(value, annotation, dec_hook=hook, strict=False)
    except (msgspec.ValidationError, ValueError, TypeError, RecursionError) as error:
        words = _WHERE.sub("", str(error))
        for code, plain in _EXPECTED:
            words = words.replace(code, plain)
        words = words.replace(" | ", " or ")
        words = re.sub(r", got .*$", "", words)
        return f"{words[:1].lower()}{words[1:]}, got {_show(value)}"
    return None


def _unknown(value: Any, fields: tuple[Field, ...], path: str) -> Iterable[str]:
    yield from _unknown_here(value, fields, path)
    for field in fields:
        if field.name in value:
            yield from _unknown_below(value[field.name], field.type, f"{path}.{field.name}" if path else field.name)


def _unknown_here(value: dict[str, Any], fields: tuple[Field, ...], path: str) -> Iterable[str]:
    names = tuple(field.name for field in fields)
    for name in value:
        if name not in names:
            where = f"{path}: " if path else ""
            known = f"the names are {', '.join(names)}" if names else "there are none"
            yield f"{where}unknown name {_show(name)};{nearest(name, names).lower()} {known}"


def _unknown_below(value: Any, annotation: Any, path: str) -> Iterable[str]:
    match shape_of(annotation):
        case Object(_, fields) if isinstance(value, dict):
            yield from _unknown(value, fields, path)
        case Array(item, _) if isinstance(value, list):
            for index, member in enumerate(value):
                yield from _unknown_below(member, item, f"{path}[{index}]")
        case Row(items, _) if isinstance(value, list):
            for index, (member, item) in enumerate(zip(value, items, strict=False)):
                yield from _unknown_below(member, item, f"{path}[{index}]")
        case Map(item) if isinstance(value, dict):
            for name, member in value.items():
                yield from _unknown_below(member, item, f"{path}.{name}")
        case Union_(members):
            for member in members:
                if _error(value, member, _no_hook) is None:
                    yield from _unknown_below(value, member, path)
        case _:
            return


def _no_hook(kind: type, value: Any) -> Any:
    if isinstance(value, str):
        return value
    raise ValueError(kind)


def _kind(value: Any) -> str:
    return next((name for kind, name in _JSON_TYPES if isinstance(value, kind)), type(value).__name__)


def _show(value: Any) -> str:
    shown = msgspec.json.encode(value).decode()
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[:_LONGEST_VALUE]}…"
