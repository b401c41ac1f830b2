"""uvicorn's HTTP protocol with the bounds that it lacks with httptools, of bytes and of time.

| what | bound | what happens then |
|---|---|---|
| a request's head | 2 * `max_header_bytes`, `HEAD_SECONDS` | 431, 408 |
| what is around a chunked body: trailers, which are ignored, and extensions | 4 * `max_header_bytes` | 431 |
| requests before the first is answered | 64 | the connection is aborted |
| a body, on any route | four times the most that a route takes | the connection is closed |
| a body, on a route that doesn't keep the time itself | `body_seconds` and a little more | 408 |
| a body that continues after its answer | `body_seconds` | the connection is closed |
| an answer that its client doesn't read | `write_seconds` without a byte | the connection is aborted |
| all connections together | see `_connections` | 503, or the connection is closed |
"""

import asyncio
from functools import partial
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gaia_http._errors import ErrorReply
from gaia_http._settings import Settings
from gaia_http.door._request_body import SPOOLED
from gaia_http.door._security_headers import security_headers
from gaia_http.server._connections import SEAT, Connections, Seat
from gaia_http.server._head_coalescing import HeadCoalescing
from gaia_http.server._write_watchdog import MUCH, WriteWatchdog
from gaia_http.streaming._sse_writer import ABORT

HEAD_SECONDS = 30.0
_GRACE_SECONDS = 2.0
"""By how much a route that keeps the time of its body itself, and answers in its own envelope, comes first."""
_LINGER_SECONDS = 2.0
"""How long a refused body is still read."""
_FRAMING = 7
"""A byte of a chunked body may come as a chunk of its own: `1`, line end, itself, line end; and a little more."""
_PIPELINED = 64
"""Requests that may come before the first is answered. uvicorn reads on after each answer, whatever waits."""
_OFFERS = frozenset((b"upgrade", b"http2-settings"))


class BoundedProtocol(HttpToolsProtocol):
    """One connection, within the bounds of *settings*. *seconds*: how long a request's head may take. *connections*:
    all of the server's.

    Its methods are callbacks of the transport, of the parser and of timers, all on one event loop, and none awaits.
    Only `on_response_complete` runs in the request's task, called by uvicorn when the answer is complete.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        settings: Settings,
        seconds: float = HEAD_SECONDS,
        connections: Connections | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._connections = connections if connections is not None else Connections(settings)
        self._seat: Seat | None = None
        """Set by `connection_made`, given back by `connection_lost`, or when another protocol takes over."""
        self._most = 2 * settings.max_header_bytes
        # A route refuses sooner (`_request_body`: a few times its bound); a form adds a little to its file.
        self._most_body = 4 * max(settings.max_body_bytes, settings.max_file_bytes) + 1_000_000
        self._seconds = seconds
        self._body_seconds = settings.body_seconds
        self._write_seconds = settings.write_seconds
        self._head_bytes = 0
        """Bytes since the last complete request, those of bodies included. Counted by `data_received`, reset by
        `on_message_complete`."""
        self._body_bytes = 0
        """Bytes of the present body. Counted by `on_body`, reset by `on_headers_complete`."""
        self._in_head = True
        """Set by `on_message_begin`, reset by `on_headers_complete`."""
        self._in_body = False
        """Set by `on_headers_complete`, reset by `on_message_complete`."""
        self._deadline: asyncio.TimerHandle | None = None
        """The one timer for what the client sends: for a head (from the connection's or message's beginning), for a
        body that didn't come with its head, or for one that continues after its answer. `_stop_clock` cancels it, at
        the latest when the connection is lost."""
        self._reader: WriteWatchdog | None = None
        """Set by `connection_made`, stopped by `connection_lost` or when another protocol takes over."""
        self._refused = False
        """The body that arrives was refused. Set by `refuse_body`."""
        self._answered: RequestResponseCycle | None = None
        """The request whose task was started last. Written by `_start_asgi_task`. uvicorn's `cycle` may be a later
        one, which waits."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._reader = WriteWatchdog(transport, self.loop, self._write_seconds)
        seat = self._connections.take(self, self.client[0] if self.client else None)
        if isinstance(seat, str):
            self._refuse(503, seat, "too_many_connections")
            return
        self._seat = seat
        self._connections.idle(seat)
        self._deadline = self.loop.call_later(self._seconds, self._refuse_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        self._stop_looking()
        seat, self._seat = self._seat, None  # which refers to this connection
        if seat is not None:
            self._connections.leave(seat)
        super().connection_lost(exc)
        for cycle in (self.cycle, self._answered):
            if cycle is not None:
                cycle.scope["state"].pop(SPOOLED, None)  # it refers to this connection, as the cycle is referred to
        if self._answered is not None:  # uvicorn tells the newest request, and not the one that is being answered
            self._answered.disconnected = True
            self._answered.message_event.set()

    def handle_websocket_upgrade(self) -> None:
        self._stop_looking()  # from here on, another protocol has the connection
        seat, self._seat = self._seat, None
        self.app_state = self.app_state | {SEAT: (self._connections, seat)}
        super().handle_websocket_upgrade()

    # What `Connections` asks of it.

    def evict(self) -> None:
        """See ServedConnection."""
        self.transport.close()

    def refuse_body(self, message: str) -> None:
        """See ServedConnection. What still comes is read and thrown away for a while: a client that sends before it
        reads would lose the answer by a reset."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle is not self._answered or cycle.response_started or self.transport.is_closing():
            self.transport.abort()
            return
        self._stop_clock()
        self._refused = True
        self.transport.write(_reply(503, message, "too_many_unfinished_requests", (("retry-after", "5"),)))
        self._deadline = self.loop.call_later(_LINGER_SECONDS, self.transport.close)
        self.flow.resume_reading()
        cycle.disconnected = True  # the handler that reads the body gets a disconnect
        cycle.message_event.set()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._head_bytes += len(data)
        if self._refused or self.transport.is_closing():  # what was on its way comes nevertheless
            return
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._refuse(400, f"this is no HTTP request: {error}", "invalid_http")
            return
        if self._in_head and self._head_bytes > self._most:
            self._refuse(431, f"the headers have more than {self._most} bytes", "headers_too_large")
        elif self._in_body and self._head_bytes - _FRAMING * self._body_bytes > 2 * self._most:
            self._refuse(431, f"what is around the body has more than {2 * self._most} bytes", "headers_too_large")
        elif len(self.pipeline) > _PIPELINED:
            self.transport.abort()
        elif len(data) > MUCH and not self.transport.is_closing():
            # Until the loop's next round, so that other connections have their turn.
            self.transport.pause_reading()
            self.loop.call_soon(self._read_on)
        if self._in_body and self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self._body_seconds + _GRACE_SECONDS, self._refuse_slow_body)

    def _read_on(self) -> None:
        # Called later: uvicorn may have paused the reading meanwhile, which it then ends itself, or the connection may
        # be closing.
        if not self.flow.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            elif self.parser.get_method() == b"CONNECT":
                self._refuse(405, "this server is no proxy", "method_not_allowed")
            else:
                self._decline_upgrade()
                self._feed(data[upgrade.args[0] :])

    def _decline_upgrade(self) -> None:
        """Read the head again, without its offer of another protocol, for which the parser has passed over the body.

        Java's client and `curl --http2` make that offer; who doesn't take it just answers (RFC 9110, 7.8).
        """
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name not in _OFFERS]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.parser.feed_data(b"\r\n".join((*lines, b"", b"")))

    def _should_upgrade(self) -> bool:
        return bool(self.parser.get_method() == b"GET" and super()._should_upgrade())

    def _is_declined(self) -> bool:
        return bool(self.parser.should_upgrade()) and not self._should_upgrade()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        together = HeadCoalescing(self.transport, self.loop)
        cycle.transport = cast("asyncio.Transport", together)
        cycle.on_response = partial(self._on_response, together)
        super()._start_asgi_task(cycle, app)

    def on_message_begin(self) -> None:
        self._in_head = True
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._seconds, self._refuse_slow)
        super().on_message_begin()
        if self._seat is not None:
            self._connections.busy(self._seat)
        self.scope["state"][ABORT] = self.transport.abort
        self.scope["state"][SPOOLED] = self._spooled

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers are ignored: the checks of the head didn't see them
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_declined():
            return
        self._in_head = False
        self._in_body = True
        self._body_bytes = 0
        self._stop_clock()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._most_body:
            self._close_unfinished()
            return
        super().on_body(body)
        if self._seat is not None and not self.cycle.response_complete:
            self._connections.receiving(self._seat, len(body))

    def _spooled(self, size: int) -> None:
        """The application has put *size* bytes of the body on disk."""
        if self._seat is not None and self._in_body:
            self._connections.receiving(self._seat, -min(size, self._seat.unfinished))

    def on_message_complete(self) -> None:
        if self._is_declined():
            return
        self._head_bytes = 0
        self._in_body = False
        self._stop_clock()
        if self._seat is not None:
            self._connections.received(self._seat)
        super().on_message_complete()

    def _on_response(self, together: HeadCoalescing) -> None:
        together.flush()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        self._look_at_reader()  # what is written may be less than what pauses the writer, and is kept all the same
        if self._in_body and self.cycle.response_complete and not self.transport.is_closing():
            self._stop_clock()
            self._deadline = self.loop.call_later(self._body_seconds, self._close_unfinished)
        super().on_response_complete()
        if self._seat is not None and self._answered is not None and self._answered.response_complete:
            self._connections.received(self._seat)
            if not self._in_body and not self._in_head:
                self._connections.idle(self._seat)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_at_reader()
        if self._seat is not None:
            self._connections.slow(self._seat)

    def resume_writing(self) -> None:
        if self._seat is not None:
            self._connections.quick(self._seat)
        if self._reader is not None:
            self._reader.has_read()
        super().resume_writing()

    def _look_at_reader(self) -> None:
        if self._reader is not None:
            self._reader.look()

    def _stop_looking(self) -> None:
        if self._reader is not None:
            self._reader.stop()

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_unfinished(self) -> None:
        """Close a connection whose request body doesn't end; what was answered is written."""
        if self.cycle.response_complete:
            self.transport.close()
        else:
            self.transport.abort()

    def _refuse_slow(self) -> None:
        self._deadline = None
        if self._head_bytes:
            self._refuse(408, f"the headers did not arrive within {self._seconds:g} s", "request_timeout")
        else:
            self.transport.close()

    def _refuse_slow_body(self) -> None:
        self._deadline = None
        self._refuse(408, f"the body did not arrive within {self._body_seconds:g} s", "request_timeout")

    def _refuse(self, status: int, message: str, code: str) -> None:
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete and (cycle.response_started or not self._in_body):
            self.transport.abort()  # the answer to a good request is on its way: there is no place for another
            return
        self.transport.write(_reply(status, message, code))
        self._look_at_reader()
        self.transport.close()


def _reply(status: int, message: str, code: str, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    """A whole answer, after which the connection closes."""
    body = ErrorReply(status=status, message=message, code=code).body
    head = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers)
    security = b"".join(b"%s: %s\r\n" % header for header in security_headers(()))
    return head.encode() + security + b"connection: close\r\n\r\n" + body
