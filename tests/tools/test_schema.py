"""Types to JSON schema: what a model is told of each type that a parameter may have."""

import collections.abc as abc
import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, Required, TypedDict, Union

import attrs
import msgspec
import pytest
from msgspec import Meta

from gaia_core import doc, tool


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"
    AMBER = "amber"
    SCARLET = "red"  # noqa: PIE796  # another name of RED


class Level(enum.IntEnum):
    HIGH = 3
    LOW = 1


class Point(msgspec.Struct, frozen=True):
    x: int
    y: int = 0


class Renamed(msgspec.Struct, rename="camel"):
    line_count: int


class Row(msgspec.Struct, array_like=True):
    name: str
    size: int = 0


class Cat(msgspec.Struct, tag="cat", frozen=True):
    lives: int = 9


class Dog(msgspec.Struct, tag="dog", frozen=True):
    tricks: tuple[str, ...] = ()


@dataclasses.dataclass
class Span:
    start: Annotated[int, doc("First line", ge=1)]
    end: int | None = None
    tags: list[str] = dataclasses.field(default_factory=list)


@attrs.define
class Box:
    width: int
    point: Point = attrs.field(factory=lambda: Point(1))


class Place(TypedDict):
    name: str
    country: NotRequired[str]


class Query(TypedDict, total=False):
    text: Required[str]
    limit: int


class Pair(NamedTuple):
    a: int
    b: str = "b"


UserId = NewType("UserId", int)
STRING = {"type": "string"}
INTEGER = {"type": "integer"}
POINT = {
    "type": "object",
    "properties": {"x": INTEGER, "y": {"type": "integer", "default": 0}},
    "required": ["x"],
    "additionalProperties": False,
}
SPAN = {
    "type": "object",
    "properties": {
        "start": {"type": "integer", "description": "First line", "minimum": 1},
        "end": {"anyOf": [INTEGER, {"type": "null"}]},
        "tags": {"type": "array", "items": STRING},
    },
    "required": ["start"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, STRING),
        (int, INTEGER),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (dt.datetime, {"type": "string", "format": "date-time"}),
        (dt.date, {"type": "string", "format": "date"}),
        (dt.time, {"type": "string", "format": "time"}),
        (dt.timedelta, {"type": "string", "format": "duration"}),
        (uuid.UUID, {"type": "string", "format": "uuid"}),
        (decimal.Decimal, {"type": "string", "format": "decimal"}),
        (Path, STRING),
        (UserId, INTEGER),
    ],
    ids=str,
)
def test_plain_values(schema, annotation, expected):
    assert schema(annotation) == expected


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Optional[int], {"anyOf": [INTEGER, {"type": "null"}]}),  # noqa: UP045
        (int | str, {"anyOf": [INTEGER, STRING]}),
        (Union[int, list[str]], {"anyOf": [INTEGER, {"type": "array", "items": STRING}]}),  # noqa: UP007
        (Point | None, {"anyOf": [POINT, {"type": "null"}]}),
    ],
    ids=str,
)
def test_unions(schema, annotation, expected):
    assert schema(annotation) == expected


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Literal["b", "a", "c"], {"type": "string", "enum": ["b", "a", "c"]}),
        (Literal[3, 1], {"type": "integer", "enum": [3, 1]}),
        (Literal["b", 1, None], {"enum": ["b", 1, None]}),  # noqa: PYI061
        (Literal["b", "a"] | None, {"enum": ["b", "a", None]}),
        (Literal["b", "a"] | int, {"anyOf": [{"type": "string", "enum": ["b", "a"]}, INTEGER]}),
        (Color, {"type": "string", "enum": ["red", "blue", "amber"]}),
        (Level, {"type": "integer", "enum": [3, 1]}),
        (Color | None, {"enum": ["red", "blue", "amber", None]}),
    ],
    ids=str,
)
def test_choices_keep_the_order_in_which_they_were_declared(schema, annotation, expected):
    assert schema(annotation) == expected


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (list[int], {"type": "array", "items": INTEGER}),
        (list, {"type": "array", "items": {}}),
        (abc.Sequence[int], {"type": "array", "items": INTEGER}),
        (tuple[int, ...], {"type": "array", "items": INTEGER}),
        (tuple, {"type": "array", "items": {}}),
        (tuple[()], {"type": "array", "minItems": 0, "maxItems": 0}),
        (tuple[int, int], {"type": "array", "items": INTEGER, "minItems": 2, "maxItems": 2}),
        (tuple[int, str], {"type": "array", "prefixItems": [INTEGER, STRING], "minItems": 2, "maxItems": 2}),
        (set[int], {"type": "array", "items": INTEGER, "uniqueItems": True}),
        (frozenset[str], {"type": "array", "items": STRING, "uniqueItems": True}),
        (set[tuple[int, ...]], {"type": "array", "items": {"type": "array", "items": INTEGER}, "uniqueItems": True}),
        (dict[str, int], {"type": "object", "additionalProperties": INTEGER}),
        (dict, {"type": "object", "additionalProperties": {}}),
        (abc.Mapping[str, int], {"type": "object", "additionalProperties": INTEGER}),
        (list[dict[str, list[int]]], {
            "type": "array",
            "items": {"type": "object", "additionalProperties": {"type": "array", "items": INTEGER}},
        }),
    ],
    ids=str,
)  # fmt: skip
def test_containers(schema, annotation, expected):
    assert schema(annotation) == expected


@pytest.mark.parametrize(
    ("annotation", "names"),
    [
        (dict[Literal["b", "a"], int], {"type": "string", "enum": ["b", "a"]}),
        (dict[Color, int], {"type": "string", "enum": ["red", "blue", "amber"]}),
        (dict[int, int], {"type": "string", "pattern": "^-?[0-9]+$"}),
        (dict[Level, int], {"type": "string", "enum": ["3", "1"]}),
        (dict[dt.date, int], {"type": "string", "format": "date"}),
        (dict[Annotated[str, Meta(max_length=3)], int], {"type": "string", "maxLength": 3}),
    ],
    ids=str,
)
def test_a_dict_says_what_its_names_must_be(schema, annotation, names):
    assert schema(annotation) == {"type": "object", "propertyNames": names, "additionalProperties": INTEGER}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Point, POINT),
        (Span, SPAN),
        (Box, {
            "type": "object",
            "properties": {"width": INTEGER, "point": POINT},
            "required": ["width"],
            "additionalProperties": False,
        }),
        (Place, {
            "type": "object",
            "properties": {"name": STRING, "country": STRING},
            "required": ["name"],
            "additionalProperties": False,
        }),
        (Query, {
            "type": "object",
            "properties": {"text": STRING, "limit": INTEGER},
            "required": ["text"],
            "additionalProperties": False,
        }),
        (Pair, {"type": "array", "prefixItems": [INTEGER, STRING], "minItems": 1, "maxItems": 2}),
        (Row, {"type": "array", "prefixItems": [STRING, INTEGER], "minItems": 1, "maxItems": 2}),
        (Renamed, {
            "type": "object",
            "properties": {"lineCount": INTEGER},
            "required": ["lineCount"],
            "additionalProperties": False,
        }),
        (list[Span], {"type": "array", "items": SPAN}),
        (dict[str, Point], {"type": "object", "additionalProperties": POINT}),
    ],
    ids=str,
)  # fmt: skip
def test_classes_are_written_out_where_they_are_used(schema, annotation, expected):
    assert schema(annotation) == expected


def test_members_of_a_tagged_union_show_their_tags(schema):
    cat, dog = schema(Cat | Dog)["anyOf"]

    assert cat["properties"]["type"] == {"type": "string", "enum": ["cat"]}
    assert dog["properties"]["type"] == {"type": "string", "enum": ["dog"]}
    assert cat["required"] == dog["required"] == ["type"]


# Bounds and texts.


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Annotated[int, doc("n", ge=1, le=9)], {"type": "integer", "description": "n", "minimum": 1, "maximum": 9}),
        (Annotated[float, doc("n", gt=0, lt=1)], {
            "type": "number", "description": "n", "exclusiveMinimum": 0, "exclusiveMaximum": 1,
        }),
        (Annotated[int, doc("n", multiple_of=5)], {"type": "integer", "description": "n", "multipleOf": 5}),
        (Annotated[str, doc("s", pattern="^a", min_length=1, max_length=3)], {
            "type": "string", "description": "s", "pattern": "^a", "minLength": 1, "maxLength": 3,
        }),
        (Annotated[list[int], doc("l", min_length=1, max_length=3)], {
            "type": "array", "description": "l", "items": INTEGER, "minItems": 1, "maxItems": 3,
        }),
        (Annotated[dict[str, int], doc("d", max_length=3)], {
            "type": "object", "description": "d", "additionalProperties": INTEGER, "maxProperties": 3,
        }),
        (Annotated[int, doc("n", examples=(1, 2))], {"type": "integer", "description": "n", "examples": [1, 2]}),
        (Annotated[Annotated[int, Meta(ge=1)], Meta(le=2, description="outer")], {
            "type": "integer", "minimum": 1, "maximum": 2, "description": "outer",
        }),
        (list[Annotated[int, Meta(ge=1)]], {"type": "array", "items": {"type": "integer", "minimum": 1}}),
    ],
    ids=str,
)  # fmt: skip
def test_bounds_and_texts(schema, annotation, expected):
    assert schema(annotation) == expected


def test_bounds_on_a_union_concern_the_members_that_they_fit(schema):
    told = schema(Annotated[int | str | None, doc("n", ge=1, examples=(1, "a")), Meta(max_length=3)])

    assert told == {
        "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "maxLength": 3}, {"type": "null"}],
        "description": "n",
        "examples": [1, "a"],
    }


# Defaults.


@pytest.mark.parametrize(
    ("annotation", "default", "shown"),
    [
        (int, 3, 3),
        (bool, False, False),
        (str, "", ""),
        (Color, Color.BLUE, "blue"),
        (Path, PurePosixPath("a/b"), "a/b"),
        (bytes, b"x", "eA=="),
        (dt.date, dt.date(2026, 1, 2), "2026-01-02"),
        (uuid.UUID, uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (tuple[int, ...], (1, 2), [1, 2]),
        (list[int], (), []),
        pytest.param(frozenset[str], frozenset("cab"), ["a", "b", "c"], id="frozenset"),
        (Point, Point(1), {"x": 1, "y": 0}),
    ],
    ids=str,
)
def test_a_default_is_shown_as_a_model_would_send_it(schema, annotation, default, shown):
    assert schema(annotation, default)["default"] == shown


def test_a_default_of_none_is_not_shown(schema):
    assert "default" not in schema(int | None, None)


def test_parameters_keep_the_order_of_the_signature_and_those_without_default_are_required():
    @tool
    def f(z: int, a: str, m: int = 3, *, k: bool, b: int | None = None) -> None:
        """Do."""

    told = msgspec.json.decode(f.parameters.schema)

    assert list(told["properties"]) == ["z", "a", "m", "k", "b"]
    assert told["required"] == ["z", "a", "k"]
    assert told["additionalProperties"] is False


def test_a_tool_without_parameters_takes_an_empty_object():
    @tool
    def f() -> None:
        """Do."""

    assert f.parameters.schema == b'{"type":"object","properties":{},"additionalProperties":false}'


# References.


class Node(msgspec.Struct):
    value: int
    children: "list[Node]" = []


class Chain(NamedTuple):
    value: int
    rest: "Chain | None" = None


class Folder(TypedDict):
    files: "list[File]"


class File(TypedDict):
    parent: NotRequired[Folder]


def whole(made) -> dict:
    return msgspec.json.decode(made.parameters.schema)


def references(schema: object) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"]] if "$ref" in schema else []
        return own + [found for value in schema.values() for found in references(value)]
    return [found for value in schema for found in references(value)] if isinstance(schema, list) else []


def test_a_class_that_is_used_twice_is_written_out_twice(made):
    told = whole(made(tuple[Point, Point, Span]))

    assert references(told) == []
    assert "$defs" not in told


def test_a_recursive_class_is_a_reference(made):
    told = whole(made(Node | None))

    assert told["properties"]["x"] == {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}
    assert told["$defs"] == {
        "Node": {
            "type": "object",
            "properties": {"value": INTEGER, "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
            "required": ["value"],
            "additionalProperties": False,
        }
    }


@pytest.mark.parametrize("annotation", [Node, Chain, Folder, File, list[Chain]], ids=str)
def test_every_reference_leads_to_a_definition(made, annotation):
    told = whole(made(annotation))

    assert references(told) != []
    assert {reference.removeprefix("#/$defs/") for reference in references(told)} == set(told["$defs"])


def test_two_recursive_classes_of_one_name_are_two_definitions(made):
    def declare(kind: type):
        class Tree(msgspec.Struct):
            value: kind
            below: "list[Tree]" = []

        Tree.__annotations__["below"] = list[Tree]
        return Tree

    told = whole(made(tuple[declare(int), declare(str)]))

    one, two = told["properties"]["x"]["prefixItems"]
    assert one != two
    definitions = [told["$defs"][item["$ref"].removeprefix("#/$defs/")] for item in (one, two)]
    assert [definition["properties"]["value"] for definition in definitions] == [INTEGER, STRING]
