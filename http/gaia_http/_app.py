"""The application: routes over one Runtime. `create_app` is a pure function; nothing runs before the lifespan.

| route | |
|---|---|
| GET /v1/models, /v1/models/{id} | the agents |
| POST /v1/chat/completions | a turn of an agent |
| /v1/chat/completions… | those that were stored: see `gaia_http.openai.chat._stored_routes` |
| POST /v1/messages, /v1/messages/count_tokens | the same as Anthropic has it: see `gaia_http.anthropic` |
| POST /v1/embeddings | vectors, by a model that makes them |
| /v1/files | uploads |
| /v1/responses… | the same as a response, stored: see `gaia_http.openai.responses` |
| GET /v1/openapi.json | what of it is served |
| GET /health | the process answers; reveals nothing |
| GET /ready | 200, with the problems that are known (an endpoint, a folder); 503 while no turns are taken, the |
| | journal can't be written or its file is missing, or the default agent's embedded model isn't ready |
| GET /metrics | Prometheus text; with keys, an administrator's only |
| /mcp | the agents as an MCP server, where *mcp* says so: see `gaia_http.mcp` |
| /api/… | the UI API: see `gaia_http.ui` |
| /ollama/api/…, and what of it the UI API doesn't have at /api/… | Ollama's API: see `gaia_http.ollama` |
| GET /… | the page, where `Settings.ui_dist` names one: see `_static_files` |
"""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from litestar import Litestar, Response
from litestar.connection import Request
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.types import ASGIApp

from gaia_core import ConfigError, Runtime
from gaia_http._errors import SERVER, ErrorReply, of_exception
from gaia_http._settings import Settings
from gaia_http.anthropic import message_handlers
from gaia_http.anthropic._models import list_models as anthropic_models
from gaia_http.anthropic._models import one_model as anthropic_model
from gaia_http.door._caller import caller_of
from gaia_http.door._envelope import body_of, speaks_anthropic
from gaia_http.door._idempotency import Idempotency
from gaia_http.door._middleware import DoorMiddleware
from gaia_http.door._post_route import post_handler
from gaia_http.keys import Allowances
from gaia_http.mcp._exposed_tools import NEEDED, ExposedTools
from gaia_http.ollama import ollama_handlers
from gaia_http.openai._embeddings import EmbeddingsRoute
from gaia_http.openai._file_routes import FileRoutes
from gaia_http.openai._models import list_models, one_model
from gaia_http.openai._openapi import openapi_handler
from gaia_http.openai.chat._chat_completions import ChatCompletions
from gaia_http.openai.chat._stored_completions import CompletionStore
from gaia_http.openai.chat._stored_routes import StoredCompletionRoutes
from gaia_http.openai.responses import response_handlers
from gaia_http.operations._health import CatalogHealth
from gaia_http.operations._logs import LogContext
from gaia_http.operations._metrics import MEDIA_TYPE, HttpCounts, prometheus_text
from gaia_http.operations._retention import RetentionSweeper
from gaia_http.page._static_files import StaticPage
from gaia_http.request._part_converter import PartConverter
from gaia_http.request._uploaded_files import UploadedFiles
from gaia_http.ui import ui_handlers
from gaia_http.ui._model_state import embedded_state

if TYPE_CHECKING:
    from gaia_core.telemetry import OpenTelemetry
    from gaia_http.mcp._http_route import McpRoute

_log = logging.getLogger(__name__)

_JSON = "application/json"
_LEFT_OUT = "something is left out; the server's log and gaia doctor have more"
_READ: tuple[Literal["GET", "HEAD"], ...] = ("GET", "HEAD")


def create_app(
    settings: Settings,
    runtime: Runtime,
    allowances: Allowances | None = None,
    *,
    log: LogContext | None = None,
    telemetry: "OpenTelemetry | None" = None,
    mcp: ExposedTools | None = None,
    health: CatalogHealth | None = None,
) -> Litestar:
    """An application that serves *runtime*, which its lifespan opens and closes.

        allowances = Allowances(Keyring(Path("keys.json")))
        app = create_app(Settings(), Runtime(catalog, quota=allowances), allowances)

    *allowances*: the keys that open the application, and what they may use; None: it asks for no key. *log* hears which
    request a log line is about; *telemetry* traces requests. Both should be observers of *runtime*, too. *mcp*: what it
    serves at /mcp; None: there is no such route. *health*: what `/ready` says beside; None: nothing.

    Nothing of *runtime* is changed, so several applications can serve one; it closes with the last of them. Raises
    ConfigError when *allowances* are not the quota of *runtime*: turns would not be counted.
    """
    if allowances is not None and runtime.quota is not allowances:
        raise ConfigError("the runtime must count turns by the application's keys: Runtime(…, quota=allowances)")
    counts = HttpCounts()
    idempotency = Idempotency(runtime, settings)

    route = _mcp_route(runtime, mcp, settings) if mcp is not None else None

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(runtime)
            if route is not None:
                await stack.enter_async_context(route.running())
            RetentionSweeper(runtime).start()
            yield
            await idempotency.aclose()

    app = Litestar(
        route_handlers=[
            *_routes(settings, runtime, counts, idempotency, health),
            *((route.handler(),) if route is not None else ()),
        ],
        lifespan=[lifespan],
        exception_handlers={Exception: _answer_to_exception},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # _body has the bound
        debug=False,
    )
    served = app.asgi_handler
    if settings.ui_dist is not None:
        own = frozenset(f"/{route.path.split('/')[1]}" for route in app.routes)
        served = StaticPage(served, settings.ui_dist, own)
    app.asgi_handler = DoorMiddleware(served, settings, counts, allowances, log)
    if telemetry is not None:
        from gaia_http.operations._request_spans import RequestSpans  # noqa: PLC0415  # needs OpenTelemetry, which is an extra

        app.asgi_handler = RequestSpans(app.asgi_handler, telemetry)
    return app


def _routes(
    settings: Settings, runtime: Runtime, counts: HttpCounts, idempotency: Idempotency, health: CatalogHealth | None
) -> list[BaseRouteHandler]:
    files = UploadedFiles(settings.data, limits=runtime.storage.limits)
    parts = PartConverter(runtime, settings, files)
    store = CompletionStore(runtime)
    completions = ChatCompletions(runtime, settings, counts, parts, idempotency, store)
    stored = StoredCompletionRoutes(store, settings)

    vectors, uploads = EmbeddingsRoute(runtime, settings), FileRoutes(files, settings)

    async def embeddings(request: Request[Any, Any, Any]) -> ASGIApp:
        return await vectors.handle(request)

    async def upload_file(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await uploads.upload(request)

    async def list_files(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await uploads.list(request)

    async def get_file(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await uploads.get(request)

    async def delete_file(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await uploads.delete(request)

    async def file_content(request: Request[Any, Any, Any]) -> ASGIApp:
        return await uploads.content(request)

    async def models(request: Request[Any, Any, Any]) -> Response[bytes]:
        if speaks_anthropic(request.scope):
            found = anthropic_models(runtime, caller_of(request.scope), request.query_params)
            return Response(found, media_type=_JSON)
        return Response(list_models(runtime, caller_of(request.scope)), media_type=_JSON)

    async def model(request: Request[Any, Any, Any]) -> Response[bytes]:
        path = request.scope.get("raw_path") or request.scope["path"].encode()
        find = anthropic_model if speaks_anthropic(request.scope) else one_model
        return Response(find(runtime, path.decode("latin-1"), caller_of(request.scope)), media_type=_JSON)

    async def alive() -> Response[bytes]:
        return Response(b'{"status":"ok"}', media_type=_JSON)

    async def ready() -> Response[bytes]:
        return _readiness(runtime, health)

    async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        caller_of(request.scope).check_admin()
        return Response(prometheus_text(runtime, counts), media_type=MEDIA_TYPE)

    handlers: list[BaseRouteHandler] = [
        post_handler("/v1/chat/completions", completions.handle, stored.list),
        *stored.handlers(),
        HTTPRouteHandler("/v1/embeddings", http_method="POST", status_code=200)(embeddings),
        HTTPRouteHandler("/v1/files", http_method="POST", status_code=200)(upload_file),
        HTTPRouteHandler("/v1/files", http_method=_READ, status_code=200)(list_files),
        HTTPRouteHandler("/v1/files/{file_id:str}", http_method=_READ, status_code=200)(get_file),
        HTTPRouteHandler("/v1/files/{file_id:str}", http_method="DELETE", status_code=200)(delete_file),
        HTTPRouteHandler("/v1/files/{file_id:str}/content", http_method=_READ, status_code=200)(file_content),
        HTTPRouteHandler("/v1/models", http_method=_READ, status_code=200)(models),
        HTTPRouteHandler("/v1/models/{model_id:path}", http_method=_READ, status_code=200)(model),
        HTTPRouteHandler("/health", http_method=_READ, status_code=200)(alive),
        HTTPRouteHandler("/ready", http_method=_READ, status_code=200)(ready),
        HTTPRouteHandler("/metrics", http_method=_READ, status_code=200)(metrics),
        *response_handlers(settings, runtime, counts, parts, idempotency),
        *ui_handlers(settings, runtime, counts, idempotency),
    ]
    messages = message_handlers(settings, runtime, counts, parts, idempotency)
    ollama = ollama_handlers(settings, runtime, counts, parts, idempotency)
    return [*handlers, *messages, *ollama, openapi_handler(handlers)]


def _readiness(runtime: Runtime, health: CatalogHealth | None) -> Response[bytes]:
    """Ready or not. Nobody needs a key for it: problems are named without addresses and paths, which the log has."""
    if not runtime.accepting:
        body = b'{"status":"draining"}'
    elif down := runtime.background.down:
        reason = f"{down[0].name} failed and is restarted soon; the server's log has more"
        body = msgspec.json.encode({"status": "degraded", "reason": reason})
    elif runtime.journal_fault:
        reason = "the journal's file was deleted or replaced while it is in use; the server's log has more"
        body = msgspec.json.encode({"status": "journal_lost", "reason": reason})
    elif runtime.journal_trouble is not None:
        reason = "the journal can't be written; the server's log has more"
        body = msgspec.json.encode({"status": "degraded", "reason": reason})
    elif (state := embedded_state(runtime)) is not None and state.phase != "ready":
        # This route needs no key: the reply may say that the model crashed or lacks something, but no file names.
        told = str(state) if state.lasting or state.phase == "crashed" else state.phase
        body = msgspec.json.encode({"status": "model_not_ready", "reason": f"the embedded model is not ready: {told}"})
    else:
        problems = [f"{problem.source}: {_LEFT_OUT}" for problem in runtime.catalog.problems]
        problems += [f"{fault.source}: {fault.brief}" for fault in (health.faults if health is not None else ())]
        detail = {"problems": problems} if problems else {}
        return Response(msgspec.json.encode({"status": "ready", **detail}), media_type=_JSON)
    return Response(body, media_type=_JSON, status_code=503, headers={"retry-after": "5"})


def _mcp_route(runtime: Runtime, offer: ExposedTools, settings: Settings) -> "McpRoute":
    try:
        from gaia_http.mcp._http_route import McpRoute  # noqa: PLC0415  # two seconds, which only such a server pays
    except ImportError as error:
        raise ConfigError(NEEDED) from error
    return McpRoute(runtime, offer, settings)


def _answer_to_exception(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Every error of a request as its envelope; what nobody foresaw goes to the log with its trace."""
    path = str(request.scope["path"])
    reply = of_exception(error) or _of_litestar(error, request.scope["method"], path)
    if reply is None:
        _log.error("%s %s failed", request.scope["method"], ascii(path[:200]), exc_info=error)
        reply = ErrorReply(
            status=500, message="the server failed; its log has more", type=SERVER, code="internal_error", logged=True
        )
    return Response(
        body_of(reply, request.scope), status_code=reply.status, media_type=_JSON, headers=dict(reply.headers)
    )


def _of_litestar(error: Exception, method: str, path: str) -> ErrorReply | None:
    if isinstance(error, NotFoundException):
        return ErrorReply(status=404, message=f"there is no {method} {path[:200]}", code="unknown_url")
    if isinstance(error, MethodNotAllowedException):
        allowed = (error.headers or {}).get("allow", "")
        return ErrorReply(
            status=405,
            message=f"{path[:200]} takes {allowed}, not {method}",
            code="method_not_allowed",
            headers=(("allow", allowed),),
        )
    if isinstance(error, HTTPException) and error.status_code < 500:
        return ErrorReply(status=error.status_code, message=error.detail, code="bad_request")
    return None
