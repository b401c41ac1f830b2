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

Respond: TypeAlias = Callable[[Scope, Receive], Awaitable[ASGIApp]]
"""Reads a request, and gives the response that answers it."""


def post_handler(path: str, respond: Respond, get: Respond | None = None) -> ASGIRouteHandler:
    """The handler of POST *path*, and of GET there (*get*): no other handler can share the path."""
    methods = ("POST",) if get is None else ("GET", "POST")
    allowed = ", ".join((*methods, "OPTIONS"))

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            raise ClientException
        if scope["method"] == "POST":
            response = await respond(scope, receive)
        elif scope["method"] == "GET" and get is not None:
            response = await get(scope, receive)
        else:
            await _other(scope["method"], allowed, send)
            return
        await response(scope, receive, send)

    return ASGIRouteHandler(path, copy_scope=False, opt={METHODS: methods})(handle)


async def _other(method: str, allowed: str, send: Send) -> None:
    if method != "OPTIONS":
        raise MethodNotAllowedException(headers={"allow": allowed})
    await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", allowed.encode())]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
