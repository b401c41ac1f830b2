"""Shapes: one level of a type's structure, as far as JSON can tell.

The schema that a model is sent and the argument errors that it gets are two folds over the same shapes (law 5), so
they can't disagree. `shape_of` looks at one level; the children are annotations again.
"""

import datetime as dt
import decimal
import enum
import types
import typing
import uuid
from collections.abc import Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from itertools import takewhile
from pathlib import PurePath
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
    tag: str | None = None
    """The name of the member that tells this class from others in a union; the first of *fields*."""


@attrs.frozen
class Array:
    """Items of one type; *unique* for sets."""

    item: Any
    unique: bool = False


@attrs.frozen
class Row:
    """A fixed number of items, each of a type of its own; the last *optional* of them may be left out.

    *owner* is the class that declares them, if one does.
    """

    items: tuple[Any, ...]
    optional: int = 0
    owner: type | None = None


@attrs.frozen
class Map:
    """Any names of the type *key*, values of one type."""

    value: Any
    key: Any = str


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
)

_ARRAYS = (list, tuple, Sequence, MutableSequence)
_SETS = (set, frozenset, AbstractSet, MutableSet)
_MAPS = (dict, Mapping, MutableMapping)
_UNHASHABLE = (list, dict, set, bytearray, Sequence, MutableSequence, AbstractSet, MutableSet, Mapping, MutableMapping)
_KEYS = ((), (("type", "string"),), (("type", "integer"),))
_NO_KEYS = (bytes, bytearray, decimal.Decimal)


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


def is_path(bare: Any) -> bool:
    """Whether *bare* is one of pathlib's classes, which are sent as strings."""
    return isinstance(bare, type) and issubclass(bare, PurePath)


def union_members(bare: Any) -> tuple[Any, ...]:
    """The members of a union, or nothing for any other type."""
    return get_args(bare) if get_origin(bare) in (Union, types.UnionType) else ()


def annotation_text(annotation: Any) -> str:
    """*annotation* as it is written in code: the same on every Python, which their own words for types are not."""
    bare, _ = split_annotated(annotation)
    if bare is None or bare is _NONE:
        return "None"
    if bare is Ellipsis:
        return "..."
    if members := union_members(bare):
        return " | ".join(annotation_text(member) for member in members)
    if isinstance(bare, list):  # the parameters of a Callable
        return f"[{', '.join(annotation_text(item) for item in bare)}]"
    origin, args = get_origin(bare), get_args(bare)
    if origin is None or not args:
        return str(getattr(bare, "__name__", bare))
    parts = map(repr if origin is Literal else annotation_text, args)
    return f"{getattr(origin, '__name__', origin)}[{', '.join(parts)}]"


def may_be(given: Any, wanted: Any) -> bool:
    """Whether a value of the type *given* can be a *wanted*, as far as classes tell: True for whatever else."""
    given, wanted = split_annotated(given)[0], split_annotated(wanted)[0]
    given, wanted = (_NONE if given is None else given), (_NONE if wanted is None else wanted)
    if members := union_members(given):
        return any(may_be(member, wanted) for member in members)
    if members := union_members(wanted):
        return any(may_be(given, member) for member in members)
    one, other = get_origin(given) or given, get_origin(wanted) or wanted
    if not (isinstance(one, type) and isinstance(other, type)) or Any in (one, other):
        return True
    if getattr(other, "_is_protocol", False) or is_typeddict(one) or is_typeddict(other):
        return True
    return issubclass(one, other) or (other is float and one is int)


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
    if is_path(bare):
        return Scalar((("type", "string"),))
    if members := union_members(bare):
        return _union(members)
    origin, args = get_origin(bare), get_args(bare)
    if origin is Literal:
        return Values(args)
    if isinstance(bare, type) and issubclass(bare, enum.Enum):
        if issubclass(bare, enum.Flag):
            raise TypeError(
                f"{annotation_text(bare)} takes combinations that a schema can't list; use a set of an Enum"
            )
        return Values(tuple(member.value for member in bare))
    if bare == tuple[()]:
        return Row(())
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
        item = args[0] if args else Any
        if not _hashable(item):
            raise TypeError(f"a set can't hold {annotation_text(item)}, which is not hashable; use a list")
        return Array(item, unique=True)
    if kind in _MAPS:
        key, value = args or (str, Any)
        return Map(value, _key(key))
    return None


def _key(key: Any) -> Any:
    """*key*, if the names of a JSON object can be of that type."""
    shape = shape_of(key)
    if isinstance(shape, Values) and all(type(value) in (str, int) for value in shape.values):
        return key
    if isinstance(shape, Scalar) and shape.schema[:1] in _KEYS and split_annotated(key)[0] not in _NO_KEYS:
        return key
    raise TypeError(
        f"the names of an object can't be of the type {annotation_text(key)}; use str, int, an Enum or a Literal"
    )


def _hashable(item: Any) -> bool:
    bare, _ = split_annotated(item)
    if members := union_members(bare):
        return all(_hashable(member) for member in members)
    kind = get_origin(bare) or bare
    if kind in (tuple, frozenset):
        return all(_hashable(arg) for arg in get_args(bare))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind.__struct_config__.frozen or not kind.__struct_config__.eq
    return getattr(kind, "__hash__", None) is not None and kind not in _UNHASHABLE and not is_typeddict(kind)


def _object(bare: Any) -> Shape:
    if is_typeddict(bare):
        hints = typing.get_type_hints(bare, include_extras=True)
        required = bare.__required_keys__
        return Object(bare, tuple(Field(name, hint, name in required) for name, hint in hints.items()))
    if isinstance(bare, type) and issubclass(bare, tuple) and hasattr(bare, "_fields"):
        hints = typing.get_type_hints(bare, include_extras=True)
        optional = len(getattr(bare, "_field_defaults", ()))
        return Row(tuple(hints.get(name, Any) for name in bare._fields), optional, bare)
    if isinstance(get_origin(bare), type):
        raise TypeError(f"{annotation_text(bare)} is generic; use a class without type parameters")
    info = msgspec.inspect.type_info(bare)
    fields = getattr(info, "fields", None)
    if fields is None:
        raise TypeError(f"{annotation_text(bare)} has no JSON form")
    hints = typing.get_type_hints(bare, include_extras=True)
    members = tuple(_field(field, hints) for field in fields)
    if not isinstance(info, msgspec.inspect.StructType):
        return Object(bare, members)
    if info.tag_field is not None:
        members = (Field(info.tag_field, Literal[info.tag], required=True), *members)
    if info.array_like:
        optional = len(tuple(takewhile(lambda member: not member.required, reversed(members))))
        return Row(tuple(member.type for member in members), optional, bare)
    return Object(bare, members, info.tag_field)


def _field(field: msgspec.inspect.Field, hints: Mapping[str, Any]) -> Field:
    return Field(field.encode_name, hints[field.name], field.required, field.default)
