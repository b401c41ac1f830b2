"""The MCP servers of a catalog, as the page shows them: nothing secret is among it."""

from collections.abc import AsyncIterator

import attrs

from gaia_core import Agent, Catalog, Toolset, call, resource, tool
from gaia_core.tools import Source


@tool(effects="read")
async def look() -> str:
    """Look."""
    return "seen"


@attrs.frozen
class Up:
    """A server that answers."""

    toolset: Toolset = Toolset("mcp:shop", (look,))
    connected: bool = True
    problem: str = ""

    def watch(self, changed) -> None:
        return None


@resource(scope="process")
async def up() -> AsyncIterator[Up]:
    yield Up()


@attrs.frozen
class Compose:
    def __call__(self, found, before):
        (toolset,) = found.values()
        return (Agent("a", tools=toolset),), ()


async def test_servers_are_shown_with_what_they_are_given_masked(serve):
    source = Source("shop", up(), ("shop-server", "--fast"), settings=(("MY_TOKEN", "env:MINE"),))
    server = await serve("x")
    spec = server.runtime.catalog.model("local")
    made = Catalog.of(Agent("a"), models={"local": spec})
    await server.runtime.reload(attrs.evolve(made, sources=(source,), compose=Compose()))

    async def get(path: str):
        async with server.http.get(path) as response:
            assert response.status == 200
            return await response.json()

    assert await get("/api/mcp/servers") == [
        {"name": "shop", "command": "shop-server", "args": ["--fast"], "env": {"MY_TOKEN": "•••"}, "enabled": True}
    ]
    assert await get("/api/mcp/status") == {
        "servers": [{"name": "shop", "connected": True, "tool_count": 1, "error": None}]
    }
    assert (await get("/api/agents/a"))["consumes_mcp_servers"]


async def test_a_servers_tool_is_shown_with_its_server_live_and_in_the_record(ui):
    tools = Toolset("mcp:shop", (look,)) | Toolset("own", (look,)).prefixed("own_")
    client = await ui(call("look"), call("own_look"), "seen", agents=(Agent("a", tools=tools),))
    session = await client.session()
    started = [frame for _, frame in await client.send(session) if frame["type"] == "tool_start"]
    found = (await client.get(f"/api/sessions/{session}/messages"))["messages"][-1]["agent_steps"]

    assert [frame.get("mcp_server") for frame in started] == ["shop", None]
    assert [step.get("mcpServer") for step in found if step["type"] == "tool"] == ["shop", None]
