"""Problems: everything that is wrong with a call's arguments, each with its path, in words that a model can act on.

msgspec stops at the first error, so after a failure the value is walked along the shapes of its type and each part
is converted by itself.
"""

import decimal
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from gaia_core.tools._suggestion import nearest
from gaia_core.tools._type_shape import Array, Field, Map, Object, Row, Scalar, Shape, Union_, Values, shape_of

Hook = Callable[[type, Any], Any]

_WHERE = re.compile(r" - at .*$", re.DOTALL)
_CODE = re.compile(r"`([^`]*)`")
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
    ("bool", "a boolean"),
    ("int", "an integer"),
    ("float", "a number"),
    ("str", "a string"),
    ("array", "an array"),
    ("object", "an object"),
    ("datetime", "a date and time"),
    ("date", "a date"),
    ("time", "a time"),
    ("duration", "a duration"),
    ("timedelta", "a duration"),
    ("uuid", "a UUID"),
    ("decimal", "a number"),
    ("bytes", "base64"),
)
_NUMBERS = ((("type", "number"),), (("type", "string"), ("format", "decimal")))
_LONGEST_VALUE = 60


def problems_of(value: Any, fields: tuple[Field, ...], hook: Hook) -> tuple[str, ...]:
    """What is wrong with *value* as an object of *fields*; empty when it is right."""
    return tuple(_object(value, fields, "", hook))


def passed_unseen(value: Any, fields: tuple[Field, ...], hook: Hook) -> tuple[str, ...]:
    """What is wrong with a value that msgspec has taken: unknown names and items in nested classes, and numbers that
    are none (`"nan"` for a number)."""
    return tuple(_unseen_members(value, fields, "", hook))


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
        yield from _unseen(value, annotation, path, hook)
        return
    below = tuple(_below(value, annotation, path, hook))
    if below:
        yield from below
    elif isinstance(shape, Values):
        yield f"{path}: {_not_allowed(value, shape.values)}"
    else:
        yield f"{path}: {error}"


def _below(value: Any, annotation: Any, path: str, hook: Hook) -> Iterable[str]:
    """The problems of the parts of a value whose own kind is right."""
    match _meant(value, annotation):
        case Object(fields=fields) if isinstance(value, dict):
            yield from _object(value, fields, path, hook)
        case Array(item=item) if isinstance(value, list):
            for index, member in enumerate(value):
                yield from _part(member, item, f"{path}[{index}]", hook)
        case Row(items=items, optional=optional) if isinstance(value, list):
            if len(items) - optional <= len(value) <= len(items):
                for index, (member, item) in enumerate(zip(value, items, strict=False)):
                    yield from _part(member, item, f"{path}[{index}]", hook)
        case Map(value=item, key=key) if isinstance(value, dict):
            for name, member in value.items():
                if (error := _error(name, key, hook)) is not None:
                    yield f"{path}: as a name, {error}"
                yield from _part(member, item, f"{path}.{name}", hook)
        case Union_(members) if isinstance(value, dict):
            yield from _tag_problems(value, _tagged(members), path)
        case _:
            return


def _meant(value: Any, annotation: Any) -> Shape:
    """The only shape that *value* can be meant for; the union where it fits no member, or several. Tagged classes are
    told apart by their tags."""
    shape = shape_of(annotation)
    while isinstance(shape, Union_) and isinstance(value, dict | list):
        wanted = tuple(member for member in shape.members if _meant_for(value, member))
        if len(wanted) != 1:
            sent = value if isinstance(value, dict) else {}
            return next((each for each in _tagged(wanted) if sent.get(each.tag) in _tags(each)), shape)
        shape = shape_of(wanted[0])
    return shape


def _tagged(members: Iterable[Any]) -> tuple[Object, ...]:
    shapes = tuple(shape_of(member) for member in members)
    return tuple(shape for shape in shapes if isinstance(shape, Object) and shape.tag is not None)


def _tag_problems(value: dict[str, Any], tagged: tuple[Object, ...], path: str) -> Iterable[str]:
    if not tagged:
        return
    tag = tagged[0].tag
    tags = tuple(allowed for shape in tagged for allowed in _tags(shape))
    if tag not in value:
        yield f"{path}.{tag}: required, but missing; the allowed values are {', '.join(map(_show, tags))}"
    else:
        yield f"{path}.{tag}: {_not_allowed(value[tag], tags)}"


def _meant_for(value: dict[str, Any] | list[Any], member: Any) -> bool:
    return isinstance(shape_of(member), Object | Map if isinstance(value, dict) else Array | Row)


def _tags(shape: Object) -> tuple[Any, ...]:
    tag = shape_of(shape.fields[0].type)
    return tag.values if isinstance(tag, Values) else ()


def _error(value: Any, annotation: Any, hook: Hook, *, strict: bool = False) -> str | None:
    try:
        msgspec.convert(value, annotation, dec_hook=hook, strict=strict, str_keys=True)
    except TypeError:  # of Python's own only this is left: an item that has no hash
        return f"expected single values in a set, no arrays or objects, got {_show(value)}"
    except ValueError as error:  # msgspec's, also in place of what a class raises
        words = _WHERE.sub("", str(error))
        words = re.sub(r", got .*$", "", words).strip()
        words = _CODE.sub(_plain, words)
        return f"{words[:1].lower()}{words[1:]}, got {_show(value)}"
    except Exception as error:  # noqa: BLE001  # a class of the tool's author may raise anything
        return f"not taken ({type(error).__name__}), got {_show(value)}"
    return None


def _plain(code: re.Match[str]) -> str:
    expected = dict(_EXPECTED)
    return " or ".join(expected.get(kind, kind) for kind in code[1].split(" | "))


def _unseen_members(value: Any, fields: tuple[Field, ...], path: str, hook: Hook) -> Iterable[str]:
    yield from _unknown_here(value, fields, path)
    for field in fields:
        if field.name in value:
            yield from _unseen(value[field.name], field.type, f"{path}.{field.name}" if path else field.name, hook)


def _unknown_here(value: dict[str, Any], fields: tuple[Field, ...], path: str) -> Iterable[str]:
    names = tuple(field.name for field in fields)
    for name in value:
        if name not in names:
            where = f"{path}: " if path else ""
            known = f"the names are {', '.join(names)}" if names else "there are none"
            guess = nearest(name, names).replace(" Did", " did")
            yield f"{where}unknown name {_show(name)};{guess} {known}"


def _unseen(value: Any, annotation: Any, path: str, hook: Hook) -> Iterable[str]:
    match shape_of(annotation):
        case Object(fields=fields) if isinstance(value, dict):
            yield from _unseen_members(value, fields, path, hook)
        case Array(item=item) if isinstance(value, list):
            for index, member in enumerate(value):
                yield from _unseen(member, item, f"{path}[{index}]", hook)
        case Row(items=items) if isinstance(value, list):
            if len(value) > len(items):
                yield f"{path}: expected an array of at most {len(items)} items, got {len(value)}"
            for index, (member, item) in enumerate(zip(value, items, strict=False)):
                yield from _unseen(member, item, f"{path}[{index}]", hook)
        case Map(value=item) if isinstance(value, dict):
            for name, member in value.items():
                yield from _unseen(member, item, f"{path}.{name}", hook)
        case Union_(members):
            # What fits a member as it is was taken for that one, not for one that it can be read as.
            exact = tuple(member for member in members if _error(value, member, hook, strict=True) is None)
            for member in exact or tuple(member for member in members if _error(value, member, hook) is None):
                yield from _unseen(value, member, path, hook)
        case Scalar(schema) if schema in _NUMBERS and isinstance(value, str) and not _is_finite(value):
            yield f"{path}: expected a finite number, got {_show(value)}"
        case _:
            return


def _is_finite(text: str) -> bool:
    try:
        return decimal.Decimal(text).is_finite()
    except decimal.InvalidOperation:
        return True


def _not_allowed(value: Any, allowed: Iterable[Any]) -> str:
    return f"{_show(value)} is not one of the allowed values: {', '.join(map(_show, allowed))}"


def _kind(value: Any) -> str:
    return next((name for kind, name in _JSON_TYPES if isinstance(value, kind)), type(value).__name__)


def _show(value: Any) -> str:
    shown = msgspec.json.encode(value).decode()
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[:_LONGEST_VALUE]}…"
