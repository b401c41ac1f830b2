"""Toolsets that have to be asked for: the runtime opens them, and composes agents with what they list now."""

import asyncio
from collections.abc import AsyncIterator, Callable

import attrs
import pytest

from gaia_core import Agent, Catalog, Context, Runtime, Toolset, resource, scripted, tool
from gaia_core.catalog import CatalogProblem
from gaia_core.runtime import listed
from gaia_core.tools import Recipe, Source


class Asked:
    """A `Live` of the test: it lists what it is told to list."""

    def __init__(self) -> None:
        self.toolset: Toolset | None = None
        self.connected = False
        self.problem = ""
        self.opened = self.closed = 0
        self.changed: Callable[[], None] = lambda: None

    def watch(self, changed: Callable[[], None]) -> None:
        self.changed = changed

    def lists(self, *names: str) -> None:
        self.toolset, self.connected = Toolset("asked", [_tool(name) for name in names]), True
        self.changed()


def _tool(name: str):
    @tool(name=name)
    async def run(ctx: Context[None]) -> str:
        """Run."""
        return name

    return run


@attrs.frozen
class Compose:
    """Composes an agent `a` of all that is listed."""

    def __call__(self, found, before):
        composed = Toolset("none")
        for each in found.values():
            composed |= each
        return (Agent("a", tools=composed),), ()


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def source(asked: Asked) -> Source:
    return Source("one", recipe_of(asked), ("one",))


def recipe_of(asked: Asked) -> Recipe:
    @resource(scope="process")
    async def one() -> AsyncIterator[Asked]:
        asked.opened += 1
        yield asked
        asked.closed += 1

    return one()


def catalog(*sources: Source) -> Catalog:
    made = Catalog.of(Agent("a"), models={"local": scripted("x")})
    return attrs.evolve(made, sources=sources, compose=Compose())


async def test_agents_are_composed_with_what_is_listed_at_the_start(asked, source):
    asked.lists("x")
    async with Runtime(catalog(source)) as runtime:
        assert runtime.catalog.agent("a").tools.names == ("x",)
        assert [(state.source.name, state.connected, state.tools) for state in runtime.sources] == [("one", True, 1)]

    assert (asked.opened, asked.closed) == (1, 1)


async def test_a_change_is_a_new_value_and_the_old_one_stays_as_it_was(asked, source):
    asked.lists("x")
    async with Runtime(catalog(source)) as runtime:
        before = runtime.catalog
        asked.lists("x", "y")

        assert before.agent("a").tools.names == ("x",)
        assert runtime.catalog.agent("a").tools.names == ("x", "y")


async def test_what_is_wrong_with_a_source_is_a_problem_of_the_catalog(asked, source):
    asked.problem = "it is out of oil"
    async with Runtime(catalog(source)) as runtime:
        assert runtime.catalog.problems == (CatalogProblem("server one", "it is out of oil"),)
        asked.problem = ""
        asked.lists("x")
        assert runtime.catalog.problems == ()


async def test_a_source_that_can_not_be_opened_harms_nobody(asked, source):
    @resource(scope="process")
    async def broken() -> AsyncIterator[Asked]:
        raise ValueError("no oil")
        yield asked

    asked.lists("x")
    async with Runtime(catalog(source, Source("two", broken()))) as runtime:
        assert runtime.catalog.agent("a").tools.names == ("x",)
        (problem,) = runtime.catalog.problems

    assert problem == CatalogProblem("server two", "could not be opened (ValueError: no oil)")


async def test_without_a_runtime_they_are_asked_once_and_closed(asked, source):
    asked.lists("x")
    found = await listed(catalog(source))

    assert found.agent("a").tools.names == ("x",)
    assert (asked.opened, asked.closed) == (1, 1)


async def test_a_source_that_takes_long_is_composed_in_when_it_is_there(asked, monkeypatch):
    go = asyncio.Event()

    @resource(scope="process")
    async def slow() -> AsyncIterator[Asked]:
        await go.wait()
        yield asked

    monkeypatch.setattr("gaia_core.runtime._toolset_sources.PATIENCE_SECONDS", 0.01)
    asked.lists("x")
    async with Runtime(catalog(Source("slow", slow()))) as runtime:
        assert runtime.catalog.agent("a").tools.names == ()
        assert runtime.catalog.problems == (CatalogProblem("server slow", "is being asked"),)
        go.set()
        async with asyncio.timeout(60):
            while not runtime.catalog.agent("a").tools:
                await asyncio.sleep(0)


async def test_closing_does_not_wait_for_a_source_that_never_opens(asked, monkeypatch):
    @resource(scope="process")
    async def never() -> AsyncIterator[Asked]:
        await asyncio.get_running_loop().create_future()
        yield asked

    monkeypatch.setattr("gaia_core.runtime._toolset_sources.PATIENCE_SECONDS", 0.01)
    async with asyncio.timeout(30), Runtime(catalog(Source("never", never()))) as runtime:
        assert runtime.sources[0].problem == "is being asked"


def test_a_sources_recipe_is_the_process():
    @resource(scope="session")
    async def own() -> AsyncIterator[None]:
        yield None

    with pytest.raises(TypeError, match="must be of scope 'process'"):
        Source("one", own())
