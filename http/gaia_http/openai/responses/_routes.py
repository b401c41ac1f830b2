"""The routes of the Responses API below /v1/responses.

| route | |
|---|---|
| POST / | begin a response |
| GET, DELETE /{id} | a stored one; as a stream by `?stream=true&starting_after=N` |
| POST /{id}/cancel | end one in background |
| GET /{id}/input_items | what it was asked |
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from litestar.connection import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from gaia_core import Runtime
from gaia_http._body import ClientGone, check_headers, read_body
from gaia_http._caller import caller_of
from gaia_http._errors import encoded, invalid
from gaia_http._idempotency import Idempotency
from gaia_http._metrics import HttpCounts
from gaia_http._settings import Settings
from gaia_http.openai._parts import Parts
from gaia_http.openai._wire import shortened
from gaia_http.openai.responses._answer import ResponseStream, StoredStream, WholeResponse, send_json
from gaia_http.openai.responses._create import Beginning
from gaia_http.openai.responses._note import input_items
from gaia_http.openai.responses._stored import Store
from gaia_http.openai.responses._wire import CreateRequest, decode_create

_MOST_ITEMS = 100
_DEFAULT_ITEMS = 20


class Responses:
    """The handlers of one application."""

    def __init__(
        self,
        runtime: Runtime,
        settings: Settings,
        counts: HttpCounts,
        store: Store,
        parts: Parts,
        idempotency: Idempotency,
    ) -> None:
        self._settings = settings
        self._counts = counts
        self._store = store
        self._idempotency = idempotency
        self._beginning = Beginning(runtime, settings, store, parts)

    async def create(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """Begin a response; returns what tells of it."""
        check_headers(request.scope["headers"])
        try:
            body = await read_body(request.receive, self._settings)
        except ClientGone:
            return nothing
        scope, wanted = request.scope, decode_create(body)
        return await self._idempotency.response(scope, body, lambda: self._respond(scope, wanted))

    async def _respond(self, scope: Scope, wanted: CreateRequest) -> ASGIApp:
        begun = await self._beginning.begin(wanted, caller_of(scope), scope)
        return ResponseStream(begun, self._settings, self._counts) if wanted.stream else WholeResponse(begun)

    async def get(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """A stored response, or its events."""
        stored = await self._store.find(caller_of(request.scope).owner, request.path_params["response_id"])
        after = number(request, "starting_after", -1, least=0)
        if flag(request, "stream"):
            return StoredStream(self._store, stored, after, self._settings, self._counts)
        if after >= 0:
            raise invalid("starting_after is for stream=true", param="starting_after", code="invalid_value")
        return json(stored.output.response)

    async def delete(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """Forget a stored response."""
        stored = await self._store.find(caller_of(request.scope).owner, request.path_params["response_id"])
        await self._store.delete(stored)
        return json({"id": stored.ref.id, "object": "response", "deleted": True})

    async def cancel(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """End a response in background; one that has ended stays as it is."""
        owner, response_id = caller_of(request.scope).owner, request.path_params["response_id"]
        stored = await self._store.find(owner, response_id)
        if not stored.note.background:
            raise invalid(
                "only a response in background can be cancelled; close the connection to cancel another",
                param="response_id",
                code="invalid_value",
            )
        if stored.running and not stored.output.done:
            await self._store.cancel(stored)
            stored = await self._store.find(owner, response_id)
        return json(stored.output.response)

    async def input_items(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """A page of what a response was asked."""
        stored = await self._store.find(caller_of(request.scope).owner, request.path_params["response_id"])
        return json(page(request, input_items(stored.ref, stored.note)))


def page(request: Request[Any, Any, Any], items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A page of *items*, which are oldest first; the newest come first unless `order` says otherwise."""
    order = request.query_params.get("order") or "desc"
    if order not in ("asc", "desc"):
        raise invalid(f"order: {shortened(order)!r} is not one of asc, desc", param="order", code="invalid_value")
    limit = number(request, "limit", _DEFAULT_ITEMS, least=1, most=_MOST_ITEMS)
    ordered = list(items) if order == "asc" else list(reversed(items))
    if after := request.query_params.get("after"):
        place = next((n for n, item in enumerate(ordered) if item["id"] == after), None)
        if place is None:
            raise invalid(f"after: there is no item {shortened(after)!r} here", param="after", code="invalid_value")
        ordered = ordered[place + 1 :]
    data = ordered[:limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(ordered) > limit,
    }


def number(request: Request[Any, Any, Any], name: str, default: int, *, least: int, most: int = 2**53) -> int:
    """The number that the query gives as *name*. Raises ApiError 400."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 16 and least <= int(text) <= most):
        raise invalid(
            f"{name}: {shortened(text)!r} is not a number from {least} to {most}", param=name, code="invalid_value"
        )
    return int(text)


def flag(request: Request[Any, Any, Any], name: str) -> bool:
    """Whether the query says *name* is true. Raises ApiError 400."""
    text = request.query_params.get(name) or "false"
    if text not in ("true", "false", "1", "0"):
        raise invalid(f"{name}: {shortened(text)!r} is not true or false", param=name, code="invalid_value")
    return text in ("true", "1")


def json(value: object) -> ASGIApp:
    """*value* as an answer."""
    body = encoded(value)

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, body)

    return answer


async def nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """The response to a client that has gone."""


def response_handlers(
    settings: Settings, runtime: Runtime, counts: HttpCounts, parts: Parts, idempotency: Idempotency
) -> list[HTTPRouteHandler]:
    """The route handlers of one application."""
    routes = Responses(runtime, settings, counts, Store(runtime), parts, idempotency)

    def handler(
        path: str, method: str, function: Callable[[Request[Any, Any, Any]], Awaitable[ASGIApp]]
    ) -> HTTPRouteHandler:
        async def handle(request: Request[Any, Any, Any]) -> ASGIApp:
            return await function(request)

        return HTTPRouteHandler(path, http_method=method, status_code=200)(handle)  # type: ignore[arg-type]

    return [
        handler("/v1/responses", "POST", routes.create),
        handler("/v1/responses/{response_id:str}", "GET", routes.get),
        handler("/v1/responses/{response_id:str}", "DELETE", routes.delete),
        handler("/v1/responses/{response_id:str}/cancel", "POST", routes.cancel),
        handler("/v1/responses/{response_id:str}/input_items", "GET", routes.input_items),
    ]
