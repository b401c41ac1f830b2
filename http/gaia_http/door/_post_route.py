"""A POST route whose answer is its own ASGI response, at the least cost: for the requests that ask for tokens.

Litestar's request object, arguments and response layers cost such a route more than all it does itself; a plain ASGI
handler of Litestar's has none of them, and keeps its routing and its answer to exceptions. What they gave beside is
done here: another method is a 405, and OPTIONS says what is allowed.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from litestar.enums import ScopeType
from litestar.exceptions import ClientException, MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

METHODS = "methods"
"""The key of a handler's `opt` that says what it takes."""

_ALLOWED = "POST, OPTIONS"

Respond: TypeAlias = Callable[[Scope, Receive], Awaitable[ASGIApp]]
"""Reads a request, and gives the response that answers it."""


def post_handler(path: str, respond: Respond) -> ASGIRouteHandler:
    """The handler of POST *path*."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            raise ClientException
        if scope["method"] != "POST":
            await _other(scope["method"], send)
            return
        response = await respond(scope, receive)
        await response(scope, receive, send)

    return ASGIRouteHandler(path, copy_scope=False, opt={METHODS: ("POST",)})(handle)


async def _other(method: str, send: Send) -> None:
    if method != "OPTIONS":
        raise MethodNotAllowedException(headers={"allow": _ALLOWED})
    await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", _ALLOWED.encode())]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
