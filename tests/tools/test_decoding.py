"""Arguments: what a handler gets of a model's JSON, and what a model is told when something is wrong with it."""

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import attrs
import msgspec
import pytest

from gaia_core import ArgumentsError, Context, doc, tool
from gaia_core.nesting import MAX_NESTING
from gaia_core.tools import Parameters


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(msgspec.Struct, frozen=True):
    x: int
    y: int = 0


class Node(msgspec.Struct):
    value: int = 0
    children: "list[Node]" = []


class Cat(msgspec.Struct, tag="cat", frozen=True):
    lives: int = 9
    friend: "Cat | Dog | None" = None


class Dog(msgspec.Struct, tag="dog", frozen=True):
    tricks: tuple[str, ...] = ()
    friend: "Cat | Dog | None" = None


class Row(msgspec.Struct, array_like=True, frozen=True):
    name: str
    size: int = 0


class Place(TypedDict):
    name: str
    country: NotRequired[str]


class Pair(NamedTuple):
    a: int
    b: str = "b"


class Config(msgspec.Struct, frozen=True):
    path: Path
    ratio: float = 0.5


@dataclasses.dataclass(frozen=True)
class Span:
    start: Annotated[int, doc("First", ge=1)]
    end: int | None = None


@attrs.frozen
class Even:
    number: int = attrs.field()

    @number.validator
    def _even(self, _attribute, value):
        if value % 2:
            raise ValueError("the number must be even")


class Fragile(msgspec.Struct):
    value: int

    def __post_init__(self):
        raise KeyError(self.value)


@pytest.mark.parametrize(
    ("annotation", "sent", "expected"),
    [
        (str, '"a\\u0000ü"', "a\0ü"),
        (int, "3", 3),
        (int, str(2**70), 2**70),
        (float, "3", 3.0),
        (bool, "true", True),
        (None, "null", None),
        (Any, '{"a": [1, null]}', {"a": [1, None]}),
        (int | None, "null", None),
        (Literal["a", "b"], '"b"', "b"),
        (Color, '"blue"', Color.BLUE),
        (list[int], "[1, 2]", [1, 2]),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (set[int], "[1, 1]", {1}),
        (frozenset[str], '["a"]', frozenset({"a"})),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (dict[int, str], '{"1": "a"}', {1: "a"}),
        (dict[Color, int], '{"red": 1}', {Color.RED: 1}),
        (Point, '{"x": 1}', Point(1)),
        (Row, '["a", 2]', Row("a", 2)),
        (Place, '{"name": "Bonn"}', {"name": "Bonn"}),
        (Pair, "[1]", Pair(1)),
        (Span, '{"start": 1, "end": null}', Span(1)),
        (Even, '{"number": 2}', Even(2)),
        (Cat | Dog, '{"type": "dog", "tricks": ["sit"]}', Dog(("sit",))),
        (Config, '{"path": "a/b"}', Config(Path("a/b"))),
        (dt.datetime, '"2026-01-02T03:04:05Z"', dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
        (dt.date, '"2026-01-02"', dt.date(2026, 1, 2)),
        (dt.time, '"03:04:05"', dt.time(3, 4, 5)),
        (dt.timedelta, '"PT90S"', dt.timedelta(seconds=90)),
        (uuid.UUID, '"00000000-0000-0000-0000-000000000001"', uuid.UUID(int=1)),
        (decimal.Decimal, '"1.10"', decimal.Decimal("1.10")),
        (Path, '"a/b"', Path("a/b")),
        (bytes, '"eA=="', b"x"),
    ],
    ids=str,
)
def test_what_fits_arrives_in_its_type(decoded, annotation, sent, expected):
    value = decoded(annotation, sent)

    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "sent", "expected"),
    [
        (int, '"3"', 3),
        (int, "3.0", 3),
        (float, '"0.5"', 0.5),
        (bool, '"true"', True),
        (bool, "0", False),
        (int | None, '"3"', 3),
        (int | None, '"null"', None),
        (list[int], '["1", 2]', [1, 2]),
        (list[str], '"[\\"a\\"]"', ["a"]),
        (list[int], '"[1, \\"2\\"]"', [1, 2]),
        (dict[str, int], '"{\\"a\\": 1}"', {"a": 1}),
        (list[str] | str, '"[\\"a\\"]"', '["a"]'),
        (Point, '"{\\"x\\": 1}"', Point(1)),
        (Point, '{"x": "1"}', Point(1)),
        (int | str, '"3"', "3"),
        (float | str, '"nan"', "nan"),
        (str | None, '"null"', "null"),
        (Annotated[int, doc("n", ge=1)], '"3"', 3),
    ],
    ids=str,
)
def test_what_small_models_send_is_read_where_only_one_reading_fits(decoded, annotation, sent, expected):
    value = decoded(annotation, sent)

    assert value == expected
    assert type(value) is type(expected)


def test_defaults_fill_what_was_left_out():
    @tool
    def f(a: int, b: int = 2, c: Color = Color.RED) -> None:
        """Do."""

    assert msgspec.structs.asdict(f.parameters.decode("f", '{"a": 1}')) == {"a": 1, "b": 2, "c": Color.RED}


def test_no_text_at_all_is_an_empty_object():
    @tool
    def f(a: int = 1) -> None:
        """Do."""

    @tool
    def g(a: int) -> None:
        """Do."""

    assert f.parameters.decode("f", "").a == 1
    assert f.parameters.decode("f", b"").a == 1
    with pytest.raises(ArgumentsError, match="- a: required, but missing"):
        g.parameters.decode("g", "")


@pytest.mark.parametrize(
    ("annotation", "sent", "told"),
    [
        (int, '"three"', 'x: expected an integer, got "three"'),
        (int, "1.5", "x: expected an integer, got 1.5"),
        (int, "true", "x: expected an integer, got true"),
        (str, "3", "x: expected a string, got 3"),
        (bool, '"yes"', 'x: expected a boolean, got "yes"'),
        (int | None, '"three"', 'x: expected an integer or null, got "three"'),
        (float | list[int], "{}", "x: expected a number or an array, got {}"),
        (Literal["b", "a"], '"c"', 'x: "c" is not one of the allowed values: "b", "a"'),
        (Literal["b"] | None, "3", 'x: 3 is not one of the allowed values: "b", null'),
        (Color, '"green"', 'x: "green" is not one of the allowed values: "red", "blue"'),
        (Annotated[int, doc("n", ge=1)], "0", "x: expected an integer >= 1, got 0"),
        (Annotated[str, doc("s", max_length=2)], '"abc"', 'x: expected a string of length <= 2, got "abc"'),
        (tuple[int, str], "[1]", "x: expected an array of length 2, got [1]"),
        (dict[int, int], '{"a": 1}', 'x: as a name, expected an integer, got "a"'),
        (dict[str, int], '{"a": "b"}', 'x.a: expected an integer, got "b"'),
        (Point, "[1]", "x: expected an object, got [1]"),
        (Point, "{}", "x.x: required, but missing"),
        (Point, '{"x": 1, "z": 2}', 'x: unknown name "z"; the names are x, y'),
        (
            Config,
            '{"path": "a", "rato": 1}',
            "x: unknown name \"rato\"; did you mean 'ratio'? the names are path, ratio",
        ),
        (Config | None, '{"path": "a", "q": 1}', 'x: unknown name "q"; the names are path, ratio'),
        (list[Point], '[{"x": 1}, {"x": 1, "q": 2}]', 'x[1]: unknown name "q"; the names are x, y'),
        (dict[str, Point], '{"k": {"x": 1, "q": 2}}', 'x.k: unknown name "q"; the names are x, y'),
        (
            Node,
            '{"children": [{"children": [{"q": 1}]}]}',
            'x.children[0].children[0]: unknown name "q"; the names are value, children',
        ),
        (Place, '{"name": "a", "q": 1}', 'x: unknown name "q"; the names are name, country'),
        (Row, '["a", 1, 2]', "x: expected an array of at most 2 items, got 3"),
        (Pair, '["q"]', 'x[0]: expected an integer, got "q"'),
        (Row, "[3]", "x[0]: expected a string, got 3"),
        (Even, '{"number": 3}', 'x: the number must be even, got {"number":3}'),
        (Fragile, '{"value": 3}', 'x: not taken (KeyError), got {"value":3}'),
        (set[Any], "[[1]]", "x: expected single values in a set, no arrays or objects, got [[1]]"),
        (dt.date, '"2026-13-01"', 'x: invalid RFC3339 encoded date, got "2026-13-01"'),
        (dt.timedelta, "1e300", "x: duration is out of range, got 1e300"),
        (uuid.UUID, '"q"', 'x: invalid UUID, got "q"'),
        (bytes, '"***"', 'x: invalid base64 encoded string, got "***"'),
        (Path, '"a\\u0000"', 'x: a path holds no NUL, got "a\\u0000"'),
        (Path, "3", "x: expected a string, got 3"),
        (str, "1" * 100, f"x: expected a string, got {'1' * 60}…"),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_place_and_what_is_allowed(problems, annotation, sent, told):
    assert problems(annotation, sent) == (told,)


def test_every_problem_is_told_at_once():
    @tool
    def f(
        path: str,
        color: Color,
        points: list[Point],
        limit: Annotated[int, doc("n", ge=1, le=9)] = 1,
        place: Place | None = None,
    ) -> None:
        """Do."""

    sent = '{"colr": 1, "color": "green", "points": [{"x": "a"}, {"y": 1}], "limit": 10, "place": {"name": 1}}'

    with pytest.raises(ArgumentsError) as raised:
        f.parameters.decode("f", sent)

    assert raised.value.tool == "f"
    assert str(raised.value).splitlines() == [
        "The arguments of f are not valid:",
        "- unknown name \"colr\"; did you mean 'color'? the names are path, color, points, limit, place",
        "- path: required, but missing",
        '- color: "green" is not one of the allowed values: "red", "blue"',
        '- points[0].x: expected an integer, got "a"',
        "- points[1].x: required, but missing",
        "- limit: expected an integer <= 9, got 10",
        "- place.name: expected a string, got 1",
    ]


def test_a_tagged_union_is_judged_by_the_tag_that_was_sent(problems):
    union = Cat | Dog

    assert problems(union, '{"type": "dog", "tricks": 3}') == ("x.tricks: expected an array, got 3",)
    assert problems(union, '{"type": "cow"}') == ('x.type: "cow" is not one of the allowed values: "cat", "dog"',)
    assert problems(union, "{}") == ('x.type: required, but missing; the allowed values are "cat", "dog"',)


def test_problems_in_a_deep_tagged_union_take_no_time(problems):
    """Looking at every member at every level would take 2^60 steps."""
    sent = '{"type":"cat","friend":' * 60 + '{"type":"cow"}' + "}" * 60

    assert problems(Cat | Dog, sent) == (
        f'x{".friend" * 60}.type: "cow" is not one of the allowed values: "cat", "dog"',
    )  # fmt: skip


@pytest.mark.parametrize("sent", ["[1]", "3", "null", '"x"', "true"])
def test_something_else_than_an_object_is_told_so(made, sent):
    with pytest.raises(ArgumentsError, match="- arguments: expected an object with x, got "):
        made(int).parameters.decode("f", sent)


# Numbers that are none, and text that no JSON is.


@pytest.mark.parametrize(
    "annotation", [float, float | None, list[float], dict[str, float], decimal.Decimal, Any], ids=str
)
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_no_number_is_endless_or_none(made, annotation, number):
    for sent in (number, f"[{number}]", f'{{"k": {number}}}'):
        with pytest.raises(ArgumentsError):
            made(annotation).parameters.decode("f", f'{{"x": {sent}}}')


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-inf", "Infinity"])
def test_a_text_is_not_read_as_a_number_that_is_none(problems, text):
    assert problems(float, f'"{text}"') == (f'x: expected a finite number, got "{text}"',)
    assert problems(decimal.Decimal, f'"{text}"') == (f'x: expected a finite number, got "{text}"',)
    assert problems(list[float], f'[1, "{text}"]') == (f'x[1]: expected a finite number, got "{text}"',)
    assert problems(float | None, f'"{text}"') == (f'x: expected a finite number, got "{text}"',)
    assert problems(Config, f'{{"path": "a", "ratio": "{text}"}}') == (
        f'x.ratio: expected a finite number, got "{text}"',
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "{", "{]", '{"x": 1} 2', '{"x": 1,}', "{'x': 1}", '{"x": "\0"}', '{"x": "\ud800"}', '{"x": "\\ud800"}',
        '{"\\ud800": 1}', b'{"x": "\xff"}', b"\xff\xfe", '{"x": ' + "9" * 5000 + "}", '{"x": "' + "9" * 5000 + '"}',
        '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}", '{"x": ' + "[" * 100_000,
        '{"x": ' + '{"children": [' * 63 + '{"value": "a"}' + "]}" * 63 + "}",
        '{"x": ' + '{"children": [' * 63 + '{"q": 1}' + "]}" * 63 + "}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("annotation", [int, Node, list[Node], Node | int], ids=str)
def test_whatever_is_sent_only_one_error_is_raised(made, annotation, arguments):
    with pytest.raises(ArgumentsError):
        made(annotation).parameters.decode("f", arguments)


def nodes(levels: int) -> str:
    """A value for a Node; its deepest node is at *levels*, an odd number."""
    return '{"children": [' * (levels // 2) + "{}" + "]}" * (levels // 2)


def test_deep_values_that_fit_are_taken(decoded):
    node = decoded(Node, nodes(MAX_NESTING - 1))

    depth = 0
    while node.children:
        (node,), depth = node.children, depth + 1
    assert depth == MAX_NESTING // 2 - 1


@pytest.mark.parametrize("annotation", [Any, Node, Node | None, dict[str, Any], int], ids=str)
@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 100_001])
def test_deeper_values_are_refused_whatever_is_expected(made, annotation, levels):
    with pytest.raises(ArgumentsError) as raised:
        made(annotation).parameters.decode("f", f'{{"x": {nodes(levels)}}}')

    (problem,) = raised.value.problems
    assert problem == "arguments: nested deeper than 128 levels, in x.children[0].children; make them flatter"


class Link(msgspec.Struct):
    """Each level is a union, which takes the most of Python's stack."""

    value: int = 0
    next: "Link | None" = None


@pytest.mark.parametrize(
    ("annotation", "begin", "wrong", "end"),
    [
        (Link, '{"next": ', '{"value": "a"}', "}"),
        (Node, '{"children": [', '{"value": "a"}', "]}"),
        (Cat | Dog, '{"type": "cat", "friend": ', '{"type": "cow"}', "}"),
    ],
)
def test_the_deepest_problem_is_found_on_any_stack(made, on_a_full_stack, annotation, begin, wrong, end):
    times = (MAX_NESTING - 2) // (begin.count("[") + 1)
    sent = f'{{"x": {begin * times}{wrong}{end * times}}}'
    parameters = made(annotation).parameters

    with pytest.raises(ArgumentsError) as raised:
        on_a_full_stack(lambda: parameters.decode("f", sent))

    (problem,) = raised.value.problems
    assert problem.startswith("x.")
    assert problem.split(": ", 1)[1].startswith(("expected an integer", '"cow" is not one of'))


# Schemas that come from elsewhere.


def test_without_a_decoder_any_object_is_taken_as_it_is():
    foreign = Parameters(b'{"type":"object"}')

    assert foreign.decode("f", '{"a": [1]}') == {"a": [1]}
    assert foreign.decode("f", "") == {}
    for sent in ("[1]", "{", '{"a": NaN}', "\ud800"):
        with pytest.raises(ArgumentsError, match="not a valid JSON object"):
            foreign.decode("f", sent)


@pytest.mark.parametrize(("levels", "fits"), [(MAX_NESTING, True), (MAX_NESTING + 1, False), (100_000, False)])
def test_without_a_decoder_arguments_are_not_nested_too_deep_either(levels, fits):
    foreign = Parameters(b'{"type":"object"}')
    sent = '{"a":' * levels + "1" + "}" * levels

    if fits:
        assert msgspec.json.encode(foreign.decode("f", sent)).decode() == sent
    else:
        with pytest.raises(ArgumentsError, match=r"nested deeper than 128 levels, in a\.a\.a\.a"):
            foreign.decode("f", sent)


def test_the_context_is_not_taken_from_a_model():
    @tool
    def f(ctx: Context[str], x: int = 1) -> None:
        """Do."""

    with pytest.raises(ArgumentsError, match='unknown name "ctx"; the names are x'):
        f.parameters.decode("f", '{"ctx": "mine"}')
