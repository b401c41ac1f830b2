"""Values: what every frozen type of this project keeps.

    @attrs.frozen(kw_only=True, field_transformer=typed)
    class Limits:
        __attrs_pre_init__ = made_once

        steps: int = attrs.field(default=25, validator=is_count)

`typed` makes the annotations hold at run time: a field takes exactly what it is declared to take. A str is a str and no
subclass of it, an int is no bool, a number is not nan, and what should be a tuple is no list. So equal values have
equal hashes, a value reaches nothing that can be changed, and a wrong argument is refused where it is given.
`made_once` lets nobody rewrite a value by calling its `__init__` again. (A `msgspec.Struct` ignores such a call; one
that callers make checks itself in `__post_init__`, see `refusal`.)

All of this is paid for once, when a value is made; see `Agent` for the one that is made often.
"""

import sys
import types
from collections.abc import Callable, Mapping
from math import isnan
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs

from gaia_core.errors import ConfigError

Check: TypeAlias = Callable[[Any], bool]
Transformer: TypeAlias = Callable[[type, "list[attrs.Attribute[Any]]"], "list[attrs.Attribute[Any]]"]

_EXACT = frozenset((type(None), bool, int, str, bytes, tuple, frozenset))
_PLAIN = frozenset((type(None), bool, int, float, str))
_SHOWN_CHARS = 80
_LARGEST = sys.float_info.max


def made_once(value: object) -> None:
    """For `__attrs_pre_init__`: refuse to fill a value that is filled already. Raises AttributeError."""
    kind: Any = type(value)
    if hasattr(value, kind.__attrs_attrs__[0].name):
        raise AttributeError(f"this {type(value).__name__} is frozen: make another, or use attrs.evolve")


def typed_as(error: type[Exception]) -> Transformer:
    """`typed`, with another error than ConfigError."""

    def transform(_cls: type, fields: "list[attrs.Attribute[Any]]") -> "list[attrs.Attribute[Any]]":
        return [_typed_field(field, error) for field in fields]

    return transform


typed = typed_as(ConfigError)


def _typed_field(field: "attrs.Attribute[Any]", error: type[Exception]) -> "attrs.Attribute[Any]":
    """*field* with a check of its type before its own validators. One that brings a check of its type keeps it.

    An annotation in quotes can't be read here; such a field is checked by its class, if at all. Of a field whose
    metadata says `secret`, an error doesn't show the value.
    """
    kind: Any = field.type
    if not field.init or kind is None or isinstance(kind, str) or field.validator in (is_count, is_seconds):
        return field
    fits, default = check_of(kind), field.default

    def check(instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        # A default was given by the class, and most fields have theirs: 0.07 µs a field.
        if value is not default and not fits(value):
            problem = must_be(kind, type(value) if attribute.metadata.get("secret") else value)
            raise error(f"{type(instance).__name__}.{attribute.name} {problem}")

    return field.evolve(validator=check if field.validator is None else attrs.validators.and_(check, field.validator))


def refusal(value: object) -> ConfigError:
    """The error for the first field of *value* that isn't what its annotation says.

    For the `__post_init__` of a struct, and the `__attrs_post_init__` of what is made for each turn, which look
    themselves whether there is one: that costs 0.1 µs in all, `typed` 0.07 µs a field, and this 50 µs.
    """
    kinds = get_type_hints(type(value))
    given = {name: getattr(value, name) for name in kinds}
    return ConfigError(f"{type(value).__name__}.{first_problem(kinds, given)}")


def first_problem(kinds: Mapping[str, Any], given: Mapping[str, object]) -> str:
    """The first of the values *given* that isn't what its annotation says: `steps must be an int, not '3'`."""
    name = next(name for name, kind in kinds.items() if not check_of(kind)(given[name]))
    return f"{name} {must_be(kinds[name], given[name])}"


def must_be(kind: Any, value: object) -> str:
    """What is wrong with *value*, which the annotation *kind* doesn't take: `must be a str, not ['a'] (list)`."""
    return f"must be {described(kind)}, not {shown(value)}"


def is_count(instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """A validator: a whole number above 0; None too, where the annotation has it. Raises ConfigError."""
    if value is None and type(None) in get_args(attribute.type):
        return
    if type(value) is not int or value <= 0:
        raise ConfigError(
            f"{type(instance).__name__}.{attribute.name} must be a whole number above 0, not {shown(value)}"
        )


def is_seconds(instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """A validator: seconds above 0, and inf for no end; None too, where the annotation has it. Raises ConfigError."""
    if value is None and type(None) in get_args(attribute.type):
        return
    number: Any = value
    if not (_is_number(number) and number > 0):
        raise ConfigError(f"{type(instance).__name__}.{attribute.name} must be seconds above 0, not {shown(value)}")


def shown(value: object) -> str:
    """*value* in an error: its repr, shortened, with its type where that says more."""
    text = repr(value)
    if len(text) > _SHOWN_CHARS:
        text = f"{text[: _SHOWN_CHARS - 1]}…"
    return text if type(value) in _PLAIN else f"{text} ({type(value).__name__})"


def check_of(kind: Any) -> Check:
    """Whether a value is what the annotation *kind* says.

    Python's built-in types, attrs classes and structs are meant exactly; of other classes, an instance fits. Whatever
    is callable fits a Callable, and anything fits Any and a Protocol that can't be checked at run time.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is None:
        return _check_of_class(kind)
    if origin is Annotated:
        return check_of(arguments[0])
    if origin in (Union, types.UnionType):
        return _check_of_union(arguments)
    if origin is Literal:
        kinds = frozenset(map(type, arguments))  # of one type in all of ours, so that no 1 is taken for True
        return lambda value: type(value) in kinds and value in arguments
    if origin is tuple and arguments[1:] != (...,):
        return _check_of_row(tuple(map(check_of, arguments)))
    if origin in (tuple, frozenset):
        check = check_of(arguments[0])
        return lambda value: type(value) is origin and all(map(check, value))
    return callable if origin is Callable else lambda value: isinstance(value, origin)


def _check_of_class(kind: Any) -> Check:
    if kind is Any or kind is object or isinstance(kind, TypeVar):
        return lambda _: True
    if kind is None:
        kind = type(None)
    if kind is float:
        return _is_number
    if _is_exact(kind):
        return lambda value: type(value) is kind
    try:
        isinstance(None, kind)
    except TypeError:  # a Protocol that can't be checked at run time
        return lambda _: True
    return lambda value: isinstance(value, kind)


def _is_exact(kind: Any) -> bool:
    return kind in _EXACT or hasattr(kind, "__attrs_attrs__") or hasattr(kind, "__struct_fields__")


def _check_of_union(kinds: tuple[Any, ...]) -> Check:
    if all(map(_is_exact, kinds)):
        exact = frozenset(kinds)
        return lambda value: type(value) in exact
    if type(None) in kinds:
        rest = check_of(Union[tuple(kind for kind in kinds if kind is not type(None))])  # noqa: UP007  # made here
        return lambda value: value is None or rest(value)
    checks = tuple(map(check_of, kinds))
    return lambda value: any(check(value) for check in checks)


def _check_of_row(checks: tuple[Check, ...]) -> Check:
    """For a tuple of fixed length, each item of a type of its own."""

    def check(value: Any) -> bool:
        return (
            type(value) is tuple
            and len(value) == len(checks)
            and all(one(item) for one, item in zip(checks, value, strict=True))
        )

    return check


def _is_number(value: Any) -> bool:
    """A float that is a number, or an int that fits into one."""
    if type(value) is float:
        return not isnan(value)
    return type(value) is int and -_LARGEST <= value <= _LARGEST


def described(kind: Any) -> str:
    """The annotation *kind* in words: `a tuple of str`, `an int or None`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return described(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(described(argument) for argument in arguments)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple and arguments[1:] != (...,):
        return f"a tuple ({', '.join(map(_name, arguments))})"
    if origin in (tuple, frozenset):
        return f"a {origin.__name__} of {_name(arguments[0])}"
    if origin is Callable:
        return "callable"
    if kind is bool:
        return "True or False"
    if kind is float:
        return "a number"
    name = _name(kind)
    return name if name == "None" else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _name(kind: Any) -> str:
    """*kind* without an article, after `a tuple of`."""
    if kind is None or kind is type(None):
        return "None"
    origin = get_origin(kind) or kind
    if isinstance(origin, type) and origin not in (tuple, frozenset, types.UnionType):
        return origin.__name__
    return described(kind) if get_origin(kind) is not None else str(kind)
