"""Every route answers with a page in front of it as it does without."""

import json
import re

import pytest

from gaia_core import Agent, Toolset, tool
from gaia_http import Settings, create_app
from gaia_http.mcp._exposed_tools import ExposedTools


@tool(effects="read")
async def now() -> str:
    """Tell the time."""
    return "noon"


BROWSER = {"accept": "text/html,application/xhtml+xml,*/*"}
MCP = {"accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.fixture
async def servers(serve, tmp_path):
    """A server without a page, and one with a page, over one runtime; and the paths of all routes."""
    dist = tmp_path / "dist"
    dist.mkdir()
    (dist / "index.html").write_text("<!doctype html><title>Page</title>")
    plain = await serve("Hello", agents=(Agent("a", tools=Toolset("t", (now,))),), mcp=ExposedTools())
    paged = await serve(beside=plain, settings=Settings(ui_dist=dist), mcp=ExposedTools())
    routes = create_app(Settings(), plain.runtime, mcp=ExposedTools()).routes
    return plain, paged, sorted({re.sub(r"\{[^}]+\}", "x", route.path) for route in routes})


async def answer(server, method: str, path: str, headers: dict) -> tuple:
    """What doesn't differ from one answer to the next. Of a stream only its head is read."""
    body = b"{}" if method in ("POST", "PUT", "PATCH") else None
    given = headers | ({"content-type": "application/json"} if body else {})
    async with server.http.request(method, path, headers=given, data=body) as response:
        kind = response.headers.get("content-type", "")
        said = "" if "event-stream" in kind else await response.text()
        said = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4,12}){4}|[0-9a-f]{24,32}|[0-9]+(\.[0-9]+)?", "N", said)
        allowed = sorted(response.headers.get("allow", "").split(", "))
        return response.status, kind, allowed, said if path not in ("/metrics", "/api/system/status") else ""


@pytest.mark.parametrize("headers", [{}, BROWSER], ids=["program", "browser"])
async def test_each_route_answers_as_without_a_page(servers, headers):
    plain, paged, paths = servers

    assert {"/mcp", "/health", "/v1/models", "/api/chat/send", "/ollama/api/chat"} <= set(paths)
    for path in paths:
        for method in METHODS:
            without, behind = [await answer(server, method, path, headers) for server in (plain, paged)]
            assert behind == without, (method, path)
            assert "<title>Page" not in behind[-1]


async def test_mcp_clients_are_served_behind_a_page(servers):
    for server in servers[:2]:
        async with server.http.post("/mcp", json=INITIALIZE, headers=MCP) as response:
            text = await response.text()
            assert response.status == 200
            data = next(line for line in text.splitlines() if line.startswith(("data: {", "{")))
            assert json.loads(data.removeprefix("data: "))["result"]["serverInfo"]


async def test_without_mcp_its_path_is_the_pages(serve, tmp_path):
    (tmp_path / "index.html").write_text("<title>Page</title>")
    server = await serve(settings=Settings(ui_dist=tmp_path))

    async with server.http.get("/mcp", headers=BROWSER) as response:
        assert await response.text() == "<title>Page</title>"
