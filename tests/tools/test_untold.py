"""What a model can't be told, or a decoder can't tell apart, is an error that names the parameter."""

import collections.abc as abc
import datetime as dt
import enum
import re
import sys
import typing
import uuid
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import attrs
import msgspec
import pytest
from msgspec import Meta

from gaia_core import ToolDeclarationError, doc, resource, tool


class Color(enum.Enum):
    RED = "red"


class Point(msgspec.Struct, frozen=True):
    x: int


class Place(TypedDict):
    name: str


class Generic(msgspec.Struct, typing.Generic[typing.TypeVar("T")]):
    value: int


class Mutable(msgspec.Struct):
    value: int


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Sentinel:
    pass


@attrs.define
class One:
    a: int


@attrs.define
class Two:
    a: int


@pytest.mark.parametrize(
    "annotation",
    [
        complex, type, Sentinel, typing.Callable[[], int], abc.Iterator[int],
        One | Two, One | Point, set[int] | list[int], tuple[int, ...] | list[int], dict[str, int] | Place,
        str | dt.datetime, uuid.UUID | bytes, Path | str, Literal["a"] | Color,
        Annotated[int, Meta(pattern="a")], Annotated[str, Meta(ge=1)],
        Annotated[bool | None, doc("b", ge=1)],
        set[list[int]], set[dict[str, int]], frozenset[Mutable], set[One], set[Place],
        dict[float, int], dict[list[int], int], dict[None, int], dict[tuple[int, int], int], dict[Point, int],
        enum.Enum("Empty", []), enum.Enum("Mixed", {"A": 1, "B": "b"}), enum.Enum("Real", {"A": 1.5}), Rights,
        Generic[int], typing.TypeVar("T"), typing.Final[int], typing.LiteralString, msgspec.Raw,
        list[One | Two], dict[str, complex], Annotated[complex, doc("c")], tuple[int, Sentinel],
    ],
    ids=str,
)  # fmt: skip
def test_a_type_that_cannot_be_described_is_an_error_that_names_the_parameter(made, annotation):
    with pytest.raises(ToolDeclarationError) as raised:
        made(annotation)

    assert str(raised.value).startswith("tool f: parameter 'x' can't be told to a model: ")


@pytest.mark.parametrize(
    ("annotation", "default", "words"),
    [
        (list[int], [], r"has the mutable default \[\]; write x: tuple"),
        (dict[str, int], {}, "has the mutable default {}"),
        (set[int], {1}, "has the mutable default {1}"),
        (Mutable, Mutable(1), "has the mutable default"),
        (int, "abc", "has the default 'abc', which its type does not take"),
        (int, None, "has the default None, which its type does not take"),
        (Annotated[int, doc("n", ge=1)], 0, "has the default 0, which its type does not take: .*>= 1"),
        (Literal["a"], "b", "has the default 'b', which its type does not take"),
        (Any, object(), "has the default .*object has no JSON form"),
        (float, float("inf"), "has the default inf, which JSON does not know; use None"),
        (int | str, 1.5, "has the default 1.5, which its type does not take"),
    ],
)
def test_a_default_that_a_model_cannot_be_told_is_an_error_that_names_the_parameter(made, annotation, default, words):
    with pytest.raises(ToolDeclarationError, match=f"tool f: parameter 'x' {words}"):
        made(annotation, default)


def untyped(x) -> None:
    """Do."""


def rest(*x: int) -> None:
    """Do."""


def named(**x: int) -> None:
    """Do."""


def positional(x: int, /) -> None:
    """Do."""


def unknown(x: "Unheard") -> None:  # noqa: F821
    """Do."""


def no_attribute(x: "typing.Unheard") -> None:
    """Do."""


def no_expression(x: "a b") -> None:  # noqa: F722
    """Do."""


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (untyped, "has no type, and a model must know one"),
        (rest, "is variadic positional; a model passes arguments by name"),
        (named, "is variadic keyword; a model passes arguments by name"),
        (positional, "is positional-only; a model passes arguments by name"),
        (unknown, "has an annotation that can't be read: name 'Unheard' is not defined"),
        (no_attribute, "has an annotation that can't be read: .*Unheard"),
        (no_expression, "has an annotation that can't be read: Forward reference must be an expression"),
    ],
)
def test_a_signature_that_a_model_cannot_fill_is_an_error_that_names_the_parameter(function, words):
    with pytest.raises(ToolDeclarationError, match=f"tool {function.__name__}: parameter 'x' {words}"):
        tool(function)


# As they are written, and as Python takes them from 3.14 on without being told: evaluated when somebody asks.
LATE = ("from __future__ import annotations", *(("",) if sys.version_info >= (3, 14) else ()))


def defined(future: str, source: str) -> dict[str, Any]:
    """The names that *source* defines, its annotations evaluated late."""
    names: dict[str, Any] = {"__name__": "written_here", "tool": tool, "resource": resource}
    exec(compile(f"{future}\n{source}", "<written here>", "exec", dont_inherit=True), names)
    return names


@pytest.mark.parametrize("future", LATE)
@pytest.mark.parametrize("annotation", ["Unheard", "list[Unheard]", "Unheard | None"])
def test_a_name_that_only_type_checkers_know_is_an_error_that_names_the_parameter(future, annotation):
    words = "tool f: parameter 'x' has an annotation that can't be read: name 'Unheard' is not defined"
    with pytest.raises(ToolDeclarationError, match=words):
        defined(future, f"@tool\ndef f(a: int, x: {annotation}) -> None:\n    'Do.'\n")


@pytest.mark.parametrize("future", LATE)
def test_a_result_and_a_recipe_may_have_types_that_only_type_checkers_know(future):
    source = (
        "@tool\ndef f(x: int) -> Unheard:\n    'Do.'\n@resource()\ndef r(url: Unheard) -> Unheard:\n    yield url\n"
    )
    names = defined(future, source)

    assert [field.name for field in names["f"].parameters.fields] == ["x"]
    assert names["r"]("a").arguments == (("url", "a"),)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (complex, "complex has no JSON form"),
        (Annotated[typing.Optional[int], doc("n", pattern="a")], "bounds on int | None fit none"),  # noqa: UP045
        (Annotated[int | None, doc("n", pattern="a")], "bounds on int | None fit none"),
        (set[typing.Optional[list[int]]], "a set can't hold list[int] | None, which"),  # noqa: UP045
        (set[typing.List[Any]], "a set can't hold list[Any], which"),  # noqa: UP006
        (dict[tuple[Literal["a"], ...], int], "an object can't be of the type tuple[Literal['a'], ...]; use"),
        (typing.Callable[[int, None], str], "Callable[[int, None], str] is generic"),
        (Generic[int], "Generic[int] is generic"),
        (Rights, "Rights takes combinations"),
    ],
    ids=str,
)  # fmt: skip
def test_types_are_told_as_they_are_written_on_every_python(made, annotation, words):
    with pytest.raises(ToolDeclarationError, match=re.escape(words)):
        made(annotation)
