"""The door: what every request passes before Litestar sees it, and the last resort when something fails.

Checks that cost microseconds and need nothing: the Host (a page of another site that makes its name point here must
not reach a local agent: DNS rebinding), the Origin (nor may it post here from a browser), the size of the headers.
Every response gets an `x-request-id`.
"""

import logging
import os
import re
import time
from collections.abc import Iterable

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gaia_http._errors import SERVER, ErrorReply
from gaia_http._metrics import HttpCounts
from gaia_http._settings import Settings

_log = logging.getLogger(__name__)
_access = logging.getLogger("gaia_http.access")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}\Z")
_NO_ROUTE = "(none)"
_FAILED = ErrorReply(status=500, message="the server failed; its log has more", type=SERVER, code="internal_error")


class Door:
    """A pure ASGI middleware around a whole application."""

    def __init__(self, app: ASGIApp, settings: Settings, counts: HttpCounts) -> None:
        self._app = app
        self._settings = settings
        self._counts = counts
        self._hosts = settings.hosts
        self._origins = frozenset(settings.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id, refusal = self._look_at(scope["headers"])
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        try:
            if refusal is not None:
                await send_error(refusal, scope, send_named)
            else:
                await self._app(scope, receive, send_named)
        except Exception:  # noqa: BLE001  # the last resort
            _log.exception("request %s failed", request_id.decode())
            if not status:
                await send_error(_FAILED, scope, send_named)
        finally:
            route = scope.get("path_template") or _NO_ROUTE
            self._counts.request(str(route), status)
            if _access.isEnabledFor(logging.INFO):
                milliseconds = (time.perf_counter() - began) * 1_000
                path = ascii(scope["path"][:200])[1:-1]
                _access.info("%s %s %s %.1f ms %s", scope["method"], path, status, milliseconds, request_id.decode())

    def _look_at(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, ErrorReply | None]:
        """The request's id, and why it must not go on."""
        count = size = 0
        request_id = b""
        refusal: ErrorReply | None = None
        for name, value in headers:
            count += 1
            size += len(name) + len(value)
            if name == b"host":
                refusal = refusal or self._host_refused(value.decode("latin-1"))
            elif name == b"origin":
                refusal = refusal or self._origin_refused(value.decode("latin-1"))
            elif name == b"x-request-id" and _REQUEST_ID.match(value):
                request_id = value
        settings = self._settings
        if size > settings.max_header_bytes or count > settings.max_headers:
            refusal = ErrorReply(
                status=431,
                message=f"the headers are {count} of {size} bytes; at most {settings.max_headers} of "
                f"{settings.max_header_bytes} bytes are taken (max_headers, max_header_bytes)",
                code="headers_too_large",
                headers=(("connection", "close"),),
            )
        return request_id or b"req_" + os.urandom(16).hex().encode(), refusal

    def _host_refused(self, host: str) -> ErrorReply | None:
        if host_name(host) in self._hosts or "*" in self._hosts:
            return None
        return ErrorReply(
            status=403,
            message=f"the host {host[:200]!r} is not served here; if it should be, add it to allowed_hosts",
            code="host_not_allowed",
        )

    def _origin_refused(self, origin: str) -> ErrorReply | None:
        lowered = origin.lower()
        name = host_name(lowered.partition("://")[2])
        if (name and name in self._hosts) or lowered in self._origins:
            return None
        return ErrorReply(
            status=403,
            message=f"pages of {origin[:200]!r} may not call this server; if they should, add it to allowed_origins",
            code="origin_not_allowed",
        )


def host_name(host: str) -> str:
    """The name in `name:port`, lower case, without a trailing dot; an IPv6 address keeps its brackets."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].rstrip(".").lower()


async def send_error(reply: ErrorReply, scope: Scope, send: Send) -> None:
    """Send *reply*: the envelope below /v1, `{"detail"}` below /api, plain JSON elsewhere."""
    body = body_of(reply, str(scope["path"]))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode("latin-1", "replace")) for name, value in reply.headers),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def body_of(reply: ErrorReply, path: str) -> bytes:
    """*reply* as it is sent for *path*."""
    if is_below(path, "/v1"):
        return reply.body
    return reply.ui_body if is_below(path, "/api") else reply.plain_body


def is_below(path: str, prefix: str) -> bool:
    """Whether *path* is *prefix* or below it."""
    return path == prefix or path.startswith(f"{prefix}/")
