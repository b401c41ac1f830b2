"""What the tests of the mcp toolset need: servers, connections, and calls as an agent's turn makes them."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gaia_core import Context
from gaia_mcp._connection import Connection
from gaia_mcp._server_config import McpServerConfig
from gaia_mcp._toolset_factory import recipe_of

RAW = Path(__file__).with_name("raw_server.py")


@pytest.fixture
def raw(tmp_path: Path) -> Callable[..., McpServerConfig]:
    """A server that misbehaves on request; what it notes is in `tmp_path`."""

    def make(name: str = "raw", **given: Any) -> McpServerConfig:
        given.setdefault("command", (sys.executable, "-S", str(RAW), str(tmp_path)))
        return McpServerConfig(name=name, **given)

    return make


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    """A connection to a server, closed at the end."""
    async with AsyncExitStack() as stack:

        async def connect(server: McpServerConfig) -> Connection:
            return await stack.enter_async_context(Connection(server, recipe_of(server)))

        yield connect


async def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until *true* is: for what another process does."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


@pytest.fixture(name="until")
def until_() -> Callable[..., Any]:
    return until


@pytest.fixture
def context() -> Callable[..., Context[Any]]:
    """What a call is given; *session* is whose it is."""

    def make(session: str = "s", **given: Any) -> Context[Any]:
        return Context(None, session_id=session, **given)

    return make
