"""The routes of stored chat completions.

| route | |
|---|---|
| GET /v1/chat/completions | a page of them: `model`, `metadata[key]`, `after`, `limit` (20), `order` (asc) |
| GET, POST, DELETE /v1/chat/completions/{id} | one; change its metadata; erase it |
| GET /v1/chat/completions/{id}/messages | a page of its request's messages |
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from litestar.connection import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope

from gaia_http._json_response import no_response, send_json
from gaia_http._settings import Settings
from gaia_http.door._caller import caller_of
from gaia_http.door._request_body import ClientGone, check_headers, read_body
from gaia_http.openai.chat._stored_completions import CompletionStore
from gaia_http.openai.responses._pagination import json, number
from gaia_http.request._decoding import decode_body
from gaia_http.request._fields import invalid_at, not_one_of, shortened
from gaia_http.request._metadata import check_metadata

T = TypeVar("T")

_ONE = "/v1/chat/completions/{completion_id:str}"
_LIMIT, _MOST = 20, 100


class _MetadataBody(msgspec.Struct, frozen=True, gc=False):
    metadata: dict[str, str] | None = None


_body_decoder = msgspec.json.Decoder(_MetadataBody)


class StoredCompletionRoutes:
    """The handlers of one application."""

    def __init__(self, store: CompletionStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    async def list(self, scope: Scope, receive: Receive) -> ASGIApp:
        """A page of the caller's completions."""
        request: Request[Any, Any, Any] = Request(scope, receive)
        query = request.query_params
        metadata = {
            name[len("metadata[") : -1]: value
            for name, value in query.items()
            if name.startswith("metadata[") and name.endswith("]")
        }
        infos = await self._store.find(caller_of(request.scope).owner, query.get("model") or None, metadata)
        rows, more = _page(request, infos, [info.id for info in infos])
        return json(_listed(await self._store.told(rows), [row.id for row in rows], more=more))

    async def get(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """One completion."""
        return _sent(await self._store.completion(*_named(request)))

    async def update(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """Replace a completion's metadata."""
        check_headers(request.scope["headers"])
        try:
            body = decode_body(await read_body(request.receive, self._settings), _body_decoder)
        except ClientGone:
            return no_response
        check_metadata(body.metadata)
        return _sent(await self._store.update(*_named(request), body.metadata or {}))

    async def delete(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """Erase a completion."""
        owner, completion = _named(request)
        await self._store.delete(owner, completion)
        return json({"object": "chat.completion.deleted", "id": completion, "deleted": True})

    async def messages(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """A page of the messages of a completion's request."""
        messages = await self._store.messages(*_named(request))
        rows, more = _page(request, messages, [message["id"] for message in messages])
        return json(_listed(rows, [row["id"] for row in rows], more=more))

    def handlers(self) -> tuple[HTTPRouteHandler, ...]:
        """The route handlers, but for the list, which shares its path with POST /v1/chat/completions."""

        def handler(
            path: str, method: str, function: Callable[[Request[Any, Any, Any]], Awaitable[ASGIApp]]
        ) -> HTTPRouteHandler:
            async def handle(request: Request[Any, Any, Any]) -> ASGIApp:
                return await function(request)

            return HTTPRouteHandler(path, http_method=method, status_code=200)(handle)  # type: ignore[arg-type]

        return (
            handler(_ONE, "GET", self.get),
            handler(_ONE, "POST", self.update),
            handler(_ONE, "DELETE", self.delete),
            handler(f"{_ONE}/messages", "GET", self.messages),
        )


def _named(request: Request[Any, Any, Any]) -> tuple[str, str]:
    return caller_of(request.scope).owner, request.path_params["completion_id"]


def _page(request: Request[Any, Any, Any], rows: Sequence[T], ids: Sequence[str]) -> tuple[list[T], bool]:
    """The rows of the page that is asked for, and whether there are more. *rows* and *ids*: all, oldest first."""
    order = request.query_params.get("order") or "asc"
    if order not in ("asc", "desc"):
        raise not_one_of("order", order, ("asc", "desc"))
    limit = number(request, "limit", _LIMIT, least=1, most=_MOST)
    ordered = list(zip(ids, rows, strict=True))
    if order == "desc":
        ordered.reverse()
    if after := request.query_params.get("after"):
        position = next((n for n, (row, _) in enumerate(ordered) if row == after), None)
        if position is None:
            raise invalid_at("after", f"there is no item {shortened(after)!r} here")
        ordered = ordered[position + 1 :]
    return [row for _, row in ordered[:limit]], len(ordered) > limit


def _listed(data: Sequence[Any], ids: Sequence[str], *, more: bool) -> dict[str, Any]:
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more}


def _sent(body: bytes) -> ASGIApp:
    return lambda _scope, _receive, send: send_json(send, body)
