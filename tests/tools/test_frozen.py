"""Frozen means frozen: nothing that a Tool, a Toolset, a Recipe or a Source is made of can be changed afterwards, and
what would be of another type than its field is refused where it is given."""

import copy
import enum

import attrs
import pytest

from gaia_core import Recipe, Tool, ToolDeclarationError, Toolset, ToolsetError, resource, tool
from gaia_core.tools import Bound, Parameters, Source


@tool(effects="read", timeout=3)
def look(path: str) -> str:
    """Look."""


@tool(effects="write")
def save(path: str) -> str:
    """Save."""


@resource(scope="process")
def store(url: str = "a", size: int = 1):
    yield url


class Word(enum.StrEnum):
    LOOK = "look"


@attrs.define
class Counter:
    """It can be changed, and its content is what it equals."""

    count: int = 0

    def __call__(self, path: str) -> str:
        """Count."""


# Made once.


def test_a_second_init_does_not_rewrite_a_toolset():
    toolset = Toolset("t", (look, save), instructions="Use {look}.", resource=store())
    twin = copy.copy(toolset)

    with pytest.raises(AttributeError, match=r"this Toolset is frozen: make another, or use attrs\.evolve"):
        toolset.__init__("u", (save,))
    with pytest.raises(AttributeError, match="this Toolset is frozen"):
        toolset._compose(toolset.members[:1])

    assert toolset == twin
    assert (toolset.names, toolset.instructions, toolset.fingerprint) == (twin.names, "Use look.", twin.fingerprint)


@pytest.mark.parametrize(
    "value",
    [look, store(), Source("s", store()), Parameters(b"{}"), Bound(look, "t")],
    ids=lambda value: type(value).__name__,
)
def test_a_second_init_does_not_rewrite_a_value(value):
    twin = copy.copy(value)
    arguments = {field.name: None for field in attrs.fields(type(value)) if field.init}

    with pytest.raises(AttributeError, match=f"this {type(value).__name__} is frozen"):
        value.__init__(**arguments)

    assert value == twin


# What they can't be.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": Word.LOOK}, "the name <Word.LOOK: 'look'> must be 1 to 64 letters"),
        ({"description": None}, "tool 'look': the description must be a str, not None"),
        ({"description": ["a"]}, "tool 'look': the description must be a str, not ['a'] (list)"),
        ({"description": Word.LOOK}, "the description must be a str, not <Word.LOOK: 'look'> (Word)"),
        ({"description": "\ud800"}, "the description must be Unicode, without half a surrogate pair, not '\\ud800'"),
        ({"parameters": b"{}"}, "tool 'look': parameters must be a Parameters, not b'{}' (bytes)"),
        ({"handler": None}, "tool 'look': handler must be callable, not None"),
        (
            {"handler": Counter()},
            "tool 'look': the handler Counter(count=0) (Counter) is not hashable; give a function",
        ),
        ({"effects": {"read"}}, "not {'read'} (set)"),
        ({"effects": frozenset({Word.LOOK})}, "tool 'look': effects must be a frozenset of 'read' or 'write' or"),
        ({"timeout": True}, "tool 'look': timeout True must be a positive number of seconds"),
        ({"timeout": 10**400}, "must be a positive number of seconds"),
        ({"exclusive": 1}, "tool 'look': exclusive must be True or False, not 1"),
        ({"idempotent": None}, "tool 'look': idempotent must be True or False, not None"),
        ({"approval": 1}, "tool 'look': approval must be True or None"),
        ({"approval": False}, "tool 'look': approval must be True or None"),
    ],
)
def test_what_a_tool_cannot_be_is_refused(change, words):
    with pytest.raises(ToolDeclarationError) as raised:
        attrs.evolve(look, **change)

    assert words in str(raised.value)


@pytest.mark.parametrize("effects", [3, True, ["read", ["write"]], [None]])
def test_what_effects_cannot_be_is_refused(effects):
    with pytest.raises(ToolDeclarationError, match=r"tool 'f': .*effect"):
        tool(name="f", effects=effects)(lambda: None)


class Loose(Tool):
    """It has a `__dict__`."""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": None}, "a toolset's name must be a str, not None"),
        ({"name": Word.LOOK}, "a toolset's name must be a str, not <Word.LOOK: 'look'> (Word)"),
        ({"tools": None}, "toolset 't': tools must be a tuple of tools, not None"),
        ({"tools": look}, "toolset 't': tools must be a tuple of tools, not Tool("),
        ({"tools": (Loose("f", "", look.parameters, print),)}, "toolset 't': Loose("),
        ({"instructions": None}, "toolset 't': instructions must be a str, not None"),
        ({"instructions": ["a"]}, "toolset 't': instructions must be a str, not ['a'] (list)"),
        ({"instructions": "\udfff"}, "toolset 't': instructions must be Unicode, without half a surrogate pair"),
        ({"resource": store}, "toolset 't': resource must be a Recipe or None, not <function "),
        ({"resource": ()}, "toolset 't': resource must be a Recipe or None, not () (tuple)"),
    ],
)
def test_what_a_toolset_cannot_be_is_refused(arguments, words):
    with pytest.raises(ToolsetError) as raised:
        Toolset(**{"name": "t", "tools": (look,), **arguments})

    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (lambda tools: tools.prefixed(3), "the prefix of tools' names must be a str, not 3"),
        (lambda tools: tools.prefixed(None), "the prefix of tools' names must be a str, not None"),
        (lambda tools: tools.renamed(look=3), "'look' can't be renamed: tool 3: the name 3 must be 1 to 64 letters"),
        (lambda tools: tools.with_instructions(["a"]), "instructions must be a str, not ['a'] (list)"),
        (lambda tools: tools.from_package(3), "Bound.package must be a str, not 3"),
    ],
)
def test_what_an_operator_cannot_take_is_refused(operation, words):
    with pytest.raises(ToolsetError) as raised:
        operation(Toolset("t", (look,)))

    assert words in str(raised.value)


def test_a_description_that_is_no_text_is_refused():
    with pytest.raises(ToolDeclarationError, match="tool 'look': the description must be a str, not 3"):
        Toolset("t", (look,)).described(look=3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("store", (), "session"), "Recipe.factory must be callable, not 'store'"),
        ((print, [("url", "a")], "session"), "Recipe.arguments must be a tuple of a tuple (str, Any), not [("),
        ((print, (["url", "a"],), "session"), "Recipe.arguments must be a tuple of a tuple (str, Any), not (["),
        ((print, ((1, "a"),), "session"), "Recipe.arguments must be a tuple of a tuple (str, Any), not ((1,"),
        ((print, (("url", ["a"]),), "session"), "resource print: argument 'url' (list) is not hashable"),
        ((print, (), "turn"), "Recipe.scope must be 'session' or 'process', not 'turn'"),
        ((print, (), None), "Recipe.scope must be 'session' or 'process', not None"),
    ],
)
def test_what_a_recipe_cannot_be_is_refused(arguments, words):
    with pytest.raises(ToolDeclarationError) as raised:
        Recipe(*arguments)

    assert words in str(raised.value)


def test_the_order_of_a_recipes_arguments_does_not_show():
    function = store().factory

    assert Recipe(function, (("url", "a"), ("size", 1)), "process") == store() == store(size=1, url="a")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": 3}, "Source.name must be a str, not 3"),
        ({"recipe": None}, "Source.recipe must be a Recipe, not None"),
        ({"command": ["server"]}, "Source.command must be a tuple of str, not ['server'] (list)"),
        ({"command": "server"}, "Source.command must be a tuple of str, not 'server'"),
        ({"settings": (("a", 1),)}, "Source.settings must be a tuple of a tuple (str, str), not (('a', 1),) (tuple)"),
    ],
)
def test_what_a_source_cannot_be_is_refused(arguments, words):
    with pytest.raises(ToolDeclarationError) as raised:
        Source(**{"name": "s", "recipe": store(), **arguments})

    assert str(raised.value) == words
