"""Shapes: one level of a type's structure, as far as JSON can tell.

The schema that a model is told and the problems that it is told are two folds over the same shapes (law 5), so they
can't disagree. `shape_of` looks at one level; the children are annotations again.
"""

import datetime as dt
import decimal
import enum
import types
import typing
import uuid
from collections.abc import Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, is_typeddict

import attrs
import msgspec
from msgspec import Meta

_NONE = type(None)


@attrs.frozen
class Field:
    """A named member of an object. *default* is `msgspec.NODEFAULT` when there is none to show."""

    name: str
    type: Any
    required: bool
    default: Any = msgspec.NODEFAULT


@attrs.frozen
class Object:
    """Named members; *owner* is the class that declares them."""

    owner: type
    fields: tuple[Field, ...]


@attrs.frozen
class Array:
    """Items of one type; *unique* for sets."""

    item: Any
    unique: bool = False


@attrs.frozen
class Row:
    """A fixed number of items, each of a type of its own; the last *optional* of them may be left out."""

    items: tuple[Any, ...]
    optional: int = 0


@attrs.frozen
class Map:
    """Any names, values of one type."""

    value: Any


@attrs.frozen
class Union_:  # noqa: N801  # `Union` is typing's
    """One of several types."""

    members: tuple[Any, ...]


@attrs.frozen
class Values:
    """One of these values, in the order in which they were declared."""

    values: tuple[str | int | None, ...]


@attrs.frozen
class Scalar:
    """A value without members; *schema* is its JSON schema as sorted pairs."""

    schema: tuple[tuple[str, str], ...]


Shape: TypeAlias = Object | Array | Row | Map | Union_ | Values | Scalar

_SCALARS: tuple[tuple[type, Scalar], ...] = (
    (bool, Scalar((("type", "boolean"),))),
    (int, Scalar((("type", "integer"),))),
    (float, Scalar((("type", "number"),))),
    (str, Scalar((("type", "string"),))),
    (_NONE, Scalar((("type", "null"),))),
    (bytes, Scalar((("type", "string"), ("contentEncoding", "base64")))),
    (bytearray, Scalar((("type", "string"), ("contentEncoding", "base64")))),
    (dt.datetime, Scalar((("type", "string"), ("format", "date-time")))),
    (dt.date, Scalar((("type", "string"), ("format", "date")))),
    (dt.time, Scalar((("type", "string"), ("format", "time")))),
    (dt.timedelta, Scalar((("type", "string"), ("format", "duration")))),
    (uuid.UUID, Scalar((("type", "string"), ("format", "uuid")))),
    (decimal.Decimal, Scalar((("type", "string"), ("format", "decimal")))),
    (Path, Scalar((("type", "string"),))),
    (PurePath, Scalar((("type", "string"),))),
)

_ARRAYS = (list, tuple, Sequence, MutableSequence)
_SETS = (set, frozenset, AbstractSet, MutableSet)
_MAPS = (dict, Mapping, MutableMapping)


def split_annotated(annotation: Any) -> tuple[Any, tuple[Meta, ...]]:
    """The bare type and the msgspec `Meta`s around it, outermost last; `NewType`s and aliases are unwrapped."""
    metas: tuple[Meta, ...] = ()
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *extras = get_args(annotation)
            metas += tuple(extra for extra in extras if isinstance(extra, Meta))
        elif get_origin(annotation) in (typing.Required, typing.NotRequired):
            (annotation,) = get_args(annotation)
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation, metas


def union_members(bare: Any) -> tuple[Any, ...]:
    """The members of a union, or nothing for any other type."""
    return get_args(bare) if get_origin(bare) in (Union, types.UnionType) else ()


def shape_of(annotation: Any) -> Shape:
    """One level of *annotation*. Raises TypeError for what JSON can't describe."""
    bare, _ = split_annotated(annotation)
    if bare is None:
        bare = _NONE
    if bare in (Any, object):
        return Scalar(())
    for known, scalar in _SCALARS:
        if bare is known:
            return scalar
    if members := union_members(bare):
        return _union(members)
    origin, args = get_origin(bare), get_args(bare)
    if origin is Literal:
        return Values(args)
    if isinstance(bare, type) and issubclass(bare, enum.Enum):
        return Values(tuple(member.value for member in bare))
    return _container(origin or bare, args) or _object(bare)


def _union(members: tuple[Any, ...]) -> Shape:
    shapes = tuple(shape_of(member) for member in members)
    if any(isinstance(shape, Values) for shape in shapes):
        merged: tuple[Any, ...] = ()
        for member, shape in zip(members, shapes, strict=True):
            if isinstance(shape, Values):
                merged += shape.values
            elif member is _NONE:
                merged += (None,)
            else:
                return Union_(members)
        return Values(merged)
    return Union_(members)


def _container(kind: Any, args: tuple[Any, ...]) -> Shape | None:
    if kind is tuple and args and args[-1] is not Ellipsis:
        return Row(args)
    if kind in _ARRAYS:
        return Array(args[0] if args else Any)
    if kind in _SETS:
        return Array(args[0] if args else Any, unique=True)
    if kind in _MAPS:
        return Map(args[1] if args else Any)
    return None


def _object(bare: Any) -> Shape:
    if is_typeddict(bare):
        hints = typing.get_type_hints(bare, include_extras=True)
        required = bare.__required_keys__
        return Object(bare, tuple(Field(name, hint, name in required) for name, hint in hints.items()))
    if isinstance(bare, type) and issubclass(bare, tuple) and hasattr(bare, "_fields"):
        hints = typing.get_type_hints(bare, include_extras=True)
        return Row(tuple(hints.get(name, Any) for name in bare._fields), len(getattr(bare, "_field_defaults", ())))
    info = msgspec.inspect.type_info(bare)
    fields = getattr(info, "fields", None)
    if fields is None:
        raise TypeError(f"{bare!r} has no JSON form")
    hints = typing.get_type_hints(bare, include_extras=True)
    tag: tuple[Field, ...] = ()
    if isinstance(info, msgspec.inspect.StructType) and info.tag_field is not None:
        tag = (Field(info.tag_field, Literal[info.tag], required=True),)
    return Object(bare, tag + tuple(_field(field, hints) for field in fields))


def _field(field: msgspec.inspect.Field, hints: Mapping[str, Any]) -> Field:
    return Field(field.encode_name, hints[field.name], field.required, field.default)
