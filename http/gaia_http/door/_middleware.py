"""The door: what every request and WebSocket passes before Litestar sees it, and the last resort when one fails.

Who may come in is decided in `_access_control`. Every response gets an `x-request-id`, and says what browsers may do
with it (`_security_headers`). Who came in with a key
that is revoked meanwhile loses the connection with the next thing that is said on it. Requests that ask for work count
against the limits of their key before anything of them is read; the messages of a WebSocket wait until they may count,
and calls of MCP clients are counted where they are known.
"""

import logging
import time
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from litestar.utils.path import normalize_path

from gaia_core import LimitError
from gaia_http._errors import SERVER, ErrorReply, rate_limited
from gaia_http._json_response import send_json
from gaia_http._settings import Settings
from gaia_http.door._access_control import AccessControl, AdmittedRequest
from gaia_http.door._caller import set_caller, set_count
from gaia_http.door._cors import preflight_headers, response_headers
from gaia_http.door._envelope import OLLAMA_WORK, body_of, error_of, is_below, set_request_id, speaks_anthropic
from gaia_http.door._security_headers import security_headers
from gaia_http.door._websocket_inbox import TOO_MANY, WebSocketInbox
from gaia_http.keys import Allowances
from gaia_http.operations._logs import LogContext
from gaia_http.operations._metrics import HttpCounts
from gaia_http.streaming._sse_writer import ABORT

_log = logging.getLogger(__name__)
_access = logging.getLogger("gaia_http.access")

_NO_ROUTE = "(none)"
_FAILED = ErrorReply(
    status=500, message="the server failed; its log has more", type=SERVER, code="internal_error", logged=True
)
_HTTP_RESPONSE = "websocket.http.response"
_ANTHROPIC_ID = b"request-id"
"""Where Anthropic's SDKs read a response's id."""
_POLICY = 1008
"""The WebSocket code of who is not let in, or no longer (RFC 6455, 7.4.1)."""


class DoorMiddleware:
    """A pure ASGI middleware around a whole application."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        counts: HttpCounts,
        allowances: Allowances | None = None,
        log: LogContext | None = None,
    ) -> None:
        self._app = app
        self._log_context = log
        self._counts = counts
        self._entrance = AccessControl(settings, allowances.keyring if allowances is not None else None)
        self._most_waiting = settings.max_body_bytes
        self._allowances = allowances

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if "//" in path or path.endswith("/"):  # as Litestar finds its route, and so as limits and errors see it
            scope["path"] = normalize_path(path)
        if scope["type"] == ScopeType.HTTP:
            await self._http(scope, receive, send)
        else:  # a WebSocket; Litestar takes the lifespan itself
            await self._websocket(scope, receive, send)

    async def _http(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        entry = self._entrance.look_at(scope)
        request_id = entry.request_id
        self._note(entry)
        set_request_id(scope, request_id)
        named = ((_ANTHROPIC_ID, request_id),) if speaks_anthropic(scope) else ()
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message["headers"])
                message["headers"] = [*headers, *self._headers(entry), *named, *security_headers(headers)]
            elif self._is_revoked(entry) and (abort := scope["state"].get(ABORT)) is not None:
                abort()
            await send(message)

        try:
            if entry.refusal is not None:
                await send_error(entry.refusal, scope, send_named)
            elif entry.preflight:
                await _answer_preflight(scope, send_named)
            else:
                self._introduce(entry, scope)
                if entry.key is not None and self._allowances is not None and _leaves_something(scope):
                    self._allowances.request(entry.key, tokens=_asks_a_model(scope))
                await self._app(scope, receive, send_named)
        except LimitError as error:
            await send_error(rate_limited(str(error), error.retry_after), scope, send_named)
        except Exception:  # noqa: BLE001  # the last resort
            _log.exception("request %s failed", request_id.decode())
            if not status:
                await send_error(_FAILED, scope, send_named)
        finally:
            route = scope.get("path_template") or _NO_ROUTE
            self._counts.request(str(route), status)
            _log_request(scope, status, time.perf_counter() - began)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        entry = self._entrance.look_at(scope)
        self._note(entry)
        if entry.refusal is not None:
            await receive()  # websocket.connect
            await _refuse_websocket(entry.refusal, scope, send)
            return

        accepted = False

        async def send_while_held(message: Message) -> None:
            nonlocal accepted
            if message["type"] == "websocket.accept":
                accepted = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", entry.request_id)]
            elif message["type"] == "websocket.close" and not accepted:  # Litestar has no route for it
                await _refuse_websocket(_no_websocket(str(scope["path"])), scope, send)
                return
            elif message["type"] == "websocket.send" and self._is_revoked(entry):
                message = {"type": "websocket.close", "code": _POLICY, "reason": "the key was revoked"}
            await send(message)

        async def closed(reason: str) -> Any:
            await send({"type": "websocket.close", "code": _POLICY, "reason": reason})
            return {"type": "websocket.disconnect", "code": _POLICY, "reason": reason}

        async def receive_while_held() -> Any:
            message = await inbox.next()
            if message is None:
                return await closed(TOO_MANY)
            if message["type"] == "websocket.receive" and self._is_revoked(entry):  # while it waited, it may be
                return await closed("the key was revoked")
            return message

        inbox = WebSocketInbox(receive, lambda: self._count(entry), self._most_waiting)
        self._introduce(entry, scope)
        try:
            await self._app(scope, receive_while_held, send_while_held)
        finally:
            inbox.close()

    def _introduce(self, entry: AdmittedRequest, scope: Scope) -> None:
        """Let the application know who asks, and by what it counts the requests that the door doesn't know."""
        set_caller(scope, entry.caller)
        if entry.key is not None and self._allowances is not None:
            set_count(scope, lambda: self._count(entry))

    def _note(self, entry: AdmittedRequest) -> None:
        """Let log lines from here on say which request they are about."""
        if self._log_context is not None:
            self._log_context.request(entry.request_id.decode(), entry.caller.name)

    def _count(self, entry: AdmittedRequest) -> None:
        """Count a WebSocket's message, or an MCP call. Raises LimitError. What turns use, the runtime's quota minds."""
        if entry.key is not None and self._allowances is not None:
            self._allowances.request(entry.key, tokens=False)

    def _headers(self, entry: AdmittedRequest) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", entry.request_id)]
        if entry.origin is not None:
            headers += response_headers(entry.origin)
        if entry.key is not None and self._allowances is not None:
            headers += self._allowances.headers(entry.key)
        return headers

    def _is_revoked(self, entry: AdmittedRequest) -> bool:
        return entry.key is not None and not self._entrance.holds(entry.key)


_ACT = frozenset(("host_not_allowed", "origin_not_allowed"))
"""Codes of refusals that an operator ends, by an option of the server."""


def _log_request(scope: HTTPScope, status: int, seconds: float) -> None:
    """A line for each request: a warning with the cause where the server failed or its operator must act, unless that
    is logged already; else for --log-level info."""
    reply = error_of(scope)
    act = status >= 500 or (reply is not None and reply.code in _ACT)
    level = logging.WARNING if act and (reply is None or not reply.logged) else logging.INFO
    if not _access.isEnabledFor(level):
        return
    path = ascii(scope["path"][:200])[1:-1]
    fields = {"method": scope["method"], "path": path, "status": status, "milliseconds": seconds * 1_000}
    words = "%(method)s %(path)s %(status)s %(milliseconds).1f ms"
    if reply is not None:
        fields |= {"code": reply.code or "", "cause": reply.message}
        words += ": %(code)s: %(cause)s"
    _access.log(level, words, fields, extra=fields)


_SHOW = "/api/show"
"""Ollama's POST that only reads."""
_ANSWERS = ("/cancel", "/confirm-tool", "/user-input", "/activate")
"""How the paths end of what answers or ends something that runs: it must be possible when the limits are reached."""


def _leaves_something(scope: HTTPScope) -> bool:
    """Whether a request counts against its key's limits: any that changes something and isn't a deletion. What asks a
    model does, and so do sessions, forks, imports and uploads, which stay."""
    path = scope["path"]
    if scope["method"] not in ("POST", "PUT", "PATCH") or path.endswith(_ANSWERS):
        return False
    return path in OLLAMA_WORK or is_below(path, "/v1") or (is_below(path, "/api") and path != _SHOW)


def _asks_a_model(scope: HTTPScope) -> bool:
    """Whether a request that counts needs tokens, too."""
    path = scope["path"]
    return path == "/api/chat/send" or path in OLLAMA_WORK or is_below(path, "/v1")


async def _answer_preflight(scope: Scope, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": [*preflight_headers(scope["headers"])]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _no_websocket(path: str) -> ErrorReply:
    return ErrorReply(status=404, message=f"there is no WebSocket {path[:200]}", code="unknown_url")


async def _refuse_websocket(reply: ErrorReply, scope: Scope, send: Any) -> None:
    """Answer the handshake with *reply*, where the server can; else it says 403."""
    if _HTTP_RESPONSE not in (scope.get("extensions") or ()):
        await send({"type": "websocket.close", "code": _POLICY, "reason": reply.code or ""})
        return

    async def send_http(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *security_headers(())]
        await send({**message, "type": f"websocket.{message['type']}"})

    await send_error(reply, scope, send_http)


async def send_error(reply: ErrorReply, scope: Scope, send: Send) -> None:
    """Send *reply* in the envelope of the protocol that the request speaks."""
    headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in reply.headers]
    await send_json(send, body_of(reply, scope), headers, reply.status)
