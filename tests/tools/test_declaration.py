"""`@tool` makes a frozen value of a function, registers nothing, and refuses what it doesn't know."""

import asyncio
import functools
import gc
import weakref
from typing import Annotated

import attrs
import msgspec
import pytest
from msgspec import Meta

from gaia_core import Context, Tool, ToolDeclarationError, Toolset, doc, tool
from gaia_core.nesting import MAX_NESTING
from gaia_core.tools import Parameters


@tool(effects="read", timeout=10, idempotent=True)
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@tool
async def later(ctx: Context[str], text: str) -> str:
    """Say it."""
    return f"{ctx.resource} {text}"


def test_a_decorated_function_is_a_frozen_value():
    assert isinstance(add, Tool)
    assert (add.name, add.description, add.effects, add.timeout) == ("add", "Add two numbers.", {"read"}, 10)
    assert (add.exclusive, add.idempotent, add.approval) == (False, True, None)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        add.name = "other"
    assert hash(add) == hash(add)


def test_a_tool_is_still_called_like_its_function():
    assert add(1, 2) == 3
    assert add(a=4) == 5
    assert asyncio.run(later(Context("I say"), text="hello")) == "I say hello"


def test_a_tool_knows_whether_it_is_async():
    class Callable:
        async def __call__(self, x: int) -> int:
            """Call."""

    assert not add.is_async
    assert later.is_async
    assert tool(name="callable")(Callable()).is_async


def test_making_a_tool_registers_nothing():
    def make() -> weakref.ref:
        @tool
        def forgotten(x: int) -> int:
            """Forget."""

        return weakref.ref(forgotten.handler)

    made = make()
    gc.collect()

    assert made() is None, "something still holds the tool's function"


def test_what_is_not_declared_has_every_effect():
    @tool
    def f() -> None:
        """Do."""

    assert f.effects == {"read", "write", "network", "execute"}


@pytest.mark.parametrize("effects", ["read", ("read",), ["read"], {"read"}, frozenset({"read"})])
def test_effects_are_one_or_several_names(effects):
    assert tool(name="f", effects=effects)(lambda: None).effects == frozenset({"read"})


def test_a_tool_without_effects_is_possible():
    assert tool(name="f", effects=())(lambda: None).effects == frozenset()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tiemout": 3}, "unknown option 'tiemout'. Did you mean 'timeout'?"),
        ({"retries": 3}, "unknown option 'retries'. Options are name, description, effects"),
        ({"effects": "raed"}, "tool 'f': unknown effect 'raed'. Did you mean 'read'? Effects are read, write"),
        ({"effects": ("read", 3)}, "tool 'f': unknown effect 3"),
        ({"timeout": 0}, "tool 'f': timeout 0 must be a positive number of seconds"),
        ({"timeout": float("nan")}, "timeout nan must be"),
        ({"timeout": "10"}, "timeout '10' must be"),
        ({"approval": False}, "approval must be True or None; only an agent's policy can waive it"),
        ({"name": "a b"}, "the name 'a b' must be 1 to 64 letters, digits, '_' or '-'"),
        ({"name": ""}, "the name '' must be 1 to 64"),
        ({"name": "x" * 65}, "must be 1 to 64"),
        ({"name": "tool\n"}, "must be 1 to 64"),
        ({"name": "größe"}, "must be 1 to 64"),
    ],
)
def test_what_is_not_known_is_an_error_that_names_it(options, words):
    def f(x: int) -> int:
        """Do."""

    with pytest.raises(ToolDeclarationError) as raised:
        tool(**options)(f)

    assert words in str(raised.value)


def test_something_that_is_no_function_is_refused():
    with pytest.raises(ToolDeclarationError, match="expected a function, got 3"):
        tool(3)
    with pytest.raises(ToolDeclarationError, match="has no name; give name="):
        tool(functools.partial(print, "x"))


def test_a_generator_is_refused():
    def generator(x: int):
        yield x

    async def async_generator(x: int):
        yield x

    for function in (generator, async_generator):
        with pytest.raises(ToolDeclarationError, match=r"a generator has no result.*`return`.*ctx\.progress"):
            tool(function)


def test_a_tool_made_by_hand_has_a_frozen_set_of_known_effects():
    for effects in ({"read"}, "read", frozenset({"raed"})):
        with pytest.raises(ToolDeclarationError, match=r"tool 'add': effects must be a frozenset of 'read' or 'write'"):
            attrs.evolve(add, effects=effects)


# The description, and the texts of parameters.


def texts(made: Tool) -> dict[str, str | None]:
    properties = msgspec.json.decode(made.parameters.schema)["properties"]
    return {name: schema.get("description") for name, schema in properties.items()}


def test_a_parameter_is_described_by_doc_or_meta_or_the_docstring_in_this_order():
    @tool
    def f(a: Annotated[int, doc("from doc")], b: Annotated[int, Meta(description="from Meta")], c: int, d: int) -> int:
        """Do something
        on two lines.

        Args:
            a: from the docstring
            c: from the docstring,
                on two lines
        """

    assert f.description == "Do something\non two lines."
    assert texts(f) == {"a": "from doc", "b": "from Meta", "c": "from the docstring, on two lines", "d": None}


def test_docstrings_of_other_styles_are_read():
    def numpy(a: int) -> int:
        """Do.

        Parameters
        ----------
        a : int
            The number.
        """

    def sphinx(a: int) -> int:
        """Do.

        :param a: The number.
        :returns: it
        """

    for function in (numpy, sphinx):
        assert tool(function).description == "Do."
        assert texts(tool(function)) == {"a": "The number."}


def test_prose_that_begins_like_a_section_stays():
    @tool
    def f(a: int) -> int:
        """Add.

        Returns the sum, always. Parameters may be large.
        """

    assert f.description == "Add.\n\nReturns the sum, always. Parameters may be large."


def test_a_given_description_replaces_the_docstring():
    @tool(description="Given.")
    def f(a: int) -> int:
        """Do.

        Args:
            a: The number.
        """

    assert f.description == "Given."
    assert texts(f) == {"a": "The number."}


def test_a_docstring_that_describes_no_parameter_of_the_function_is_refused():
    def f(path: str) -> str:
        """Read.

        Args:
            pth: Where.
        """

    with pytest.raises(ToolDeclarationError, match="tool f: parameter 'pth' is described in the docstring and is not"):
        tool(f)


# The context.


def test_the_context_is_not_told_to_a_model():
    assert later.parameters.context == "ctx"
    assert list(texts(later)) == ["text"]
    assert add.parameters.context is None


def test_the_context_may_stand_anywhere_and_be_bare():
    @tool
    def f(text: str, context: Context) -> str:
        """Do."""

    assert f.parameters.context == "context"


def test_a_second_context_is_refused():
    def f(a: Context[int], b: Context[int]) -> None:
        """Do."""

    with pytest.raises(ToolDeclarationError, match="tool f: parameter 'b' is a second Context; a tool takes one"):
        tool(f)


# Equality.


def test_tools_of_equal_content_are_equal():
    def f(a: int) -> int:
        """Do."""

    one, two = tool(effects=("read", "write"))(f), tool(effects=["write", "read"])(f)

    assert one == two
    assert hash(one) == hash(two)
    assert Toolset("t", (one,)) == Toolset("t", (two,))


def test_tools_of_different_functions_differ_even_when_a_model_sees_the_same():
    def make() -> Tool:
        @tool
        def f(a: int) -> int:
            """Do."""

        return f

    one, two = make(), make()

    assert one.definition == two.definition
    assert one != two


def test_wrapped_functions_methods_and_local_types_are_read():
    class Size(msgspec.Struct, frozen=True):
        width: int

    def wrap(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

        return wrapper

    class Shop:
        def sell(self, size: Size) -> Size:
            """Sell."""
            return size

    @tool
    @wrap
    def f(size: Size) -> "Unknown":  # noqa: F821  # what it returns is not told, and may be unknown
        """Do."""
        return size

    for made in (f, tool(Shop().sell)):
        (size,) = msgspec.structs.astuple(made.parameters.decode("f", '{"size": {"width": 3}}'))
        assert size == Size(3)
        assert made(size) == size


@pytest.mark.parametrize("levels", [MAX_NESTING, MAX_NESTING + 1, 100_000])
def test_a_schema_from_elsewhere_may_be_nested_up_to_the_limit(levels):
    schema = b'{"items":' * levels + b"true" + b"}" * levels
    if levels == MAX_NESTING:
        assert Tool("f", "", Parameters(schema), print).parameters.schema == schema
    else:
        with pytest.raises(ToolDeclarationError, match="tool 'f': its parameters' schema is nested deeper"):
            Tool("f", "", Parameters(schema), print)
