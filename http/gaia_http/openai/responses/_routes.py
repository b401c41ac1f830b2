"""The routes of the Responses API below /v1/responses; those of conversations are in `_conversations`.

| route | |
|---|---|
| POST / | begin a response |
| WebSocket / | begin one after the other: see `_websocket` |
| POST /compact | a conversation in short |
| POST /input_tokens | how long one is |
| GET, DELETE /{id} | a stored one; as a stream by `?stream=true&starting_after=N` |
| POST /{id}/cancel | end one in background |
| GET /{id}/input_items | what it was asked |
"""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar.connection import Request, WebSocket
from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler
from litestar.types import ASGIApp, Scope

from gaia_core import Runtime
from gaia_http._errors import invalid
from gaia_http._settings import Settings
from gaia_http.door._caller import caller_of
from gaia_http.door._idempotency import Idempotency
from gaia_http.door._keyed_turn import KeyedTurn
from gaia_http.door._request_body import ClientGone, check_headers, read_body
from gaia_http.openai.responses._compact import compacted
from gaia_http.openai.responses._count_input_tokens import counted
from gaia_http.openai.responses._create_response import ResponseCreation
from gaia_http.openai.responses._pagination import flag, json, nothing, number, page
from gaia_http.openai.responses.input._wire import CreateRequest, decode_create
from gaia_http.openai.responses.output._response_answer import WholeResponse, live_stream, stored_stream
from gaia_http.openai.responses.stored._conversations import Conversations
from gaia_http.openai.responses.stored._request_note import input_items
from gaia_http.openai.responses.stored._stored_responses import ResponseStore, StoredResponse
from gaia_http.openai.responses.websocket._websocket import ResponseSocket
from gaia_http.operations._metrics import HttpCounts
from gaia_http.request._fields import missing_at
from gaia_http.request._part_converter import PartConverter

_CONVERSATION = "/v1/conversations/{conversation_id:str}"


class Responses:
    """The handlers of one application."""

    def __init__(
        self,
        runtime: Runtime,
        settings: Settings,
        counts: HttpCounts,
        store: ResponseStore,
        idempotency: Idempotency,
        creation: ResponseCreation,
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._counts = counts
        self._store = store
        self._idempotency = idempotency
        self._creation = creation

    async def _body(self, request: Request[Any, Any, Any]) -> bytes | None:
        """What *request* brings; None: its client has gone."""
        check_headers(request.scope["headers"])
        try:
            return await read_body(request.receive, self._settings)
        except ClientGone:
            return None

    async def create(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """Begin a response; returns what tells of it."""
        if (body := await self._body(request)) is None:
            return nothing
        scope, wanted = request.scope, decode_create(body)
        return await self._idempotency.response(scope, body, lambda keyed: self._respond(scope, wanted, keyed))

    async def _respond(self, scope: Scope, wanted: CreateRequest, keyed: KeyedTurn | None) -> ASGIApp:
        begun = await self._creation.begin(wanted, caller_of(scope), scope, keyed=keyed)
        return live_stream(begun, self._settings, self._counts) if wanted.stream else WholeResponse(begun)

    async def compact(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """A conversation in short."""
        if (body := await self._body(request)) is None:
            return nothing
        wanted, caller = decode_create(body), caller_of(request.scope)
        if wanted.model is None:  # required here, other than where a response is created
            raise missing_at("model")
        found = await compacted(self._runtime, self._creation, wanted, caller, request.receive)
        return json(found) if found is not None else nothing

    async def input_tokens(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """How many tokens the first model request of a response would have."""
        if (body := await self._body(request)) is None:
            return nothing
        wanted, caller = decode_create(body), caller_of(request.scope)
        return json(await counted(self._runtime, self._creation, wanted, caller, self._settings))

    async def get(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """A stored response, or its events."""
        stored = await self._store.find(caller_of(request.scope).owner, request.path_params["response_id"])
        after = number(request, "starting_after", -1, least=0)
        if flag(request, "stream"):
            _check_number(stored, after)
            return stored_stream(self._store, stored, after, self._settings, self._counts)
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


def _check_number(stored: StoredResponse, after: int) -> None:
    """Raise ApiError for a number that no event of the response has. While it runs, its stream says so at its end."""
    if stored.output.done and after > stored.output.last:
        words = f"starting_after {after} is beyond the last event of this response, number {stored.output.last}"
        raise invalid(words, param="starting_after", code="invalid_value")


def response_handlers(
    settings: Settings, runtime: Runtime, counts: HttpCounts, parts: PartConverter, idempotency: Idempotency
) -> list[HTTPRouteHandler | WebsocketRouteHandler]:
    """The route handlers of one application."""
    store = ResponseStore(runtime)
    creation = ResponseCreation(runtime, settings, store, parts)
    routes = Responses(runtime, settings, counts, store, idempotency, creation)
    conversations = Conversations(runtime, settings, store, parts)
    sockets = ResponseSocket(creation, settings, counts)

    async def socket(socket: WebSocket[Any, Any, Any]) -> None:
        await sockets.handle(socket)

    def handler(
        path: str, method: str, function: Callable[[Request[Any, Any, Any]], Awaitable[ASGIApp]]
    ) -> HTTPRouteHandler:
        async def handle(request: Request[Any, Any, Any]) -> ASGIApp:
            return await function(request)

        return HTTPRouteHandler(path, http_method=method, status_code=200)(handle)  # type: ignore[arg-type]

    return [
        handler("/v1/responses", "POST", routes.create),
        WebsocketRouteHandler("/v1/responses")(socket),
        handler("/v1/responses/compact", "POST", routes.compact),
        handler("/v1/responses/input_tokens", "POST", routes.input_tokens),
        handler("/v1/responses/{response_id:str}", "GET", routes.get),
        handler("/v1/responses/{response_id:str}", "DELETE", routes.delete),
        handler("/v1/responses/{response_id:str}/cancel", "POST", routes.cancel),
        handler("/v1/responses/{response_id:str}/input_items", "GET", routes.input_items),
        handler("/v1/conversations", "POST", conversations.create),
        handler(_CONVERSATION, "GET", conversations.get),
        handler(_CONVERSATION, "POST", conversations.update),
        handler(_CONVERSATION, "DELETE", conversations.delete),
        handler(f"{_CONVERSATION}/items", "GET", conversations.list_items),
        handler(f"{_CONVERSATION}/items", "POST", conversations.add_items),
        handler(f"{_CONVERSATION}/items/{{item_id:str}}", "GET", conversations.get_item),
        handler(f"{_CONVERSATION}/items/{{item_id:str}}", "DELETE", conversations.delete_item),
    ]
