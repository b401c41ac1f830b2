"""uvicorn's HTTP protocol with the bounds that it lacks with httptools, of bytes and of time.

| what | bound | what happens then |
|---|---|---|
| a request's head | 2 * `max_header_bytes`, `HEAD_SECONDS` | 431, 408 |
| a body, whoever reads it | four times the most that a route takes | the connection is closed |
| a body that goes on after its answer | `body_seconds` | the connection is closed |
| an answer that its client doesn't read | `write_seconds` without a byte | the connection is aborted |
"""

import asyncio
import logging
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gaia_http._errors import ErrorReply
from gaia_http._line import ABORT
from gaia_http._settings import Settings

HEAD_SECONDS = 30.0
_LOOKS = 4
"""How often within `write_seconds` it is looked whether a client reads. It is dropped up to one look late, so that a
stream (`_line`), which knows more of its reader, comes first."""

_log = logging.getLogger(__name__)


class BoundedProtocol(HttpToolsProtocol):
    """One connection, within the bounds of *settings*. *seconds*: how long a request's head may take."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        settings: Settings,
        seconds: float = HEAD_SECONDS,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._most = 2 * settings.max_header_bytes
        # A route refuses sooner, once it has read a few times its bound (`_body`); a form has a little around its file.
        self._most_body = 4 * max(settings.max_body_bytes, settings.max_file_bytes) + 1_000_000
        self._seconds = seconds
        self._body_seconds = settings.body_seconds
        self._write_seconds = settings.write_seconds
        self._head_bytes = 0
        self._body_bytes = 0
        self._in_head = True
        self._in_body = False
        self._deadline: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._unread: int | None = None
        self._unread_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self._seconds, self._refuse_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        self._stop_looking()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self._stop_looking()  # from here on, another protocol has the connection
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self._most:
            self._refuse(431, f"the headers have more than {self._most} bytes", "headers_too_large")

    def on_message_begin(self) -> None:
        self._in_head = True
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._seconds, self._refuse_slow)
        super().on_message_begin()
        self.scope["state"][ABORT] = self.transport.abort

    def on_headers_complete(self) -> None:
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

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        self._in_body = False
        self._stop_clock()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._look_at_reader()  # what is written may be less than what pauses the writer, and is kept all the same
        if self._in_body and self.cycle.response_complete and not self.transport.is_closing():
            self._stop_clock()
            self._deadline = self.loop.call_later(self._body_seconds, self._close_unfinished)
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_at_reader()

    def resume_writing(self) -> None:
        self._unread = None
        super().resume_writing()

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_unfinished(self) -> None:
        """Close a connection whose request goes on and on; what was answered is written."""
        if self.cycle.response_complete:
            self.transport.close()
        else:
            self.transport.abort()

    def _look_at_reader(self) -> None:
        """Look now and then whether the client reads, until nothing is left to be written."""
        if self._look is None and self.transport.get_write_buffer_size():
            self._unread = None
            self._look = self.loop.call_later(self._write_seconds / _LOOKS, self._on_look)

    def _on_look(self) -> None:
        self._look = None
        unread = self.transport.get_write_buffer_size()
        if not unread:
            return
        now = self.loop.time()
        if unread != self._unread:  # a large answer is one write: a slow reader is no stalled one
            self._unread, self._unread_since = unread, now
        elif now - self._unread_since >= self._write_seconds:
            _log.warning("a connection is dropped: its client has read nothing for %g s", self._write_seconds)
            self.transport.abort()
            return
        self._look = self.loop.call_later(self._write_seconds / _LOOKS, self._on_look)

    def _stop_looking(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _refuse_slow(self) -> None:
        self._deadline = None
        if self._head_bytes:
            self._refuse(408, f"the headers did not arrive within {self._seconds:g} s", "request_timeout")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str, code: str) -> None:
        if self.transport.is_closing():
            return
        body = ErrorReply(status=status, message=message, code=code).body
        head = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self._look_at_reader()
        self.transport.close()
