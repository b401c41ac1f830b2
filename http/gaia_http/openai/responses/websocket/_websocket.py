"""Responses over a WebSocket, on the path of POST /v1/responses: a `response.create` message each, one at a time.

Each event is a text message. A response that is not stored can be continued too, but only the newest one, on its own
connection, which keeps it in memory. `generate: false` takes the input without an answer. Messages with a `stream_id`
have a lane of their own: one response at a time in each lane, all lanes at once, and every event names its stream.
`response.steer` adds input to a running response (see `_steering`). If the client disconnects, its running responses
are cancelled (sources: OpenAI's guide to the WebSocket mode of the Responses API; the official SDK's message types).
"""

import asyncio
import logging
from collections import OrderedDict, deque
from contextlib import suppress
from typing import Any

import attrs
import msgspec
from litestar.connection import WebSocket
from litestar.types import Receive, Scope, Send

from gaia_core import GaiaError
from gaia_core.messages import Message
from gaia_http._errors import ApiError, ErrorReply, encoded, invalid, of_exception
from gaia_http._settings import Settings
from gaia_http.door._caller import Caller, caller_of
from gaia_http.openai.responses._create_response import ResponseCreation
from gaia_http.openai.responses._request_state import Begun, Warmed
from gaia_http.openai.responses.input._wire import CreateRequest, decode_create
from gaia_http.openai.responses.output._response_answer import STOPS
from gaia_http.openai.responses.output._response_events import ResponseEvents
from gaia_http.openai.responses.output._response_object import failure_of
from gaia_http.openai.responses.websocket._steering import (
    MOST_PENDING,
    QueuedSteer,
    Steer,
    accepted,
    failed,
    following,
    pending,
    required_input,
    why_not,
    with_steers,
)
from gaia_http.operations._metrics import HttpCounts
from gaia_http.request._decoding import decode_body
from gaia_http.request._fields import invalid_at, not_one_of
from gaia_http.streaming._sse_writer import ABORT

_WAITING = 8
"""Messages that may wait, in all lanes; together they may have the bytes of the largest one."""

_LANES = 16
"""Lanes that are remembered, those that run among them."""

_LANE_CHARS = 256

_POLICY = 1008
"""The code of a connection that is closed because its client does what it may not (RFC 6455, 7.4.1)."""


class _MessageHead(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None
    generate: bool | None = None
    stream_id: str | None = None


_log = logging.getLogger(__name__)

_head_decoder = msgspec.json.Decoder(_MessageHead)
_steer_decoder = msgspec.json.Decoder(Steer)


class ResponseSocket:
    """The WebSocket handler of one application."""

    def __init__(self, creation: ResponseCreation, settings: Settings, counts: HttpCounts) -> None:
        self._creation = creation
        self._settings = settings
        self._counts = counts

    async def handle(self, socket: WebSocket[Any, Any, Any]) -> None:
        """Serve one connection until its client goes."""
        await socket.accept()
        self._counts.open_streams += 1
        connection = _SocketConnection(self._creation, self._settings, socket.scope, socket.receive, socket.send)
        try:
            await connection.serve()
        finally:
            self._counts.open_streams -= 1


class _ClientDisconnected(Exception):  # noqa: N818  # not an error
    """The client has gone, or its connection was closed."""


@attrs.define(eq=False)
class _Lane:
    """Responses that follow each other. *id*: what the client calls it; None: it doesn't."""

    id: str | None
    messages: deque[bytes] = attrs.field(factory=deque)
    newest: tuple[str, tuple[Message, ...]] | None = None
    """What may be gone on from without a record."""
    begun: Begun | None = None
    output: ResponseEvents | None = None
    steers: list[QueuedSteer] = attrs.field(factory=list)
    """What was said to responses that run, or that wait for their client."""
    busy: bool = False

    @property
    def running(self) -> str | None:
        """The response that runs."""
        return self.begun.ref.id if self.begun is not None else None

    def taken(self, target: str) -> list[QueuedSteer]:
        """What was said to the response *target*, which is taken away."""
        taken = [steer for steer in self.steers if steer.target == target]
        self.steers = [steer for steer in self.steers if steer.target != target]
        return taken


class _SocketConnection:
    """One connection: its lanes, and the messages that wait in them."""

    def __init__(
        self, creation: ResponseCreation, settings: Settings, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._creation = creation
        self._settings = settings
        self._scope = scope
        self._caller: Caller = caller_of(scope)
        self._receive = receive
        self._send = send
        self._lanes: OrderedDict[str | None, _Lane] = OrderedDict()
        self._ended: deque[str] = deque(maxlen=_LANES)
        self._steered = 0
        self._closed = False

    async def serve(self) -> None:
        """Answer message after message."""
        async with asyncio.TaskGroup() as tasks:
            try:
                while (body := await self._next()) is not None:
                    head = self._head(body)
                    if head is not None and head.type == "response.steer":
                        await self._steer(body)
                        continue
                    lane = self._lane(head.stream_id if head is not None else None)
                    if lane is None or self._is_full(body):
                        await self._close(_POLICY, "too many messages at once: wait for each response to end")
                        break
                    lane.messages.append(body)
                    if not lane.busy:
                        lane.busy = True
                        tasks.create_task(self._run(lane), name="gaia socket")
            except _ClientDisconnected:
                pass
            finally:
                await self._stop()

    async def _next(self) -> bytes | None:
        """The next message; None: the client has gone, and what runs was ended."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self._closed = True
            return None
        text, data = message.get("text"), message.get("bytes")
        return text.encode("utf-8", "surrogatepass") if text is not None else data or b""

    def _is_full(self, body: bytes) -> bool:
        """Whether *body* may not wait, too."""
        waiting = [len(each) for lane in self._lanes.values() for each in lane.messages]
        return len(waiting) >= _WAITING or (bool(waiting) and sum(waiting) + len(body) > self._settings.max_body_bytes)

    def _head(self, body: bytes) -> _MessageHead | None:
        """What a message is; None: its answer will say what is wrong with it."""
        try:
            head: _MessageHead = decode_body(body, _head_decoder)
        except ApiError:
            return None
        return head if len(head.stream_id or "") <= _LANE_CHARS else None

    def _lane(self, id: str | None) -> _Lane | None:
        """The lane of that name; None: there are too many. One that is at rest makes room, and its memory goes."""
        lane = self._lanes.get(id)
        if lane is None:
            if len(self._lanes) >= _LANES:
                resting = next((name for name, each in self._lanes.items() if not each.busy), self)
                if resting is self:
                    return None
                del self._lanes[resting]  # type: ignore[arg-type]  # a name, then
            lane = self._lanes[id] = _Lane(id)
        self._lanes.move_to_end(id)
        return lane

    async def _run(self, lane: _Lane) -> None:
        """Answer the messages of *lane*."""
        try:
            while lane.messages:
                await self._answer(lane, lane.messages.popleft())
        except _ClientDisconnected:
            lane.messages.clear()
        finally:
            lane.busy = False
            await self._end(lane)

    async def _stop(self) -> None:
        """End what runs."""
        for lane in tuple(self._lanes.values()):
            lane.messages.clear()
            await self._end(lane)

    async def _end(self, lane: _Lane) -> None:
        begun, output = lane.begun, lane.output
        if begun is not None and begun.owned and output is not None and not output.done:
            await begun.cancel()

    async def _answer(self, lane: _Lane, body: bytes) -> None:
        try:
            head = decode_body(body, _head_decoder)
            if head.type != "response.create":
                raise not_one_of("type", head.type or "", ("response.create", "response.steer"))
            if len(head.stream_id or "") > _LANE_CHARS:
                words = f"stream_id has more than {_LANE_CHARS} characters"
                raise invalid(words, param="stream_id", code="string_above_max_length")
            request = decode_create(body)
            try:
                await self._respond(lane, request, warm=head.generate is False)
            except (ApiError, GaiaError):
                self._forget(request.previous_response_id)
                raise
        except ApiError as error:
            await self._refuse(lane, error.reply)
        except GaiaError as error:
            reply = of_exception(error)
            if reply is None:
                raise
            await self._refuse(lane, reply)

    async def _respond(self, lane: _Lane, request: CreateRequest, *, warm: bool) -> None:
        if request.background:
            raise invalid_at("background", "responses of a WebSocket end with it, so they can't run in background")
        base = self._base(request.previous_response_id)
        if warm:
            await self._warm(lane, await self._creation.warmed(request, self._caller, base))
            return
        waiting = [steer for steer in lane.steers if steer.target == request.previous_response_id]
        asked = with_steers(request, waiting) if waiting else request
        begun = lane.begun = await self._creation.begin(asked, self._caller, self._scope, base)
        lane.steers = [steer for steer in lane.steers if steer not in waiting]
        while (following := await self._told(lane, request, begun)) is not None:
            base = self._base(following.previous_response_id)
            steers = lane.taken(begun.ref.id)
            try:
                begun = lane.begun = await self._creation.begin(following, self._caller, self._scope, base)
            except (ApiError, GaiaError) as error:
                reply = of_exception(error)
                if reply is None:
                    raise
                for steer in steers:
                    await self._tell_steer(lane, failed(steer, "successor_creation_failed", reply.message))
                return

    def _base(self, previous: str | None) -> tuple[Message, ...] | None:
        """The conversation until the response *previous*, where this connection alone knows it."""
        known = (lane.newest for lane in self._lanes.values() if lane.newest is not None)
        return next((messages for name, messages in known if name == previous), None)

    def _forget(self, previous: str | None) -> None:
        """Forget the response *previous*, where this connection alone knows it: its continuation failed (source:
        OpenAI's guide to the WebSocket mode: a failed turn evicts the response that it continues)."""
        for lane in self._lanes.values():
            if lane.newest is not None and lane.newest[0] == previous:
                lane.newest = None

    async def _told(self, lane: _Lane, request: CreateRequest, begun: Begun) -> CreateRequest | None:
        """Tell a response until its end; the request of the one that follows by itself, if there is one."""
        output = lane.output = ResponseEvents(begun.ref, begun.note)
        lane.newest = None
        async for batch in begun.batches():
            for _, data in output.take(batch):
                await self._tell(lane, data)
            if output.done:
                break
        if not output.done:
            begun.check_stopped()
            for _, data in output.fail(failure_of(STOPS, tools_ran=output.tools_ran)):
                await self._tell(lane, data)
        if output.failure is not None:
            self._forget(request.previous_response_id)
        elif begun.ref.session == "" and begun.turn is not None:
            lane.newest = (begun.ref.id, (*begun.said, *begun.turn.messages))
        lane.begun = lane.output = None
        self._ended.append(begun.ref.id)
        return await self._steered_on(lane, request, begun.ref.id, output)

    async def _warm(self, lane: _Lane, warmed: Warmed) -> None:
        """Answer a request that only brings its input."""
        lane.newest = (warmed.ref.id, warmed.messages)
        for _, data in warmed.told:
            await self._tell(lane, data)

    # Steering.

    async def _steer(self, body: bytes) -> None:
        """Take what is said to a response that runs."""
        try:
            steer = decode_body(body, _steer_decoder)
        except ApiError as error:
            await self._refuse(self._lanes.get(None) or _Lane(None), error.reply)
            return
        target = steer.previous_response_id
        lane = next((each for each in self._lanes.values() if each.running == target), None)
        if lane is None or lane.begun is None:
            if target in self._ended:
                event = failed(steer, "response_already_completed", "the response has ended: send response.create")
            else:
                event = failed(steer, "response_not_found", "no response of that id runs on this connection")
            await self._tell_steer(_Lane(None), event)
        elif lane.begun.note.conversation is not None:
            words = "a response of a conversation is not steered: send response.create when it has ended"
            await self._tell_steer(lane, failed(steer, "steering_not_supported", words))
        elif len(lane.steers) >= MOST_PENDING:
            words = f"{MOST_PENDING} are pending: wait for the response to end"
            await self._tell_steer(lane, failed(steer, "too_many_pending_steers", words))
        elif words := why_not(steer):
            await self._tell_steer(lane, failed(steer, "invalid_input", words))
        else:
            queued = QueuedSteer.of(steer)
            lane.steers.append(queued)
            await self._tell_steer(lane, accepted(queued))

    async def _steered_on(
        self, lane: _Lane, request: CreateRequest, ended: str, output: ResponseEvents
    ) -> CreateRequest | None:
        """What becomes of that which was said to a response, now that it has ended."""
        steers = [steer for steer in lane.steers if steer.target == ended]
        if not steers:
            return None
        response = output.response
        if response["status"] not in ("completed", "incomplete"):
            for steer in lane.taken(ended):
                words = f"the response has ended as {response['status']}"
                await self._tell_steer(lane, failed(steer, "response_not_active", words))
            return None
        if required := required_input(response["output"]):
            for steer in steers:
                await self._tell_steer(lane, pending(steer, required))
            return None
        return following(request, ended, steers)

    async def _tell_steer(self, lane: _Lane, event: dict[str, Any]) -> None:
        number, self._steered = self._steered, self._steered + 1
        await self._tell(lane, encoded({**event, "sequence_number": number}))

    # Sending.

    async def _tell(self, lane: _Lane, data: bytes) -> None:
        if self._closed:
            raise _ClientDisconnected
        if lane.id is not None:
            data = b'%b,"stream_id":%b}' % (data[:-1], encoded(lane.id))
        try:
            async with asyncio.timeout(self._settings.write_seconds):
                await self._send({"type": "websocket.send", "text": data.decode(), "bytes": None})
        except TimeoutError:
            _log.warning("a WebSocket loses its reader, who has read nothing for %g s", self._settings.write_seconds)
            self._closed = True
            if (abort := self._scope["state"].get(ABORT)) is not None:  # to say farewell would wait for the reader, too
                abort()
            await self._stop()
            raise _ClientDisconnected from None

    async def _refuse(self, lane: _Lane, reply: ErrorReply) -> None:
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
        await self._tell(lane, encoded(event))

    async def _close(self, code: int, reason: str) -> None:
        self._closed = True
        with suppress(Exception):  # it may be closed already
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        await self._stop()
