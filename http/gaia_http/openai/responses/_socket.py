"""Responses over a WebSocket, on the path of POST /v1/responses: a `response.create` message each, one at a time.

Each event is a text message. What is not stored may be gone on with, but only from the newest response and on its own
connection, whose memory ends with it. `generate: false` takes the input in and answers nothing yet. A client that goes
takes the turn that runs with it (source: OpenAI's guide to the WebSocket mode of the Responses API).
"""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
from litestar.connection import WebSocket
from litestar.types import Receive, Scope, Send

from gaia_core import GaiaError
from gaia_core.messages import Message
from gaia_http._caller import Caller, caller_of
from gaia_http._errors import ApiError, ErrorReply, encoded, invalid, of_exception
from gaia_http._metrics import HttpCounts
from gaia_http._settings import Settings
from gaia_http.openai._wire import decode_body, shortened
from gaia_http.openai.responses._answer import STOPS
from gaia_http.openai.responses._begun import Begun, Warmed
from gaia_http.openai.responses._create import Beginning
from gaia_http.openai.responses._object import failure_of
from gaia_http.openai.responses._output import Output
from gaia_http.openai.responses._wire import CreateRequest, decode_create

_WAITING = 8
"""Messages that may come while a response runs."""

_POLICY = 1008
"""The code of a connection that is closed because its client does what it may not (RFC 6455, 7.4.1)."""


class _Head(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None
    generate: bool | None = None


_head_decoder = msgspec.json.Decoder(_Head)


class ResponseSocket:
    """The WebSocket handler of one application."""

    def __init__(self, beginning: Beginning, settings: Settings, counts: HttpCounts) -> None:
        self._beginning = beginning
        self._settings = settings
        self._counts = counts

    async def handle(self, socket: WebSocket[Any, Any, Any]) -> None:
        """Serve one connection until its client goes."""
        await socket.accept()
        self._counts.open_streams += 1
        connection = _Connection(self._beginning, self._settings, socket.scope, socket.receive, socket.send)
        try:
            await connection.serve()
        finally:
            self._counts.open_streams -= 1


class _Gone(Exception):  # noqa: N818  # not an error
    """The client has gone, or its connection was closed."""


class _Connection:
    """One connection: what it may go on from, and the messages that wait."""

    def __init__(self, beginning: Beginning, settings: Settings, scope: Scope, receive: Receive, send: Send) -> None:
        self._beginning = beginning
        self._settings = settings
        self._scope = scope
        self._caller: Caller = caller_of(scope)
        self._receive = receive
        self._send = send
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)
        self._newest: tuple[str, tuple[Message, ...]] | None = None
        self._begun: Begun | None = None
        self._output: Output | None = None
        self._closed = False

    async def serve(self) -> None:
        """Answer message after message."""
        reader = asyncio.create_task(self._read(), name="gaia socket")
        try:
            while (body := await self._messages.get()) is not None:
                await self._answer(body)
        except _Gone:
            pass
        finally:
            reader.cancel()
            await self._stop()

    async def _read(self) -> None:
        """Take in messages; the client that goes ends what runs."""
        while True:
            message = await self._receive()
            if message["type"] != "websocket.receive":
                self._closed = True
                await self._stop()
                break
            text, data = message.get("text"), message.get("bytes")
            body = text.encode("utf-8", "surrogatepass") if text is not None else data or b""
            if self._messages.full():
                await self._close(_POLICY, "too many messages at once: wait for each response to end")
                break
            self._messages.put_nowait(body)
        while self._messages.full():
            self._messages.get_nowait()
        self._messages.put_nowait(None)

    async def _stop(self) -> None:
        begun, output = self._begun, self._output
        if begun is not None and begun.owned and output is not None and not output.done:
            await begun.cancel()

    async def _answer(self, body: bytes) -> None:
        try:
            head = decode_body(body, _head_decoder)
            if head.type != "response.create":
                kind = shortened(head.type or "")
                raise invalid(f"type: {kind!r} is not taken; send response.create", param="type", code="invalid_value")
            request = decode_create(body)
            await self._respond(request, warm=head.generate is False)
        except ApiError as error:
            await self._refuse(error.reply)
        except GaiaError as error:
            reply = of_exception(error)
            if reply is None:
                raise
            await self._refuse(reply)

    async def _respond(self, request: CreateRequest, *, warm: bool) -> None:
        if request.background:
            raise invalid("background: a WebSocket's responses belong to it", param="background", code="invalid_value")
        newest, previous = self._newest, request.previous_response_id
        base = newest[1] if newest is not None and previous == newest[0] else None
        if warm:
            await self._warm(await self._beginning.warmed(request, self._caller, base))
            return
        begun = self._begun = await self._beginning.begin(request, self._caller, self._scope, base)
        output = self._output = Output(begun.ref, begun.note)
        self._newest = None
        async for batch in begun.batches():
            for _, data in output.take(batch):
                await self._tell(data)
            if output.done:
                break
        if not output.done:
            for _, data in output.fail(failure_of(STOPS, tools_ran=output.tools_ran)):
                await self._tell(data)
        if begun.ref.session == "" and output.failure is None and begun.turn is not None:
            self._newest = (begun.ref.id, (*begun.said, *begun.turn.messages))
        self._begun = self._output = None

    async def _warm(self, warmed: Warmed) -> None:
        """Answer a request that only brings its input."""
        self._newest = (warmed.ref.id, warmed.messages)
        for _, data in warmed.told:
            await self._tell(data)

    async def _tell(self, data: bytes) -> None:
        if self._closed:
            raise _Gone
        try:
            async with asyncio.timeout(self._settings.write_seconds):
                await self._send({"type": "websocket.send", "text": data.decode(), "bytes": None})
        except TimeoutError:
            await self._close(_POLICY, "nothing was read for long")
            raise _Gone from None

    async def _refuse(self, reply: ErrorReply) -> None:
        """An error that is no part of a response."""
        nested = {"type": reply.type, "code": reply.code, "message": reply.message, "param": reply.param}
        event = {
            "type": "error",
            "status": reply.status,
            "code": reply.code,
            "message": reply.message,
            "param": reply.param,
            "error": {**nested, "headers": dict(reply.headers)},
            "sequence_number": 0,
        }
        await self._tell(encoded(event))

    async def _close(self, code: int, reason: str) -> None:
        self._closed = True
        with suppress(Exception):  # it may be closed already
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        await self._stop()
