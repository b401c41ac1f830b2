"""The toolset's factory: an MCP server of the configuration → a `Source`.

A server's tools are known only once it was asked, so a Source is made: the recipe of a connection that all sessions
share. What the server lists becomes a Toolset, and a new one when the server says that its list has changed.
"""

import asyncio
import importlib
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path, PurePath
from typing import Annotated
from urllib.parse import urlsplit

from gaia_core import Recipe, doc, resource
from gaia_core.tools import Effect, Source
from gaia_mcp._connection_protocol import ConnectionProtocol
from gaia_mcp._secret_references import check
from gaia_mcp._server_config import McpServerConfig


@resource(scope="process")
async def shared_connection(server: McpServerConfig) -> AsyncIterator[ConnectionProtocol]:
    """The connection that all sessions share."""
    async with await _connection(server) as connection:
        yield connection


@resource(scope="session")
async def own_connection(server: McpServerConfig) -> AsyncIterator[ConnectionProtocol]:
    """A connection of one session."""
    async with await _connection(server) as connection:
        yield connection


async def _connection(server: McpServerConfig) -> ConnectionProtocol:
    # The SDK takes two seconds to import, in which others would wait.
    module = await asyncio.to_thread(importlib.import_module, "gaia_mcp._connection")
    made: ConnectionProtocol = module.Connection(server, recipe_of(server))
    return made


def recipe_of(server: McpServerConfig) -> Recipe:
    """What the server's tools work on: a connection, the process's or each session's own."""
    return own_connection(server) if server.per_session else shared_connection(server)


def source_of(server: McpServerConfig) -> Source:
    """Where the server's toolset comes from."""
    return Source(server.name, shared_connection(server), server.command, server.url, server.env or server.headers)


def mcp(
    command: Annotated[tuple[str, ...], doc("The program and its arguments")] = (),
    url: str = "",
    *,
    name: str = "",
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    effects: tuple[Effect, ...] | None = None,
    timeout: float | None = None,
    connect_seconds: float = 30.0,
    max_bytes: int = 4_000_000,
    per_session: bool = False,
    sampling: str = "",
    extras: bool = True,
) -> Source:
    """The tools of an MCP server; see `McpServerConfig` for the arguments.

    *name* is the operator's for it; by default the program's or the host's. Raises ConfigError.
    """
    given = name or _name_of(tuple(command), url)
    check(f"{given}.env", env or {})
    check(f"{given}.headers", headers or {})
    server = McpServerConfig(
        name=given,
        command=tuple(command),
        url=url,
        env=tuple(sorted((env or {}).items())),
        headers=tuple(sorted((headers or {}).items())),
        cwd=cwd,
        effects=frozenset(effects) if effects is not None else None,
        timeout=timeout,
        connect_seconds=connect_seconds,
        max_bytes=max_bytes,
        per_session=per_session,
        sampling=sampling,
        extras=extras,
    )
    return source_of(server)


def _name_of(command: tuple[str, ...], url: str) -> str:
    said = PurePath(command[0]).stem if command else urlsplit(url).hostname or ""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", said).strip("_")[:32] or "mcp"
