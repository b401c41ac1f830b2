"""The canonical text of a value: equal wherever the value is, in every process and on every machine.

Fingerprints are made of it. Two values have one text exactly when they are equal as Python compares them (1, 1.0 and
True are), with two exceptions. What has no content to compare (a function, a class, another object) is written by its
qualified name, so that two of one name have one text. Fields that `repr` leaves out are left out: they may be secrets.
No module is named, so that a class may move.
"""

import dataclasses
import datetime as dt
import decimal
import enum
import numbers
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath, PureWindowsPath
from typing import Any, cast

import attrs
import msgspec


class NoTextError(TypeError):
    """A value has no canonical text: a part of it can be changed, or doesn't equal itself. Says which, and the way
    out."""


def canonical_text(value: object) -> str:
    """The text of *value*.

    Tuples, frozensets, attrs classes, dataclasses, structs, enums, paths, dates and plain scalars are written in full.
    A member of an enum that is a str, a number or a tuple too equals that, and has its text. Raises NoTextError.
    """
    text = _of_scalar(value)
    if text is not None:
        return text
    if isinstance(value, tuple):
        return f"({', '.join(canonical_text(item) for item in cast('tuple[object, ...]', value))})"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(canonical_text(item) for item in cast('frozenset[object]', value)))}}}"
    if isinstance(value, Mapping):
        pairs = sorted((canonical_text(key), canonical_text(item)) for key, item in value.items())
        return f"map{{{', '.join(f'{key}: {item}' for key, item in pairs)}}}"
    if isinstance(value, list | set | bytearray):
        raise NoTextError(f"a {type(value).__name__} can be changed; use a tuple, a frozenset or bytes")
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.name}"
    members = None if isinstance(value, type) else _members(value)
    if members is not None:
        return f"{type(value).__qualname__}{canonical_text(tuple(members))}"
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else type(value).__qualname__


def _of_scalar(value: object) -> str | None:
    """The text of what has no parts; None for everything else."""
    if value is None:
        return "None"
    if isinstance(value, str):
        return str.__repr__(value)
    if isinstance(value, bytes | memoryview):
        return repr(bytes(value))
    if isinstance(value, numbers.Complex | decimal.Decimal):
        return _of_number(value)
    if isinstance(value, PurePath):
        # Paths compare by the rules of their system: a PurePosixPath equals a PosixPath, and Windows ignores case.
        windows = isinstance(value, PureWindowsPath)
        return f"WindowsPath({str(value).lower()!r})" if windows else f"PosixPath({str(value)!r})"
    if isinstance(value, dt.date | dt.time | dt.timedelta):
        return _of_time(value)
    if isinstance(value, uuid.UUID):
        return f"UUID({uuid.UUID.__str__(value)!r})"
    if isinstance(value, range):
        start_and_step = (*value[:1], *((value.step,) if len(value) > 1 else ()))
        return f"range{canonical_text((len(value), *start_and_step))}"
    return None


def _of_number(value: Any) -> str:
    """1, 1.0 and True are equal, and so are their texts: a ratio in hexadecimal digits."""
    if isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real):
        real = _of_number(value.real)
        return f"{real}+{_of_number(value.imag)}j" if value.imag != 0 else real
    if isinstance(value, numbers.Rational):
        return f"{int(value.numerator):x}/{int(value.denominator):x}"
    try:
        numerator, denominator = value.as_integer_ratio()
    except OverflowError:
        return "inf" if value > 0 else "-inf"
    except ValueError:
        raise NoTextError("nan equals nothing, not even itself; use None") from None
    return f"{numerator:x}/{denominator:x}"


def _of_time(value: dt.date | dt.time | dt.timedelta) -> str:
    """Times of a zone are equal when they are the same instant, whatever zone shows it; `fold` counts for nothing."""
    # By the class's own methods: a subclass, an enum of dates for example, may have another `str`.
    if isinstance(value, dt.timedelta):
        return f"timedelta({dt.timedelta.__str__(value)!r})"
    if isinstance(value, dt.datetime):
        name, text, offset = "datetime", dt.datetime.isoformat(value, " "), value.replace(fold=0).utcoffset()
        since = value.replace(tzinfo=None) - dt.datetime.min  # noqa: DTZ901  # neither has a zone
    elif isinstance(value, dt.time):
        name, text, offset = "time", dt.time.isoformat(value), value.replace(fold=0).utcoffset()
        since = dt.timedelta(0, value.second, value.microsecond, 0, value.minute, value.hour)
    else:
        return f"date({dt.date.isoformat(value)!r})"
    return f"{name}({text!r})" if offset is None else f"{name}(UTC {since - offset})"


def _members(value: Any) -> Iterator[tuple[str, object]] | None:
    """The names and values of the fields by which *value* compares; None when it has none."""
    if isinstance(value, msgspec.Struct):
        return (
            ((name, getattr(value, name)) for name in value.__struct_fields__) if value.__struct_config__.eq else None
        )
    kind: Any = type(value)
    if kind.__eq__ is object.__eq__:
        return None
    if attrs.has(kind):
        fields: Any = attrs.fields(kind)
        return (
            (field.name, _key(field.eq_key, getattr(value, field.name)))
            for field in fields
            if field.eq and field.repr is not False
        )
    if dataclasses.is_dataclass(value):
        shown = (item.name for item in dataclasses.fields(value) if item.compare and item.repr)
        return ((name, getattr(value, name)) for name in shown)
    return None


def _key(key: Callable[[Any], object] | None, value: object) -> object:
    return value if key is None else key(value)
