"""What a server lists → a toolset: only names that no endpoint takes are changed, and nothing bad gets in."""

from contextlib import suppress

import mcp_types
import msgspec
import pytest

from gaia_core import Agent, ArgumentsError
from gaia_core.nesting import MAX_NESTING
from gaia_mcp._listed_tools import toolset_of
from gaia_mcp._server_config import McpServerConfig
from gaia_mcp._toolset_factory import recipe_of
from tests.effort import calls_made

SERVER = McpServerConfig(name="srv", command=("srv",))
SCHEMA = {
    "type": "object",
    "properties": {"b": {"type": "string", "enum": ["x", "y"]}, "a": {"$ref": "#/$defs/A"}},
    "required": ["b"],
    "$defs": {"A": {"type": "integer", "minimum": 1}},
    "x-vendor": {"kept": True},
}


def listed(name="t", schema=SCHEMA, description="It does.", **hints):
    annotations = mcp_types.ToolAnnotations(**hints) if hints else None
    return mcp_types.Tool(name=name, description=description, input_schema=schema, annotations=annotations)


def test_a_schema_passes_through_unchanged_in_its_own_order():
    (tool,) = toolset_of(SERVER, recipe_of(SERVER), [listed()]).toolset

    assert tool.parameters.schema == msgspec.json.encode(SCHEMA)
    assert tool.description == "It does."


def test_equal_listings_are_equal_toolsets():
    one, two = (toolset_of(SERVER, recipe_of(SERVER), [listed("b"), listed("a")], instructions="Do.") for _ in range(2))

    assert one == two
    assert one.toolset.fingerprint == two.toolset.fingerprint
    assert Agent("a", tools=one.toolset).fingerprint == Agent("a", tools=two.toolset).fingerprint


@pytest.mark.parametrize(
    ("hints", "effects"),
    [
        ({}, {"read", "write", "network", "execute"}),
        ({"title": "T"}, {"read", "write", "network", "execute"}),
        ({"read_only_hint": True}, {"read", "network"}),
        ({"read_only_hint": True, "open_world_hint": False}, {"read"}),
        ({"destructive_hint": False}, {"read", "write", "network"}),
        ({"open_world_hint": False}, {"read", "write", "execute"}),
    ],
)
def test_hints_are_effects_and_none_means_the_worst(hints, effects):
    (tool,) = toolset_of(SERVER, recipe_of(SERVER), [listed(**hints)]).toolset

    assert tool.effects == effects


def test_the_operators_effects_go_before_the_servers_hints():
    server = McpServerConfig(name="srv", command=("srv",), effects=frozenset({"network"}))
    (tool,) = toolset_of(server, recipe_of(server), [listed(read_only_hint=True)]).toolset

    assert tool.effects == {"network"}


def test_only_what_says_so_is_idempotent():
    toolset = toolset_of(
        SERVER, recipe_of(SERVER), [listed("a"), listed("b", idempotent_hint=True), listed("c", read_only_hint=True)]
    )

    assert [tool.idempotent for tool in toolset.toolset] == [False, True, True]


def test_instructions_may_hold_braces():
    assert (
        toolset_of(SERVER, recipe_of(SERVER), [listed()], instructions="Use {t} or {}.").toolset.instructions
        == "Use {t} or {}."
    )


def test_resources_and_prompts_are_tools_that_read():
    toolset = toolset_of(SERVER, recipe_of(SERVER), [], resources=True, prompts=True).toolset

    assert toolset.names == ("srv_prompt", "srv_resource")
    assert toolset.effects == {"read", "network"}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "must be of the type 'object', not 'string'"),
        ({"type": ["array", "null"]}, "must be of the type 'object', not \"['array', 'null']\""),
        ({"type": "object", "properties": {"a": {"type": "banana"}}}, 'is no JSON schema: "banana" is not valid'),
        ({"type": "object", "properties": []}, "is no JSON schema"),
        ({"type": "object", "description": "x" * 70_000}, "has 70034 bytes; at most 65536 are taken"),
    ],
)
def test_a_bad_schema_leaves_out_its_own_tool_only(schema, words):
    found = toolset_of(SERVER, recipe_of(SERVER), [listed("bad", schema), listed("good")])

    assert found.toolset.names == ("good",)
    assert found.problems[0].startswith("the tool 'bad' is left out: ")
    assert words in found.problems[0]


def schema_of(levels):
    """An object's schema in the form that takes the most of Python's stack to walk."""
    inner = {}
    for _ in range(levels - 3):
        inner = {"items": inner}
    return {"type": "object", "properties": {"a": inner}}


@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 1_000, 100_000])
def test_a_schema_that_is_nested_too_deep_leaves_out_its_own_tool_only(levels):
    found = toolset_of(
        SERVER, recipe_of(SERVER), [listed("deep", schema_of(levels)), listed("taken", schema_of(MAX_NESTING))]
    )

    assert found.toolset.names == ("taken",)
    assert found.problems[0].startswith("the tool 'deep' is left out: its schema is nested deeper than 128 levels")


def test_arguments_are_held_against_the_deepest_schema():
    (tool,) = toolset_of(SERVER, recipe_of(SERVER), [listed(schema=schema_of(MAX_NESTING))]).toolset
    sent = msgspec.json.encode({"a": msgspec.Raw(b"[" * (MAX_NESTING - 1) + b"]" * (MAX_NESTING - 1))})

    assert msgspec.json.encode(tool.parameters.decode("t", sent)) == sent
    with pytest.raises(ArgumentsError, match="nested deeper than 128 levels"):
        tool.parameters.decode("t", b'{"a":' + b"[" * MAX_NESTING + b"]" * MAX_NESTING + b"}")


@pytest.mark.parametrize("named", ["http://json-schema.org/draft-07/schema#", "urn:a:strangers"])
def test_a_schema_may_name_any_draft(named):
    assert toolset_of(SERVER, recipe_of(SERVER), [listed(schema={**SCHEMA, "$schema": named})]).problems == ()


def test_names_are_made_fit_and_two_that_become_one_are_told_apart():
    found = toolset_of(SERVER, recipe_of(SERVER), [listed("a.b"), listed("a/b"), listed("x" * 80)])

    assert found.toolset.names == ("a_b", "x" * 64)
    assert found.problems == ("the tool 'a/b' is left out: another one is called 'a_b' here",)
    assert found.toolset["a_b"].handler.name == "a.b"


def test_arguments_are_validated_before_anything_runs():
    (tool,) = toolset_of(SERVER, recipe_of(SERVER), [listed()]).toolset

    assert tool.parameters.decode("t", '{"b": "x", "a": 2}') == {"b": "x", "a": 2}
    with pytest.raises(ArgumentsError) as refused:
        tool.parameters.decode("t", '{"b": "z", "a": 0}')
    assert sorted(refused.value.problems) == [
        "a: 0 is less than the minimum of 1",
        'b: "z" is not one of "x" or "y"',
    ]


@pytest.mark.parametrize(
    "properties",
    [
        {"a": {"type": "string", "pattern": "^(?=(a+)+$)b"}},
        {"a": {"$ref": "#/$defs/none"}},
        {"a": {"$ref": "http://127.0.0.1:9/schema"}},
        {"a": {"$ref": "#/properties/a"}},
    ],
)
def test_a_strangers_schema_costs_no_time_and_reaches_nothing(properties):
    (tool,) = toolset_of(
        SERVER, recipe_of(SERVER), [listed(schema={"type": "object", "properties": properties})]
    ).toolset
    arguments = msgspec.json.encode({"a": "a" * 40 + "!"})

    assert tool.parameters.decode("t", arguments) == {"a": "a" * 40 + "!"}


def test_a_pattern_is_held_against_a_text_in_linear_time():
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    (tool,) = toolset_of(SERVER, recipe_of(SERVER), [listed(schema=schema)]).toolset
    with pytest.raises(ArgumentsError, match="a: "):
        tool.parameters.decode("t", msgspec.json.encode({"a": "a" * 10_000 + "!"}))


@pytest.mark.parametrize("doublings", [16, 100])
def test_a_schema_that_doubles_costs_no_time(doublings):
    """16 doublings took 10 s of the event loop for each call, whose arguments fit none of them."""
    definitions = {
        f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}]}]}
        for n in range(doublings)
    }
    definitions[f"d{doublings}"] = {"type": "integer"}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": definitions}
    (tool,) = toolset_of(SERVER, recipe_of(SERVER), [listed(schema=schema)]).toolset

    def decode():
        with suppress(ArgumentsError):
            tool.parameters.decode("t", b'{"a": "x"}')

    assert calls_made(decode) < 100_000


@pytest.mark.parametrize(
    ("schema", "sent", "taken"),
    [
        ({"type": "integer"}, "5", 5),
        ({"type": "number"}, "5", 5),
        ({"type": "number"}, "-2.5", -2.5),
        ({"type": "integer"}, "5.0", 5),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "False", False),
        ({"type": "array", "items": {"type": "string"}}, '["a"]', ["a"]),
        ({"type": "array", "items": {"type": "integer"}}, ["1", 2], [1, 2]),
        ({"type": "array", "items": {"type": "integer"}}, '["1"]', [1]),
        ({"type": "object", "properties": {"n": {"type": "integer"}}}, '{"n": "3"}', {"n": 3}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "7", 7),
        ({"type": ["integer", "null"]}, "null", None),
        ({"$ref": "#/$defs/A"}, "4", 4),
        ({"enum": [1, 2]}, "2", 2),
        ({"type": "string"}, "5", "5"),
        ({"type": ["string", "integer"]}, "5", "5"),
        ({}, "5", "5"),
    ],
)
def test_a_text_is_taken_for_the_value_that_it_holds(schema, sent, taken):
    whole = {"type": "object", "properties": {"v": schema}, "$defs": {"A": {"type": "integer", "minimum": 1}}}
    (tool,) = toolset_of(SERVER, recipe_of(SERVER), [listed(schema=whole)]).toolset
    got = tool.parameters.decode("t", msgspec.json.encode({"v": sent}))["v"]
    assert (got, type(got) is float) == (taken, isinstance(taken, float) or sent == "5.0")


def test_a_schema_that_says_nothing_is_an_object_without_properties():
    """A model server refuses a function whose object has none named (source: OpenAI's function calling)."""
    (tool,) = toolset_of(SERVER, recipe_of(SERVER), [listed(schema={})]).toolset
    assert msgspec.json.decode(tool.definition.parameters) == {"type": "object", "properties": {}}


def test_a_text_stays_one_where_text_is_taken_though_another_is_replaced():
    whole = {"type": "object", "properties": {"v": {"type": ["string", "integer"]}, "w": {"type": "integer"}}}
    (tool,) = toolset_of(SERVER, recipe_of(SERVER), [listed(schema=whole)]).toolset
    assert tool.parameters.decode("t", b'{"v": "5", "w": "7"}') == {"v": "5", "w": 7}


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        ({"type": "integer"}, "five"),
        ({"type": "integer"}, "5.5"),
        ({"type": "integer", "minimum": 6}, "5"),
        ({"type": "boolean"}, "yes"),
        ({"type": "array", "items": {"type": "integer"}}, '["a"]'),
        ({"type": "array"}, "a, b"),
        ({"type": "integer"}, "[" * 10_000),
    ],
)
def test_a_text_that_does_not_hold_such_a_value_is_refused(schema, sent):
    whole = {"type": "object", "properties": {"v": schema}}
    (tool,) = toolset_of(SERVER, recipe_of(SERVER), [listed(schema=whole)]).toolset
    with pytest.raises(ArgumentsError):
        tool.parameters.decode("t", msgspec.json.encode({"v": sent}))
