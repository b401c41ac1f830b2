"""Servers over streamable HTTP, made with the official SDK: of its new protocol, and of the one before."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Annotated

import pytest
import uvicorn
from mcp.server.mcpserver import Context as ServerContext
from mcp.server.mcpserver import Elicit, MCPServer, Resolve
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from gaia_core import ToolError
from gaia_core.nesting import MAX_NESTING
from gaia_mcp._server_config import McpServerConfig


class Port(BaseModel):
    port: int


async def which_port() -> Elicit[Port]:
    return Elicit("Which port?", Port)


def made() -> MCPServer:
    server = MCPServer("sdk", instructions="Be kind.")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))
    def echo(value: str) -> str:
        """Say it again."""
        return value

    @server.tool()
    def big(size: int) -> str:
        """Much."""
        return "x" * size

    @server.tool()
    def nested(levels: int) -> CallToolResult:
        """Much inside much."""
        value: dict = {}
        for _ in range(levels - 1):
            value = {"a": value}
        return CallToolResult(content=[], structured_content=value)

    @server.tool()
    async def progress(ctx: ServerContext) -> str:
        """Take long."""
        await ctx.report_progress(1, 1, "there")
        return "done"

    @server.tool()
    async def ask(port: Annotated[Port, Resolve(which_port)]) -> str:
        """Ask for a port."""
        return port.model_dump_json()

    @server.tool()
    async def change(ctx: ServerContext) -> str:
        """Be another."""
        server.add_tool(echo, name="new")
        await ctx.notify_tools_changed()
        return "changed"

    return server


class OnlyOldAndAsked:
    """An application that answers `server/discover` as a server of the protocol before does, and wants a key."""

    def __init__(self, app: ASGIApp, *, old: bool, key: str) -> None:
        self.app, self.old, self.key = app, old, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if self.key and headers.get(b"authorization") != f"Bearer {self.key}".encode():
            await self.answer(send, 401)
        elif self.old and headers.get(b"mcp-protocol-version") == b"2026-07-28":
            await self.answer(send, 404)
        else:
            await self.app(scope, receive, send)

    async def answer(self, send: Send, status: int) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})


@asynccontextmanager
async def running(port: int = 0, *, old: bool = False, key: str = "", json: bool = False) -> AsyncIterator[str]:
    """The URL of an SDK server."""
    inner = made().streamable_http_app(json_response=json)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    async with inner.router.lifespan_context(inner):
        app = OnlyOldAndAsked(inner, old=old, key=key)
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        server.capture_signals = nullcontext
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        finally:
            server.should_exit = server.force_exit = True
            await task
            listening.close()


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("json", [True, False])
async def test_tools_are_listed_and_called(connect, context, old, json):
    async with running(old=old, json=json) as url:
        connection = await connect(McpServerConfig(name="web", url=url))
        answers = await asyncio.gather(
            *(connection.call_tool(context(f"s{n}"), "echo", {"value": str(n)}) for n in range(20))
        )

        assert answers == [str(n) for n in range(20)]
        assert connection.problem == ""
        assert connection.toolset.instructions == "Be kind."
        assert connection.toolset["echo"].effects == {"read"}


@pytest.mark.parametrize("old", [True, False])
async def test_progress_and_questions_are_passed_on(connect, context, old):
    said: list[str] = []

    async def ask(question: str, options: tuple[str, ...]) -> str:
        return "8080"

    async with running(old=old) as url:
        connection = await connect(McpServerConfig(name="web", url=url))
        await connection.call_tool(context(progress=said.append), "progress", {})
        answer = await connection.call_tool(context(ask=ask), "ask", {})

    assert said == ["there (1/1)"]
    assert '"port":8080' in answer


@pytest.mark.parametrize("json", [True, False])
async def test_a_result_that_is_too_big_fails_its_call_only(connect, context, json):
    async with running(json=json) as url:
        connection = await connect(McpServerConfig(name="web", url=url, max_bytes=1_000_000))
        with pytest.raises(ToolError, match=r"1000000|max_bytes|[Ss]ize"):
            await connection.call_tool(context(), "big", {"size": 50_000_000})

        assert await connection.call_tool(context(), "echo", {"value": "still here"}) == "still here"


@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 240])
@pytest.mark.parametrize("json", [True, False])
async def test_a_result_that_is_nested_too_deep_fails_its_call_only(connect, context, json, levels):
    async with running(json=json) as url:
        connection = await connect(McpServerConfig(name="web", url=url))
        taken = await connection.call_tool(context(), "nested", {"levels": MAX_NESTING})

        with pytest.raises(ToolError, match="nested deeper than 128 levels"):
            await connection.call_tool(context(), "nested", {"levels": levels})

        assert taken.count("{") == MAX_NESTING
        assert await connection.call_tool(context(), "echo", {"value": "still here"}) == "still here"


async def test_changed_tools_are_listed_again(connect, context, until):
    async with running() as url:
        connection = await connect(McpServerConfig(name="web", url=url))
        await connection.call_tool(context(), "change", {})

        await until(lambda: "new" in connection.toolset)


async def test_a_server_that_goes_and_comes_back_is_connected_again(connect, context, until):
    async with running() as url:
        port = int(url.split(":")[2].split("/")[0])
        connection = await connect(McpServerConfig(name="web", url=url))
    with pytest.raises(ToolError, match=r"disconnected|not connected"):
        await connection.call_tool(context(), "echo", {"value": "anybody?"})

    async with running(port):
        await until(lambda: connection.connected)
        assert await connection.call_tool(context(), "echo", {"value": "back"}) == "back"


async def test_a_key_is_sent_from_its_variable_and_a_refusal_is_said(connect, context, monkeypatch):
    monkeypatch.setenv("WEB_KEY", "k-12345678")
    async with running(key="k-12345678") as url:
        refused = await connect(McpServerConfig(name="refused", url=url))
        taken = await connect(
            McpServerConfig(name="taken", url=url, headers=(("Authorization", "Bearer env:WEB_KEY"),))
        )

        assert "HTTP 401 Unauthorized" in refused.problem
        assert await taken.call_tool(context(), "echo", {"value": "hello"}) == "hello"


async def test_where_nobody_listens_is_a_problem(connect):
    connection = await connect(McpServerConfig(name="web", url="http://127.0.0.1:9/mcp"))

    assert connection.problem.startswith("http://127.0.0.1:9/mcp can't be reached")
