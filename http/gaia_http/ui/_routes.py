"""The routes of the UI API: one table, from which Litestar's handlers and the OpenAPI document are made.

Documents and files have no routes yet: they answer 404, as every unknown path below /api.
"""

from typing import Any, Literal

import attrs
import msgspec
from litestar import Response
from litestar.connection import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from gaia_core import BusyError, Runtime
from gaia_core.runtime.sessions.export import (
    ExportedSession,
    ImportedMessage,
    ImportedSession,
    SessionExport,
    SessionImport,
)
from gaia_http._errors import ApiError, ErrorReply, encoded
from gaia_http._json_response import no_response, send_json
from gaia_http._settings import Settings
from gaia_http._version import package_version
from gaia_http.door._idempotency import Idempotency
from gaia_http.door._keyed_turn import KeyedTurn
from gaia_http.door._request_body import ClientGone
from gaia_http.operations._metrics import HttpCounts
from gaia_http.ui import _request_bodies as bodies
from gaia_http.ui import _response_bodies as shapes
from gaia_http.ui._agents import AgentRoutes
from gaia_http.ui._chat import ChatRoutes
from gaia_http.ui._openapi import document
from gaia_http.ui._request import UIRequest
from gaia_http.ui._route import Method, Query, Route, Streamed
from gaia_http.ui._sessions import SessionRoutes
from gaia_http.ui._settings_store import SettingsStore
from gaia_http.ui._system import SystemRoutes
from gaia_http.ui.streaming._resume import ResumeRoute
from gaia_http.ui.streaming._session_events import SessionEventsRoute

BUSY_SECONDS = 2
"""When to ask again for what a running turn is in the way of."""

_PAGE = (Query("limit", "At most 200.", "integer", 50), Query("offset", "How many to pass over.", "integer", 0))
_ID = "5f1c9c0e-7d7b-4c0b-9a43-0a2f4f1c9d11"
_TURN = (
    'id: 1:1:0\ndata: {"type":"status","status":"working","message":"assistant is at work."}\n\n'
    'id: 1:1:16\ndata: {"type":"chunk","content":"Hello"}\n\n'
    'id: 3:1:1\ndata: {"type":"done","message_id":3,"content":"Hello"}\n\n'
)
_CHANGE = f'data: {{"type":"turn_started","session_id":"{_ID}"}}\n\n'


def ui_routes(settings: Settings, runtime: Runtime, counts: HttpCounts) -> tuple[Route, ...]:
    """The table, for one application."""
    store = SettingsStore(settings.data)
    system, agents = SystemRoutes(runtime, settings, store), AgentRoutes(runtime)
    sessions, watch = SessionRoutes(runtime, store), SessionEventsRoute(runtime, settings, counts)
    resume = ResumeRoute(runtime, settings, counts)
    chat = ChatRoutes(runtime, sessions, resume, settings, counts)
    return (
        *_system_routes(system, agents),
        *_session_routes(sessions, watch),
        *_chat_routes(chat, resume),
    )


def _system_routes(system: SystemRoutes, agents: AgentRoutes) -> tuple[Route, ...]:
    return (
        _get("/api/health", system.health, "The server answers", shapes.Health),
        _get("/api/system/status", system.status, "The machine and its model", shapes.SystemStatus),
        _get("/api/system/tasks", system.tasks, "Start-up and background jobs", shapes.TaskList),
        _get("/api/settings", system.settings, "The page's settings", shapes.SettingsReply),
        Route(
            method="PUT",
            path="/api/settings",
            answer=system.change_settings,
            summary="Change the page's settings",
            body=bodies.PageSettings,
            reply=shapes.SettingsReply,
            example=bodies.PageSettings(custom_model="local"),
            admin=True,
        ),
        _get("/api/onboarding/status", system.onboarding, "Whether the first steps were taken", shapes.Onboarding),
        attrs.evolve(
            _post(
                "/api/onboarding/complete",
                system.complete_onboarding,
                "The first steps were taken",
                bodies.OnboardingDone,
                shapes.Onboarding,
            ),
            admin=True,
        ),
        _get("/api/tunnel/status", system.tunnel, "This server opens no tunnel", shapes.Tunnel),
        _get("/api/agents", agents.list, "The agents", shapes.AgentList),
        _get("/api/agents/{id}", agents.get, "An agent", shapes.AgentInfo),
        _get("/api/mcp/servers", agents.mcp_servers, "The MCP servers", tuple[shapes.McpServer, ...]),
        _get("/api/mcp/status", agents.mcp_status, "Whether they are connected", shapes.McpStatus),
    )


def _session_routes(sessions: SessionRoutes, watch: SessionEventsRoute) -> tuple[Route, ...]:
    one = "/api/sessions/{id}"
    return (
        attrs.evolve(
            _get("/api/sessions", sessions.list, "A page of sessions, newest first", shapes.SessionList),
            query=(
                *_PAGE,
                Query("q", "Words that the title or messages have."),
                Query("responses", "`true`: those that clients of the Responses API made, too."),
            ),
        ),
        _post(
            "/api/sessions",
            sessions.create,
            "A new session",
            bodies.CreateSession,
            ExportedSession,
            bodies.CreateSession(title="Budget", system_prompt="Answer in French."),
        ),
        Route(
            method="GET",
            path="/api/sessions/events",
            answer=watch.events,
            summary="What happens to sessions, live",
            reply=Streamed(_CHANGE),
        ),
        _post(
            "/api/sessions/import",
            sessions.take_in,
            "A session from a JSON export",
            SessionImport,
            ExportedSession,
            SessionImport(ImportedSession(title="Budget"), (ImportedMessage("user", "Hello"),)),
        ),
        _get(one, sessions.get, "A session", ExportedSession),
        Route(
            method="PUT",
            path=one,
            answer=sessions.change,
            summary="Change a session",
            body=bodies.UpdateSession,
            reply=ExportedSession,
            example=bodies.UpdateSession(title="Budget 2026"),
        ),
        Route(
            method="DELETE",
            path=one,
            answer=sessions.delete,
            summary="Erase a session; its running turn ends first",
            reply=shapes.Deleted,
        ),
        Route(
            method="PATCH",
            path=f"{one}/private",
            answer=sessions.private,
            summary="Keep a session in memory only, or on disk again",
            body=bodies.SetPrivate,
            reply=ExportedSession,
        ),
        attrs.evolve(
            _get(f"{one}/messages", sessions.messages, "A page of messages, oldest first", shapes.MessageList),
            query=(
                Query("limit", "At most 10000.", "integer", 100),
                Query("offset", "How many to pass over.", "integer", 0),
                Query("before", "The newest that come before this message.", "integer"),
            ),
        ),
        *(
            Route(
                method="DELETE",
                path=f"{one}/messages/{{mid}}{suffix}",
                answer=sessions.delete_message,
                summary="Go back to before the message's turn; the journal keeps the branch",
                reply=shapes.Deleted,
            )
            for suffix in ("", "/and-below")
        ),
        _post(
            f"{one}/head",
            sessions.head,
            "Go on after another message",
            bodies.MoveHead,
            ExportedSession,
            bodies.MoveHead(3),
        ),
        _post(f"{one}/fork", sessions.fork, "A new session that shares the past", bodies.ForkSession, ExportedSession),
        attrs.evolve(
            _get(f"{one}/export", sessions.export, "A conversation to take along", SessionExport),
            query=(Query("format", "markdown or json.", "string", "markdown"),),
        ),
        Route(
            method="POST",
            path=f"{one}/activate",
            answer=sessions.activate,
            summary="Tell the pages to show this session",
            reply=ExportedSession,
        ),
    )


def _chat_routes(chat: ChatRoutes, resume: ResumeRoute) -> tuple[Route, ...]:
    return (
        Route(
            method="POST",
            path="/api/chat/send",
            answer=chat.send,
            keyed=True,
            summary="Begin a turn; it continues if the client disconnects",
            body=bodies.SendMessage,
            reply=Streamed(_TURN, shapes.WholeAnswer),
            example=bodies.SendMessage(_ID, "Which files are here?"),
        ),
        Route(
            method="GET",
            path="/api/chat/attach",
            answer=resume.attach,
            summary="A turn's events after an id, then live",
            reply=Streamed(_TURN),
            query=(
                Query("session_id", "The session."),
                Query("last_event_id", "As the header, for clients that can't set it."),
                Query("Last-Event-ID", "The id of the last frame that was seen.", place="header"),
            ),
        ),
        _post(
            "/api/chat/confirm-tool",
            chat.confirm,
            "Answer a prompt for approval, once",
            bodies.ConfirmTool,
            shapes.Acknowledged,
            bodies.ConfirmTool(_ID, approved=True, confirm_id="appr_0"),
        ),
        _post(
            "/api/chat/user-input",
            chat.user_input,
            "Answer a tool's question, once",
            bodies.UserInput,
            shapes.Acknowledged,
            bodies.UserInput(_ID, "ask_0", "yes"),
        ),
        _post(
            "/api/chat/cancel",
            chat.cancel,
            "End the turn; answered when it has ended",
            bodies.CancelTurn,
            shapes.Acknowledged,
            bodies.CancelTurn(_ID),
        ),
        _get("/api/chat/active", chat.active, "The sessions that run a turn", shapes.Active),
    )


def _get(path: str, answer: Any, summary: str, reply: Any) -> Route:
    return Route(method="GET", path=path, answer=answer, summary=summary, reply=reply)


def _post(path: str, answer: Any, summary: str, body: Any, reply: Any, example: msgspec.Struct | None = None) -> Route:
    return Route(method="POST", path=path, answer=answer, summary=summary, body=body, reply=reply, example=example)


# Serving.


def ui_handlers(
    settings: Settings, runtime: Runtime, counts: HttpCounts, idempotency: Idempotency
) -> list[HTTPRouteHandler]:
    """Litestar's handlers of the table, and of its document."""
    routes = ui_routes(settings, runtime, counts)
    described = encoded(document(routes, package_version()))

    async def openapi() -> Response[bytes]:
        return Response(described, media_type="application/json")

    handlers = [_handler(route, settings, idempotency) for route in routes]
    return [*handlers, HTTPRouteHandler("/api/openapi.json", http_method=["GET", "HEAD"], status_code=200)(openapi)]


def _handler(route: Route, settings: Settings, idempotency: Idempotency) -> HTTPRouteHandler:
    async def handle(request: Request[Any, Any, Any]) -> ASGIApp:
        call = UIRequest(request, settings)
        if route.admin:
            call.caller.check_admin()
        try:
            if route.keyed:
                raw = await call.raw()

                async def respond(keyed: KeyedTurn | None) -> ASGIApp:
                    call.keyed = keyed
                    return await _answered(route, call)

                return await idempotency.response(request.scope, raw, respond)
            return await _answered(route, call)
        except ClientGone:
            return no_response

    path = route.path.replace("{id}", "{id:str}").replace("{mid}", "{mid:str}")
    reads = route.method == "GET" and not isinstance(route.reply, Streamed)
    methods: tuple[Method | Literal["HEAD"], ...] = ("GET", "HEAD") if reads else (route.method,)
    return HTTPRouteHandler(path, http_method=methods, status_code=200)(handle)


async def _answered(route: Route, call: UIRequest) -> ASGIApp:
    try:
        reply = await route.answer(call)
    except BusyError as error:
        headers = (("retry-after", str(BUSY_SECONDS)),)
        raise ApiError(ErrorReply(status=409, message=str(error), code="session_busy", headers=headers)) from None
    return reply if callable(reply) else _Json(encoded(reply))


class _Json:
    """An ASGI response with a JSON body."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, self._body)
