"""What below a value can be changed (law 2), found by a walk over everything that it reaches.

The walk stops at classes and modules, but looks into the closures, defaults and attributes of functions. Decoders of
msgspec and the descriptions in annotations are taken as they are: they can't be changed once they are made.
"""

import datetime as dt
import decimal
import enum
import functools
import types
import typing
import uuid
from collections.abc import Iterator
from pathlib import PurePath

import attrs
import msgspec

_LEAVES = (
    type(None), bool, int, float, complex, str, bytes, enum.Enum, PurePath, uuid.UUID, decimal.Decimal, dt.date,
    dt.time, dt.timedelta, dt.tzinfo, type, types.ModuleType, types.BuiltinFunctionType, types.GenericAlias,
    types.UnionType, typing.TypeVar, msgspec.json.Decoder, type(msgspec.NODEFAULT),
)  # fmt: skip


def mutable(value: object, path: str, _seen: frozenset[int] = frozenset()) -> Iterator[str]:
    """The paths, beginning with *path*, of everything below *value* that can be changed, each with its type."""
    if id(value) in _seen or isinstance(value, _LEAVES) or type(value).__module__ == "typing":
        return
    parts = _parts(value)
    if parts is None:
        yield f"{path}: {type(value).__name__}"
        return
    for name, part in parts:
        yield from mutable(part, path + name, _seen | {id(value)})


def _parts(value: object) -> list[tuple[str, object]] | None:
    """What *value* holds, or None when it can be changed itself."""
    if isinstance(value, tuple | frozenset):
        return [(f"[{index}]", part) for index, part in enumerate(typing.cast("tuple[object, ...]", value))]
    if isinstance(value, types.FunctionType):
        defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        cells = [cell.cell_contents for cell in value.__closure__ or () if is_full(cell)]
        parts = [(" default", part) for part in defaults] + [(" closure", part) for part in cells]
        return parts + [(f".{name}", part) for name, part in vars(value).items()]
    if isinstance(value, types.MethodType):
        return [(".__func__", value.__func__), (".__self__", value.__self__)]
    if isinstance(value, functools.partial):
        return [(".func", value.func), (".args", value.args), (".keywords", tuple(value.keywords.values()))]
    if is_frozen(value):
        return [(f".{name}", getattr(value, name)) for name in names(value)]
    return None


def is_full(cell: types.CellType) -> bool:
    """Whether the closure's *cell* holds a value yet."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def is_frozen(value: object) -> bool:
    """Whether *value* is a declared value that refuses a new attribute and a new value of each that it has."""
    if not isinstance(value, msgspec.Struct) and not attrs.has(type(value)):
        return False
    for name in (*names(value), "new_attribute"):
        try:
            setattr(value, name, getattr(value, name, None))
        except (AttributeError, TypeError):
            continue
        return False
    return True


def names(value: object) -> tuple[str, ...]:
    """All that *value* keeps: fields, and what is computed at first use and kept."""
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    slots = {name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())}
    kept = slots | vars(value).keys() if hasattr(value, "__dict__") else slots
    return tuple(sorted(name for name in kept if name != "__weakref__" and hasattr(value, name)))
