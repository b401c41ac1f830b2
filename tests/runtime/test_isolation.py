"""Nothing crosses from one agent, session or turn to another, however many run at once, in tasks and in threads."""

import asyncio
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from gaia_core import Agent, Catalog, Context, ModelSpec, Runtime, Toolset, call, resource, tool
from gaia_core.messages import ToolMessage
from gaia_core.models import ScriptedModel

ROOTS = ("red", "blue")


@resource(scope="session")
async def root(color: str):
    """A root that says its color, and is never two sessions' at once."""
    yield color


@tool(name="where", effects="read")
async def where_async(ctx: Context[str], tag: str) -> str:
    """Say the root and the tag."""
    before = ctx.resource
    await asyncio.sleep(0)
    assert ctx.resource == before
    return f"{ctx.resource}/{tag}/{ctx.session_id}"


@tool(name="where", effects="read")
def where_sync(ctx: Context[str], tag: str) -> str:
    """Say the root and the tag."""
    return f"{ctx.resource}/{tag}/{ctx.session_id}"


def agent(color: str, where) -> Agent:
    """An agent whose tool has the same name as the other's, and a root of its own."""
    return Agent(color, instructions=f"You are {color}.", tools=Toolset("t", (where,), resource=root(color)))


async def model(request):
    """Calls `where` with the user's tag, then answers with who it is and what the tool said."""
    await asyncio.sleep(random.random() / 1000)
    last = request.messages[-1]
    if isinstance(last, ToolMessage):
        return f"{request.messages[0].content} {last.content}"
    return call("where", tag=last.content)


async def one_turn(runtime: Runtime, made: Agent, tag: str) -> tuple[str, str]:
    session = await runtime.open(made)
    ended = await (await runtime.start(session, tag)).result()
    return f"You are {made.name}. {made.name}/{tag}/{session.id}", ended.text


async def test_a_thousand_interleaved_turns_of_two_agents_while_others_are_built():
    spec = ModelSpec("local", open=lambda: ScriptedModel(model), queue=1000)
    async with Runtime(Catalog.of(*(agent(c, where_async) for c in ROOTS), models={"local": spec})) as runtime:
        # Agents of both kinds are built anew for every turn, and others while the turns run.
        tools = (where_async, where_sync)
        turns = [one_turn(runtime, agent(ROOTS[n % 2], tools[n // 2 % 2]), f"tag{n}") for n in range(1000)]
        results = await asyncio.gather(*turns)

    assert [wrong for wrong in results if wrong[0] != wrong[1]] == []
    assert runtime.stats().turns == (("completed", 1000),)


def test_agents_built_in_threads_while_turns_run_keep_their_own_tools():
    """In the system that this replaces, two agents built at once bound each other's tools in 199 of 200 tries."""
    built: list[tuple[str, Agent]] = []
    start = threading.Barrier(8)

    def build(worker: int) -> None:
        start.wait()
        for n in range(50):
            color = f"{ROOTS[n % 2]}-{worker}"
            built.append((color, agent(color, where_async if n % 3 else where_sync)))

    async def run() -> list[tuple[str, str]]:
        base = tuple(agent(color, where_async) for color in ROOTS)
        async with Runtime(Catalog.of(*base, models={"local": ScriptedModel(model)})) as runtime:
            loop = asyncio.get_running_loop()
            with ThreadPoolExecutor(8) as pool:
                building = [loop.run_in_executor(pool, build, worker) for worker in range(8)]
                during = await asyncio.gather(*(one_turn(runtime, base[n % 2], f"t{n}") for n in range(100)))
                await asyncio.gather(*building)
            after = []
            for n in range(0, len(built), 100):  # within the queue
                some = enumerate(built[n : n + 100])
                after += await asyncio.gather(*(one_turn(runtime, made, f"b{n + m}") for m, (_, made) in some))
            return [*during, *after]

    results = asyncio.run(run())

    assert all(made.tools.members[0].resource.arguments == (("color", color),) for color, made in built)
    assert Counter(expected == got for expected, got in results) == {True: 500}


def test_two_runtimes_in_two_threads_share_nothing():
    def run(color: str) -> list[tuple[str, str]]:
        async def main() -> list[tuple[str, str]]:
            made = agent(color, where_sync)
            async with Runtime(Catalog.of(made, models={"local": ScriptedModel(model)})) as runtime:
                return await asyncio.gather(*(one_turn(runtime, made, f"t{n}") for n in range(100)))

        return asyncio.run(main())

    with ThreadPoolExecutor(2) as pool:
        results = [pair for pairs in pool.map(run, ROOTS) for pair in pairs]

    assert [pair for pair in results if pair[0] != pair[1]] == []


async def test_one_agent_may_hold_the_same_tools_on_two_roots():
    both = Toolset("t", (where_async,), resource=root("red")).prefixed("red_") | Toolset(
        "t", (where_async,), resource=root("blue")
    ).prefixed("blue_")
    made = Agent("both", tools=both)

    def model(request):
        results = [message.content for message in request.messages if isinstance(message, ToolMessage)]
        return ", ".join(results) if results else (call("blue_where", tag="x"), call("red_where", tag="y"))

    async with Runtime(Catalog.of(made, models={"local": ScriptedModel(model)})) as runtime:
        session = await runtime.open(made, id="s")
        ended = await (await runtime.start(session, "go")).result()

    assert ended.text == "blue/x/s, red/y/s"
