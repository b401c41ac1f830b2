"""Any JSON against any type: it is taken and has the right types, or it is an ArgumentsError; nothing else happens."""

import datetime as dt
import enum
import json
import math
import types
import typing
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import attrs
import hypothesis
import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from gaia_core import ArgumentsError, Tool, tool

laws = hypothesis.settings(derandomize=True, deadline=None, max_examples=150)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.Enum):
    HIGH = 3
    LOW = 1


class Node(msgspec.Struct):
    value: int = 0
    children: "list[Node]" = []


class Cat(msgspec.Struct, tag=True):
    lives: float
    friend: "Cat | Dog | None" = None


class Dog(msgspec.Struct, tag=True):
    tricks: tuple[str, ...] = ()


class Place(TypedDict, total=False):
    name: str
    size: int


class Pair(NamedTuple):
    a: int
    b: float | None = None


@attrs.frozen
class Box:
    path: Path
    level: Level = Level.LOW


class Row(msgspec.Struct, array_like=True):
    name: str
    node: Node | None = None


SCALARS = (str, int, float, bool, None, dt.date, uuid.UUID, Path, bytes, Color, Level, Literal["a", 1], Any)
CLASSES = (Node, Place, Pair, Box, Row, Cat | Dog, Cat | None)
BOUNDED = (
    Annotated[int, Meta(ge=0, le=10)],
    Annotated[float, Meta(gt=0)],
    Annotated[str, Meta(min_length=1, max_length=2)],
    Annotated[list[int], Meta(max_length=2)],
)
HASHABLE = (str, int, float, bool, Color, tuple[int, ...], Pair)

annotations = st.recursive(
    st.sampled_from((*SCALARS, *CLASSES, *BOUNDED)),
    lambda inner: st.one_of(
        inner.map(lambda t: list[t]),
        inner.map(lambda t: tuple[t, ...]),
        st.tuples(inner, inner).map(lambda pair: tuple[pair]),
        st.sampled_from(HASHABLE).map(lambda t: set[t]),
        st.tuples(st.sampled_from((str, int, Color)), inner).map(lambda pair: dict[pair]),
        inner.filter(lambda t: t is not Any).map(lambda t: t | None if t is not None else t),
        st.sampled_from((int | str, float | list[str], int | dict[str, int], bool | float)),
    ),
    max_leaves=4,
)

TEXTS = st.text(max_size=4) | st.sampled_from(
    ("red", "a", "3", "nan", "inf", "-1e999", "true", "null", "2026-01-02", "\0", "eA==", "Cat", "9" * 400)
)
NUMBERS = st.integers() | st.floats() | st.sampled_from((2**64, -(2**63) - 1, 10**400, 1e308, 5e-324, -0.0))
NAMES = TEXTS | st.sampled_from(
    ("x", "value", "children", "type", "lives", "friend", "name", "path", "level", "a", "b")
)
json_values = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def parameter(annotation: Any) -> Tool:
    def f(x) -> None:
        """Do."""

    f.__annotations__ = {"x": annotation}
    return tool(f)


def fits(value: Any, annotation: Any) -> bool:
    """Whether *value* is of the type, told independently of msgspec."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return fits(value, args[0]) and all(_within(value, meta) for meta in args[1:])
    if annotation is Any:
        return True
    if annotation in (None, type(None)):
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, member) for member in args)
    if origin is Literal:
        return any(value == allowed and type(value) is type(allowed) for allowed in args)
    if origin in (list, set) or (origin is tuple and args[-1] is Ellipsis):
        return type(value) is origin and all(fits(item, args[0]) for item in value)
    if origin is tuple:
        return type(value) is tuple and len(value) == len(args) and all(map(fits, value, args))
    if origin is dict:
        return type(value) is dict and all(fits(k, args[0]) and fits(v, args[1]) for k, v in value.items())
    if annotation is Place:
        hints = typing.get_type_hints(Place)
        return type(value) is dict and all(name in hints and fits(item, hints[name]) for name, item in value.items())
    if not isinstance(value, annotation) or (annotation in (int, float) and type(value) is not annotation):
        return False
    if annotation is float:
        return math.isfinite(value)
    if annotation in SCALARS:
        return True
    return all(fits(getattr(value, name), hint) for name, hint in typing.get_type_hints(annotation).items())


def _within(value: Any, meta: Meta) -> bool:
    size = len(value) if isinstance(value, str | list) else 0
    return (
        (meta.ge is None or value >= meta.ge)
        and (meta.gt is None or value > meta.gt)
        and (meta.le is None or value <= meta.le)
        and (meta.min_length is None or size >= meta.min_length)
        and (meta.max_length is None or size <= meta.max_length)
    )


def judge(made: Tool, annotation: Any, arguments: str | bytes) -> Any:
    """Decode; whatever is taken must fit, and whatever is not must be told."""
    try:
        taken = made.parameters.decode("f", arguments)
    except ArgumentsError as refused:
        error = refused
    else:
        assert fits(taken.x, annotation), f"{taken.x!r} is not of the type {annotation}"
        return taken.x
    assert error.problems
    assert all(isinstance(problem, str) and problem for problem in error.problems)
    assert str(error).encode()
    return error


@laws
@given(annotations, json_values)
def test_any_value_for_any_type_is_taken_in_its_type_or_told(annotation, value):
    judge(parameter(annotation), annotation, json.dumps({"x": value}))


@laws
@given(annotations, st.dictionaries(NAMES, json_values, max_size=3) | json_values)
def test_any_arguments_for_any_type_are_taken_or_told(annotation, arguments):
    judge(parameter(annotation), annotation, json.dumps(arguments, ensure_ascii=False))


@laws
@given(st.sampled_from((Any, Node, list[str], Cat | Dog, int)), st.binary(max_size=30) | st.text(max_size=30))
def test_any_text_is_taken_or_told(annotation, text):
    judge(parameter(annotation), annotation, text)


@laws
@given(st.data())
def test_a_part_that_is_cut_off_or_changed_is_taken_or_told(data):
    annotation = data.draw(annotations)
    text = json.dumps({"x": data.draw(valid(annotation))})
    at = data.draw(st.integers(0, len(text)))

    judge(parameter(annotation), annotation, text[:at])
    judge(parameter(annotation), annotation, text[:at] + data.draw(st.text(max_size=2)) + text[at + 1 :])


# What the type says is valid is taken: the other half of law 5.


def valid(annotation: Any) -> st.SearchStrategy[Any]:
    """JSON values of the type, as a schema reader would write them."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return BOUNDED_VALUES[BOUNDED.index(annotation)]
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(valid, args))
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (list, set) or (origin is tuple and args[-1] is Ellipsis):
        return st.lists(valid(args[0]), max_size=3)
    if origin is tuple:
        return st.tuples(*map(valid, args)).map(list)
    if origin is dict:
        names = valid(args[0]).map(str)
        return st.dictionaries(names, valid(args[1]), max_size=3)
    return next(make() for kind, make in VALID if kind is annotation)


def nodes() -> st.SearchStrategy[Any]:
    return st.recursive(
        st.builds(dict, value=st.integers()),
        lambda inner: st.fixed_dictionaries({}, optional={"children": st.lists(inner, max_size=2)}),
        max_leaves=4,
    )


def cats() -> st.SearchStrategy[Any]:
    return st.recursive(
        st.fixed_dictionaries({"type": st.just("Cat"), "lives": finite}),
        lambda inner: st.fixed_dictionaries({"type": st.just("Cat"), "lives": finite, "friend": inner | dogs()}),
        max_leaves=3,
    )


def dogs() -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"type": st.just("Dog")}, optional={"tricks": st.lists(st.text(max_size=3))})


finite = st.floats(allow_nan=False, allow_infinity=False)
paths = st.text(max_size=4).filter(lambda text: "\0" not in text)
BOUNDED_VALUES = (
    st.integers(0, 10),
    st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    st.text(min_size=1, max_size=2),
    st.lists(st.integers(), max_size=2),
)
VALID: tuple[tuple[Any, Callable[[], st.SearchStrategy[Any]]], ...] = (
    (str, lambda: st.text(max_size=4)),
    (int, st.integers),
    (float, lambda: finite | st.integers(-100, 100)),
    (bool, st.booleans),
    (None, st.none),
    (type(None), st.none),
    (Any, lambda: st.integers(-9, 9) | st.text(max_size=3) | st.none()),
    (dt.date, lambda: st.dates().map(str)),
    (uuid.UUID, lambda: st.uuids().map(str)),
    (Path, lambda: paths),
    (bytes, lambda: st.sampled_from(("", "eA==", "AAEC"))),
    (Color, lambda: st.sampled_from(("red", "blue"))),
    (Level, lambda: st.sampled_from((3, 1))),
    (Node, nodes),
    (Place, lambda: st.fixed_dictionaries({}, optional={"name": st.text(max_size=3), "size": st.integers()})),
    (Pair, lambda: st.tuples(st.integers(), st.none() | finite).map(list) | st.tuples(st.integers()).map(list)),
    (Box, lambda: st.fixed_dictionaries({"path": paths}, optional={"level": st.sampled_from((3, 1))})),
    (Row, lambda: st.tuples(st.text(max_size=3), st.none() | nodes()).map(list)),
    (Cat, cats),
    (Dog, dogs),
)


@laws
@given(st.data())
def test_what_the_type_allows_is_taken(data):
    annotation = data.draw(annotations)
    value = data.draw(valid(annotation))

    taken = judge(parameter(annotation), annotation, json.dumps({"x": value}))

    assert not isinstance(taken, ArgumentsError), taken
