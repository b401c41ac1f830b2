"""Reload: a new catalog beside the old. Running turns keep theirs, and what only the old one used closes after them."""

import asyncio
from collections.abc import AsyncIterator

import attrs
import pytest

from gaia_core import (
    Agent,
    Catalog,
    Context,
    ModelSpec,
    NotFoundError,
    Runtime,
    Toolset,
    call,
    resource,
    scripted,
    tool,
)
from gaia_core.events import TextDelta
from gaia_core.facts import AgentSwitched
from gaia_core.models import Finished


class Held:
    """A model that says its name and then waits until it may end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.closed = asyncio.Event()

    async def stream(self, request):
        yield (TextDelta(self.name),)
        self.began.set()
        await self.go.wait()
        yield (Finished("stop"),)

    async def aclose(self) -> None:
        self.closed.set()


@attrs.frozen
class Always:
    model: object = attrs.field(eq=False)
    name: str

    def __call__(self):
        return self.model


def with_model(model, *agents: Agent, name: str = "m") -> Catalog:
    return Catalog.of(*agents, models={"local": ModelSpec("local", open=Always(model, name))})


async def test_a_running_turn_keeps_its_model_and_the_next_one_has_the_new():
    old, new = Held("old"), Held("new")
    async with Runtime(with_model(old, Agent("a"), name="old")) as runtime:
        first = await runtime.start(await runtime.open("a", id="one"), "go")
        await old.began.wait()

        await runtime.reload(with_model(new, Agent("a"), name="new"))
        second = await runtime.start(await runtime.open("a", id="two"), "go")
        new.go.set()
        assert (await second.result()).text == "new"
        assert not old.closed.is_set()

        old.go.set()
        assert (await first.result()).text == "old"
        async with asyncio.timeout(60):
            await old.closed.wait()
        assert not new.closed.is_set()


async def test_an_equal_model_stays_open_with_its_slots():
    model = Held("same")
    async with Runtime(with_model(model, Agent("a"))) as runtime:
        before = runtime.models.get("local")
        await runtime.reload(with_model(Held("never opened"), Agent("a", instructions="Be kind.")))

        assert runtime.models.get("local") is before
        assert runtime.catalog.agent("a").instructions == "Be kind."
    assert model.closed.is_set()


async def test_a_session_moves_to_the_new_agent_with_a_record_that_says_so():
    model = scripted("one", "two", "three")
    async with Runtime(with_model(model, Agent("a"))) as runtime:
        for instructions in ("", "Be kind.", "Be kind."):
            await runtime.reload(with_model(model, Agent("a", instructions=instructions)))
            await (await runtime.start(await runtime.open("a", id="s"), "go")).result()
        facts = [fact for _, fact in await runtime.sessions.facts("", "s")]

    changed = [fact for fact in facts if isinstance(fact, AgentSwitched)]
    assert [fact.fingerprint for fact in changed] == [Agent("a", instructions="Be kind.").fingerprint]


async def test_resources_of_the_process_close_after_the_last_turn_that_may_use_them():
    log: list[str] = []
    going, go = asyncio.Event(), asyncio.Event()

    @resource(scope="process")
    async def shop(name: str) -> AsyncIterator[str]:
        log.append(f"open {name}")
        yield name
        log.append(f"close {name}")

    @tool(effects="read")
    async def look(ctx: Context[str]) -> str:
        """Look."""
        going.set()
        await go.wait()
        return ctx.resource

    def agent(name: str) -> Agent:
        return Agent("a", tools=Toolset("shop", (look,), resource=shop(name)))

    model = scripted(call("look"), call("look"), "saw", "saw")
    async with Runtime(with_model(model, agent("old"))) as runtime:
        first = await runtime.start(await runtime.open("a", id="one"), "go")
        await going.wait()
        await runtime.reload(with_model(model, agent("new")))
        assert log == ["open old"]

        go.set()
        await first.result()
        async with asyncio.timeout(60):
            while "close old" not in log:
                await asyncio.sleep(0)
        assert "close new" not in log


async def test_a_resource_that_is_used_again_while_an_old_catalog_closes_stays_open():
    log: list[str] = []
    closing, go = asyncio.Event(), asyncio.Event()

    class Slow:
        """Closes when it may."""

        stream = staticmethod(scripted(call("look"), "saw").stream)

        async def aclose(self) -> None:
            closing.set()
            await go.wait()

    @resource(scope="process")
    async def shop() -> AsyncIterator[str]:
        log.append("open")
        yield "shop"
        log.append("close")

    @tool(effects="read")
    async def look(ctx: Context[str]) -> str:
        """Look."""
        return ctx.resource

    agent = Agent("a", tools=Toolset("shop", (look,), resource=shop()))
    again = with_model(scripted(call("look"), "saw"), agent, name="again")
    async with Runtime(with_model(Slow(), agent)) as runtime:
        await (await runtime.start(await runtime.open("a", id="one"), "go")).result()
        await runtime.reload(with_model(scripted(), Agent("a"), name="without"))
        await closing.wait()
        await runtime.reload(again)
        go.set()
        await runtime.background.settle(60)
        ended = await (await runtime.start(await runtime.open("a", id="two"), "go")).result()
        assert ended.text == "saw"
        assert log == ["open"]


async def test_an_agent_that_is_gone_is_named_to_whoever_asks_for_it_next():
    model = scripted("x")
    async with Runtime(with_model(model, Agent("a"))) as runtime:
        session = await runtime.open("a", id="s")
        await runtime.reload(with_model(model, Agent("b")))

        with pytest.raises(NotFoundError, match="no agent 'a'"):
            await runtime.sessions.open("", session.id)
