"""Requests as spans: the outermost layer of an application that is traced (see `gaia_core.telemetry`).

The trace that a client sends (W3C `traceparent`, `tracestate`) is continued; the turns that a request begins are
children of its span. Names: OpenTelemetry's conventions for HTTP servers. No span has the query: it may hold a secret.
"""

import time

from litestar.types import ASGIApp, Message, Receive, Scope, Send
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode

from gaia_core.telemetry import OpenTelemetry

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_UNTOLD = frozenset(("/health", "/ready", "/metrics"))
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_PATH_CHARS = 200


class RequestSpans:
    """A pure ASGI middleware."""

    def __init__(self, app: ASGIApp, telemetry: OpenTelemetry) -> None:
        self._app = app
        self._telemetry = telemetry
        self._seconds = telemetry.meter.create_histogram(
            "http.server.request.duration",
            "s",
            "Duration of HTTP server requests.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in _UNTOLD:
            await self._app(scope, receive, send)
            return
        asked = str(scope.get("method", "GET"))
        method = asked if asked in _METHODS else "_OTHER"
        status = 0

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        carried = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        parent = self._telemetry.propagator.extract(carried, Context())
        about = {"http.request.method": method, "url.scheme": str(scope.get("scheme", "http"))}
        more = {"url.path": scope["path"][:_PATH_CHARS]}
        began = time.monotonic()
        with self._telemetry.tracer.start_as_current_span(
            method, parent, SpanKind.SERVER, {**about, **more}, record_exception=False
        ) as span:
            try:
                await self._app(scope, receive, send_seen)
            finally:
                measured: dict[str, str | int] = {**about}
                if route := scope.get("path_template"):
                    measured["http.route"] = str(route)
                    span.update_name(f"{method} {route}")
                if status:
                    measured["http.response.status_code"] = status
                if status >= 500:
                    measured["error.type"] = str(status)
                    span.set_status(StatusCode.ERROR)
                span.set_attributes(measured)
                self._seconds.record(time.monotonic() - began, measured)
