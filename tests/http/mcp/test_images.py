"""Images of a tool's result at /mcp: passed on as MCP has them, from any toolset and to any client."""

import base64

import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from gaia_core import Agent, Image, ToolOutput, Toolset, tool
from gaia_http.mcp._exposed_tools import ExposedTools

PNG = b"\x89PNG" + b"\x00" * 996


@tool(effects=())
async def screenshot() -> ToolOutput:
    """Show the screen."""
    return ToolOutput("The screen.", (Image("image/png", PNG),))


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_an_image_is_passed_on(serve, mode):
    agent = Agent("coder", tools=Toolset("t", (screenshot,)))
    server = await serve("x", agents=(agent,), mcp=ExposedTools(agents=(), tools_of=("coder",)))
    async with Client(streamable_http_client(f"{server.url}/mcp"), mode=mode) as session:
        result = await session.call_tool("screenshot", {})

    text, image = result.content
    assert text.text == "The screen.\n[image, 1 KB, image/png]"
    assert (image.type, image.mime_type) == ("image", "image/png")
    assert base64.b64decode(image.data) == PNG
