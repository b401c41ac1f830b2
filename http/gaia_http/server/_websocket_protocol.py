"""uvicorn's WebSocket protocol with the bounds that it lacks, and with our errors where a handshake fails.

| what | bound |
|---|---|
| pings | a pong for the newest of those that came together (RFC 6455, 5.5.3); none are read while pongs aren't |
| a client that reads nothing | `write_seconds`, then it is aborted: a close would wait for that client |
"""

import asyncio
import email.utils
import http
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.frames import Frame
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from gaia_http._errors import ErrorReply
from gaia_http._settings import Settings
from gaia_http.server._connections import SEAT, Connections, Seat
from gaia_http.server._write_watchdog import MUCH, WriteWatchdog
from gaia_http.streaming._sse_writer import ABORT


class _Handshake(ServerProtocol):
    """Refuses in the envelope."""

    def reject(self, status: http.HTTPStatus | int, text: str) -> Response:
        """See ServerProtocol."""
        status = http.HTTPStatus(status)
        body = ErrorReply(status=status.value, message=text.strip() or status.phrase, code="invalid_handshake").body
        headers = Headers(
            [
                ("Date", email.utils.formatdate(usegmt=True)),
                ("Connection", "close"),
                ("Content-Length", str(len(body))),
                ("Content-Type", "application/json"),
            ]
        )
        return Response(status.value, status.phrase, headers, body)


class BoundedSocket(WebSocketsSansIOProtocol):
    """One connection, within the bounds of *settings*.

    Its methods are callbacks on one event loop; only `send` is awaited, by the application's task. uvicorn starts that
    task and calls `on_task_complete` when it has ended or failed.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        settings: Settings,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = _Handshake(
            extensions=self.conn.available_extensions, max_size=settings.max_body_bytes, logger=self.logger
        )
        self._write_seconds = settings.write_seconds
        self._reader: WriteWatchdog | None = None
        """Set by `connection_made`, stopped by `connection_lost`."""
        self.app_state = {**app_state}
        self._connections: Connections | None = None
        self._seat: Seat | None = None
        """The server's connections, and this one's place among them, which `connection_lost` gives back."""
        if SEAT in self.app_state:
            self._connections, seat = self.app_state.pop(SEAT)
            if self._connections is not None and seat is not None:
                self._seat = self._connections.take_over(seat, self)

    # What `Connections` asks of it.

    def evict(self) -> None:
        """See ServedConnection: a WebSocket is never idle."""

    def refuse_body(self, message: str) -> None:
        """See ServedConnection: there is no answer to a message that isn't whole."""
        self.logger.warning("a WebSocket is closed: %s", message)
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._reader = WriteWatchdog(self.transport, self.loop, self._write_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reader is not None:
            self._reader.stop()
        if self._connections is not None and self._seat is not None:
            self._connections.leave(self._seat)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._connections is not None and self._seat is not None and self.handshake_complete:
            self._connections.receiving(self._seat, len(data))
        super().data_received(data)
        if len(data) > MUCH and not self.transport.is_closing():
            self.transport.pause_reading()
            self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        # Called later, or when writing resumes. Who has paused meanwhile (uvicorn's queue of messages, a full write
        # buffer) resumes it.
        if not self.read_paused and self.writable.is_set() and not self.transport.is_closing():
            self.transport.resume_reading()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["state"][ABORT] = self.transport.abort

    def send_receive_event_to_app(self) -> None:
        """See WebSocketsSansIOProtocol: a message is whole."""
        if self._connections is not None and self._seat is not None:
            self._connections.received(self._seat)
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        """The pong waits for the end of what came with the ping."""
        self._control_frame()

    def handle_pong(self, event: Frame) -> None:
        """See WebSocketsSansIOProtocol."""
        self._control_frame()
        super().handle_pong(event)

    def _control_frame(self) -> None:
        # It is whole, and so was what came before it, unless a message in fragments waits for its end.
        if self._connections is not None and self._seat is not None and not self.frames:
            self._connections.received(self._seat)

    def handle_events(self) -> None:
        super().handle_events()
        if not self.transport.is_closing() and (pongs := self.conn.data_to_send()):
            self.transport.write(pongs[-1])

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()
        self._look()
        if self._connections is not None and self._seat is not None:
            self._connections.slow(self._seat)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._connections is not None and self._seat is not None:
            self._connections.quick(self._seat)
        if self._reader is not None:
            self._reader.has_read()
        self._read_on()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._look()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self._look()

    async def send(self, message: Any) -> None:
        """See WebSocketsSansIOProtocol; a handshake that was refused is complete, too."""
        await super().send(message)
        # Only now: the refusal is written. A lost connection raises above.
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def _look(self) -> None:
        if self._reader is not None:
            self._reader.look()
