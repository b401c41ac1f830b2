"""Streamable HTTP at /mcp: the SDK's transport behind our door, which has seen to Host, Origin and key.

A session of the transport belongs to the key that opened it: to another one it isn't there.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from gaia_core import Runtime
from gaia_http._settings import Settings
from gaia_http.door._caller import Caller, caller_of
from gaia_http.mcp._exposed_tools import ExposedTools
from gaia_http.mcp._nesting_limit import read_ahead, refuse
from gaia_http.mcp._server import make_server

PATH = "/mcp"


class McpRoute:
    """The route of one application. Its `running` is a part of the application's lifespan."""

    def __init__(self, runtime: Runtime, offer: ExposedTools, settings: Settings) -> None:
        self._most = settings.max_body_bytes
        self._manager = StreamableHTTPSessionManager(
            make_server(runtime, offer, _caller), max_request_body_size=settings.max_body_bytes, max_sessions=1_000
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve while the block lasts."""
        async with self._manager.run():
            yield

    def handler(self) -> ASGIRouteHandler:
        """The handler for Litestar."""

        async def mcp(scope: Scope, receive: Receive, send: Send) -> None:
            token = AccessToken(token="", client_id=caller_of(scope).owner, scopes=[])
            seen: Any = {**scope, "user": AuthenticatedUser(token)}
            if seen["method"] == "POST":
                receive, too_deep = await read_ahead(receive, self._most)
                if too_deep is not None:
                    await refuse(send, too_deep)
                    return
            await self._manager.handle_request(seen, receive, send)  # type: ignore[arg-type]  # the same messages

        return ASGIRouteHandler(PATH, copy_scope=True)(mcp)


def _caller(ctx: ServerRequestContext[Any, Any]) -> Caller:
    return caller_of(ctx.request.scope) if ctx.request is not None else Caller(agents=frozenset(), admin=False)
