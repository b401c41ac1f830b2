"""What a newcomer writes at first: each mistake is an error that says what to write instead."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from gaia_core import (
    Agent,
    Catalog,
    ClosedError,
    ConfigError,
    Context,
    GaiaError,
    Runtime,
    ScriptedModel,
    Tool,
    ToolCollisionError,
    ToolDeclarationError,
    Toolset,
    ToolsetError,
    load_catalog,
    resource,
    run,
    scripted,
    tool,
)


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@resource()
def texts() -> Iterator[str]:
    yield "text"


@resource()
async def anything(value: int = 1) -> AsyncIterator[Any]:
    yield value


@tool
def double(ctx: Context[int]) -> int:
    """Double the number."""
    return 2 * ctx.resource


def bare_resource() -> object:
    @resource
    def database() -> Iterator[str]:
        yield "db"

    return database


def tool_without_a_docstring() -> object:
    @tool
    def read(path: str) -> str:
        return path

    return read


def list_as_a_default() -> object:
    @tool
    def read(paths: list[str] = []) -> str:  # noqa: B006
        """Read."""

    return read


def generator() -> object:
    @tool
    def lines(path: str) -> Iterator[str]:
        """Read."""
        yield path

    return lines


def method() -> object:
    class Files:
        @tool
        def read(self, path: str) -> str:
            """Read."""

    return Files


def other_add() -> Tool:
    return attrs.evolve(add, description="Another.")


AGENT = Agent("helper", tools=Toolset("t", (add,)))
MISTAKES = {
    "a list for a scripted model": (
        lambda: ScriptedModel(["Hi", "Bye"]),
        ConfigError,
        r"takes a function of the request, not \['Hi', 'Bye'\] \(list\); write scripted\('Hi', 'Bye'\)",
    ),
    "a list for scripted": (lambda: scripted(["Hi", "Bye"]), ConfigError, r"write scripted\('Hi', 'Bye'\)"),
    "a function without the request": (lambda: ScriptedModel(lambda: "Hi"), ConfigError, "write lambda request: …"),
    "one tool for a tuple": (
        lambda: Toolset("t", add),
        ToolsetError,
        r"write Toolset\('t', \(add,\)\), with the comma",
    ),
    "a toolset without a name": (lambda: Toolset((add,)), ToolsetError, r"write Toolset\('name', \(tool, …\)\)"),
    "a function that is no tool": (lambda: Toolset("t", (len,)), ToolsetError, "decorate the function with @tool"),
    "a tool united with a toolset": (lambda: Toolset("t") | add, ToolsetError, r"write \| Toolset\('name', \(add,\)\)"),
    "a bare @resource": (bare_resource, ToolDeclarationError, r"write @resource\(\) or .*, above database"),
    "a resource that is not called": (
        lambda: Toolset("t", (add,), resource=texts),
        ToolsetError,
        r"@resource\(\), and call it: resource=texts\(…\)",
    ),
    "a tool without a docstring": (
        tool_without_a_docstring,
        ToolDeclarationError,
        r"tool read: has no docstring.*first line of the function, or @tool\(description=\"…\"\)",
    ),
    "a list as a default": (list_as_a_default, ToolDeclarationError, r"mutable default \[\]; write paths: tuple"),
    "a generator": (generator, ToolDeclarationError, r"tool lines: a generator .*one `return` of the whole"),
    "a method": (method, ToolDeclarationError, r"parameter 'self' .*not a method; .*as its resource"),
    "a name for @tool": (lambda: tool("add"), ToolDeclarationError, r"write @tool above `def`, .*@tool\(name=…\)"),
    "a context of another resource": (
        lambda: Toolset("t", (double,), resource=texts()),
        ToolsetError,
        r"double takes a Context\[int\], and the resource texts yields str; .*write Context\[str\]",
    ),
    "a context without a resource": (
        lambda: Toolset("t", (double,)),
        ToolsetError,
        r"double takes a Context\[int\], and the toolset has no resource; write Toolset\(…, resource=…\)",
    ),
    "an unknown model": (
        lambda: Catalog.of(Agent("a", model="locl"), models={"local": scripted()}),
        ConfigError,
        r"there is no model 'locl'. Did you mean 'local'\? Models: local",
    ),
    "a model without a name": (
        lambda: Catalog.of(AGENT, models=scripted()),
        ConfigError,
        r"write models=\{\"local\": model\}",
    ),
    "something that is no model": (lambda: Catalog.of(AGENT, models={"local": 3}), ConfigError, "3 is no model"),
    "a model's name for a URL": (
        lambda: Catalog.of(AGENT, models={"local": "qwen3"}),
        ConfigError,
        r"A str is an endpoint's URL; its model: EndpointConfig\(url=…, model=…\)",
    ),
    "tools without a toolset": (
        lambda: Agent("a", tools=[add]),
        ConfigError,
        r"write tools=Toolset\('name', \(add,\)\)",
    ),
    "a model for its name": (
        lambda: Agent("a", model=scripted()),
        ConfigError,
        r"write a name here, and the model itself in Catalog.of\(agent, models=\{name: model\}\)",
    ),
    "two tools of one name": (
        lambda: Toolset("t", (add,)) | Toolset("u", (other_add(),)),
        ToolCollisionError,
        r"tool 'add' comes from both 't' and 'u'; compose with .prefixed\(\), .renamed\(\) or .without\(\)",
    ),
    "two agents of one name": (
        lambda: Catalog.of(AGENT, Agent("helper"), models={"local": scripted()}),
        ConfigError,
        "two agents named 'helper'; give one of them another name",
    ),
    "an agent for a catalog": (lambda: Runtime(AGENT), ConfigError, r"write Runtime\(Catalog.of\(agent, models="),
    "a path for a journal": (
        lambda: Runtime(Catalog.of(AGENT, models={"local": scripted()}), Path("a.db")),
        ConfigError,
        r"write SQLiteJournal\('a.db'\), of gaia_core.journal.sqlite",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_says_what_to_write(mistake):
    make, error, words = MISTAKES[mistake]

    with pytest.raises(error, match=words) as raised:
        make()

    assert isinstance(raised.value, GaiaError)


async def test_a_runtime_that_is_not_entered_says_so():
    runtime = Runtime(Catalog.of(AGENT, models={"local": scripted("Hi")}))

    with pytest.raises(ClosedError, match=r"write `async with Runtime\(…\) as runtime:`"):
        await runtime.run(AGENT, "Hi")


async def test_a_turn_that_begins_without_a_session_says_so():
    async with Runtime(Catalog.of(AGENT, models={"local": scripted("Hi")})) as runtime:
        with pytest.raises(ConfigError, match=r"write session = await runtime.open\(agent\), or runtime.run"):
            await runtime.start(AGENT, "Hi")


async def test_a_resource_that_says_nothing_of_its_type_is_taken():
    agent = Agent("a", tools=Toolset("t", (double,), resource=anything()))

    assert await run(agent, "Go.", model=scripted("Done.")) == "Done."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[agent.x]\n", "agent: unknown key. Did you mean 'agents'"),
        ('[agents.a]\ninstruction = "x"\n', "agents.a.instruction: unknown key. Did you mean 'instructions'"),
        ('[models.local]\nuri = "http://x"\n', "models.local.uri: unknown key. Did you mean 'url'"),
        ("[agents.a]\nlimits = { step = 3 }\n", "agents.a.limits.step: unknown key. Did you mean 'steps'"),
        ('[agents.a]\ntools = [{ use = "fils" }]\n', "there is no toolset 'fils'. Did you mean 'files'"),
        ('[agents.a]\ntools = ["files"]\n', r'write tools = [{ use = "files" }]'),
    ],
)
def test_a_wrong_key_of_the_configuration_names_the_right_one(tmp_path, text, words):
    (tmp_path / "gaia.toml").write_text(text)

    with pytest.raises(ConfigError) as raised:
        load_catalog(environ={}, cwd=tmp_path)

    assert words in str(raised.value)
