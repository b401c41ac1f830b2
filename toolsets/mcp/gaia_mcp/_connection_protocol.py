"""What a server's tools need of its connection, so that tools and connection know each other by this contract only."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, Self, TypeAlias

from gaia_core import Context

Send: TypeAlias = Callable[[Any, Any, Any, "str | None"], Awaitable[Any]]
"""Sends a request: takes the client, its `ServerCall`, the answers to what the server asked first, and its state."""


class ConnectionProtocol(Protocol):
    """A connection to one server; `Connection` is it."""

    async def __aenter__(self) -> Self:
        """Connect; returns after the first try, whether it succeeded or not."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Close the connection."""
        ...

    async def call_tool(self, ctx: Context[Any], name: str, arguments: dict[str, Any]) -> str:
        """The result of the server's tool *name*. Raises ToolError."""
        ...

    async def call(self, ctx: Context[Any], send: Send) -> Any:
        """What *send* gives, as a call of *ctx*. Raises ToolError."""
        ...
