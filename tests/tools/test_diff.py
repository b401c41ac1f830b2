"""Diff: what changed between two versions, and whether calls that were made for the old one still fit."""

import inspect
import json
from typing import Annotated, Any, Literal

import hypothesis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from gaia_core import ArgumentsError, Tool, Toolset, diff, tool
from gaia_core.tools import define


class Point(msgspec.Struct, frozen=True):
    x: int
    y: int = 0


class Wider(msgspec.Struct, frozen=True):
    x: float
    y: int = 0
    z: int | None = None


class Node(msgspec.Struct):
    below: "list[Node]" = []


class Leaf(msgspec.Struct):
    value: int = 0
    below: "list[Leaf]" = []


def made(annotation: Any, default: Any = inspect.Parameter.empty, *, name: str = "f", description: str = "Do.") -> Tool:
    def function(x) -> None: ...

    function.__annotations__ = {"x": annotation}
    function.__defaults__ = None if default is inspect.Parameter.empty else (default,)
    return tool(name=name, description=description)(function)


def between(old: Any, new: Any) -> str:
    return str(diff(Toolset("t", (made(old),)), Toolset("t", (made(new),))))


def test_equal_versions_do_not_differ():
    toolset = Toolset("t", (made(int),), instructions="Use {f}.")
    difference = diff(toolset, Toolset("other", (made(int),), instructions="Use {f}."))

    assert not difference
    assert difference.compatible
    assert str(difference) == "no difference"


def test_added_removed_and_changed_tools_and_instructions_are_listed():
    old = Toolset("t", (made(int, name="a"), made(int, name="b"), made(int, name="c")))
    new = Toolset("t", (made(str, name="b"), made(int, name="c"), made(int, name="d")), instructions="Hello.")
    difference = diff(old, new)

    assert (difference.added, difference.removed) == (("d",), ("a",))
    assert [change.name for change in difference.changed] == ["b"]
    assert difference.instructions
    assert not difference.compatible
    assert str(difference).splitlines() == [
        "- a: removed (breaking)",
        "+ d: added",
        "~ b: x: integer became string (breaking)",
        "~ instructions changed",
    ]


def test_added_tools_and_other_words_are_compatible():
    old = Toolset("t", (made(int),))
    new = Toolset("t", (made(int, description="Do!"), made(int, name="g")), instructions="Hello.")
    difference = diff(old, new)

    assert difference
    assert difference.compatible
    assert str(difference).splitlines() == ["+ g: added", "~ f: the description changed", "~ instructions changed"]


def test_recorded_definitions_can_be_compared():
    recorded = [define("f", "Do.", b'{"type":"object","properties":{}}')]

    assert str(diff(recorded, [define("f", "Do.", b'{"type":"object","properties":{"x":{}},"required":["x"]}')])) == (
        "~ f: x: required now (breaking)"
    )
    assert not diff(recorded, recorded)
    assert diff([], recorded).added == ("f",)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (int, str, "x: integer became string"),
        (float, int, "x: integer or number became integer"),
        (int | None, int, "x: null became integer"),
        (int | str, int, "x: string became integer"),
        (Any, int, "x: any became integer"),
        (Literal["a", "b"], Literal["a"], 'x: no longer allowed: "b"'),
        (str, Literal["a"], "x: only certain values are allowed now"),
        (Literal["a"] | None, Literal["a"], "x: no longer allowed: null"),
        (int, Annotated[int, Meta(ge=1)], "x: minimum is 1 now"),
        (Annotated[int, Meta(le=9)], Annotated[int, Meta(le=8)], "x: maximum is 8 now"),
        (Annotated[str, Meta(max_length=9)], Annotated[str, Meta(max_length=8)], "x: maxLength is 8 now"),
        (str, Annotated[str, Meta(pattern="a")], "x: pattern changed"),
        (list[int], set[int], "x: uniqueItems changed"),
        (list[int], list[str], "x[]: integer became string"),
        (dict[str, int], dict[str, str], "x.*: integer became string"),
        (dict[str, int], dict[int, int], "x: propertyNames changed"),
        (Wider, Point, "x.x: integer or number became integer"),
        (Node, Leaf, "arguments: $defs changed"),
        (dict[str, int], Point, "x: other names are refused now"),
    ],
    ids=str,
)
def test_what_takes_less_is_breaking_and_says_where(old, new, told):
    assert f"~ f: {told} (breaking)" in between(old, new).splitlines()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (int, float),
        (int, int | None),
        (int, Any),
        (int | str, str | int | None),
        (Literal["a"], Literal["b", "a"]),
        (Literal["a"], str),
        (Annotated[int, Meta(ge=1)], int),
        (Annotated[int, Meta(ge=1, le=8)], Annotated[int, Meta(ge=0, le=9)]),
        (set[int], list[int]),
        (list[int], list[float]),
        (dict[str, int], dict[str, int | None]),
        (Point, Wider),
    ],
    ids=str,
)
def test_what_takes_more_is_compatible(old, new):
    difference = diff(Toolset("t", (made(old),)), Toolset("t", (made(new),)))

    assert difference
    assert difference.compatible, str(difference)


def test_a_parameter_may_become_optional_and_not_required():
    optional, required = Toolset("t", (made(int, 1),)), Toolset("t", (made(int),))

    assert diff(required, optional).compatible
    assert str(diff(optional, required)) == "~ f: x: required now (breaking)"


def test_only_another_default_is_compatible():
    difference = diff(Toolset("t", (made(int, 1),)), Toolset("t", (made(int, 2),)))

    assert difference.compatible
    assert str(difference) == "~ f: the schema changed; it takes all that it took"


# What the difference promises: a call that was made for the old version fits the new one.

KINDS = (
    int, float, str, bool, None, Any, int | None, int | str, float | None, Literal["a", "b"], Literal["b"] | None,
    Literal[1, 2], Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=0, le=5)], Annotated[float, Meta(gt=0)],
    Annotated[str, Meta(max_length=1)], Annotated[str, Meta(pattern="^a")], Annotated[list[int], Meta(min_length=1)],
    list[int], list[float | None], set[int], tuple[int, ...], tuple[int, int], tuple[int, str], dict[str, int],
    dict[str, Any], dict[int, float], Point, Wider, Point | None, Node, Leaf, list[Point], dict[str, Wider],
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.sampled_from((0.5, -1.5, "", "a", "b", "ab", "1")),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(("x", "y", "z", "1", "value", "below")), inner, max_size=3)
    ),
    max_leaves=4,
)


@hypothesis.settings(derandomize=True, deadline=None, max_examples=200)
@given(st.sampled_from(KINDS), st.sampled_from(KINDS), st.lists(values, min_size=4, max_size=8))
def test_a_compatible_difference_keeps_its_word(old, new, sent):
    before, after = made(old), made(new)
    if not diff(Toolset("t", (before,)), Toolset("t", (after,))).compatible:
        return
    for value in sent:
        if taken(before, value):
            assert taken(after, value), f"{old} took {value!r}; {new} is called compatible and does not"


def taken(made: Tool, value: Any) -> bool:
    """Whether the schema allows the value: as it stands, without reading texts as numbers."""
    sent = json.dumps({"x": value})
    try:
        made.parameters.decoder.decode(sent)
        made.parameters.decode("f", sent)
    except (msgspec.ValidationError, ArgumentsError):
        return False
    return True
