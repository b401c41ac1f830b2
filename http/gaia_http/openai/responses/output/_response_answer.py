"""The ASGI responses of a response: streamed as it comes, or in one piece when it is done."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from litestar.types import Receive, Scope, Send

from gaia_core.events import ErrorInfo, Event
from gaia_http._errors import ApiError, ErrorReply, encoded
from gaia_http._settings import Settings
from gaia_http.openai.responses._request_state import Begun
from gaia_http.openai.responses.output._response_events import ResponseEvents, Told
from gaia_http.openai.responses.output._response_object import failure_of
from gaia_http.openai.responses.stored._stored_responses import ResponseStore, StoredResponse
from gaia_http.operations._metrics import HttpCounts
from gaia_http.streaming._sse_writer import Headers, SSEWriter

_DONE = b"data: [DONE]\n\n"
STOPS = ErrorInfo("cancelled", "the server stops")


def framed(told: Sequence[Told]) -> bytes:
    """Events as server-sent events, in one piece."""
    return b"".join([b"event: %b\ndata: %b\n\n" % (kind.encode(), data) for kind, data in told])


def session_header(begun: Begun) -> Headers:
    """The session that the client named, echoed."""
    return () if begun.session_id is None else ((b"x-session-id", begun.session_id.encode()),)


class ResponseStream:
    """Streams *begun* as server-sent events. If the client disconnects, its turn is cancelled, unless in background.

    The HTTP status is sent with the first event of the response, or the first heartbeat: a turn that fails before gets
    an error status.
    """

    def __init__(self, begun: Begun, settings: Settings, counts: HttpCounts) -> None:
        self._begun = begun
        self._settings = settings
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = self._begun
        output = ResponseEvents(begun.ref, begun.note)

        async def left(writer: SSEWriter) -> None:
            if begun.owned and not output.done:
                await begun.cancel()
            writer.stop()

        writer = SSEWriter(begun.ref.id, send, self._settings, session_header(begun), left=left)
        watcher = asyncio.create_task(writer.watch(receive), name="gaia line")
        self._counts.open_streams += 1
        refused: ErrorReply | None = None
        try:
            if begun.note.background:
                await writer.write(framed(output.begin()))
            async for told in _told(begun.batches(), output):
                if output.done and output.failure is not None and not writer.started and not writer.gone:
                    refused = output.failure
                    break
                await writer.write(framed(told) + (_DONE if output.done else b""), more=not output.done)
            else:
                if not output.done:
                    await self._stopped(output, writer)
        except asyncio.CancelledError:
            if not await writer.stopped(scope, receive):
                raise
        finally:
            self._counts.open_streams -= 1
            watcher.cancel()
            if begun.owned and not output.done:
                await begun.cancel()
        if refused is not None:
            raise ApiError(refused)

    async def _stopped(self, output: ResponseEvents, writer: SSEWriter) -> None:
        """This process stops: a background response continues in the next process, any other one ends."""
        told = [] if self._begun.note.background else output.fail(failure_of(STOPS, tools_ran=output.tools_ran))
        await writer.write(framed(told) + (_DONE if told else b""), more=False)


class StoredStream:
    """Streams a stored response from after *after* on. A client that goes changes nothing."""

    def __init__(
        self, store: ResponseStore, stored: StoredResponse, after: int, settings: Settings, counts: HttpCounts
    ) -> None:
        self._store = store
        self._stored = stored
        self._after = after
        self._settings = settings
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stored = self._stored
        writer = SSEWriter(stored.ref.id, send, self._settings)
        watcher = asyncio.create_task(writer.watch(receive), name="gaia line")
        output = ResponseEvents(stored.ref, stored.note, after=self._after)
        self._counts.open_streams += 1
        try:
            await writer.start()
            async for told in _told(self._store.batches(stored.owner, stored.ref), output):
                await writer.write(framed(told) + (_DONE if output.done else b""), more=not output.done)
            if not output.done:
                await writer.write(b"", more=False)
        except asyncio.CancelledError:
            if not await writer.stopped(scope, receive):
                raise
        finally:
            self._counts.open_streams -= 1
            watcher.cancel()


class WholeResponse:
    """Answers with *begun* when it is done; at once when it is in background."""

    def __init__(self, begun: Begun) -> None:
        self._begun = begun

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        begun = self._begun
        output = ResponseEvents(begun.ref, begun.note)
        if begun.note.background:
            await send_json(send, encoded(output.queued), session_header(begun))
            return
        if not await self._ended(output, receive):
            return
        if output.failure is not None:
            raise ApiError(output.failure)
        await send_json(send, encoded(output.response), session_header(begun))

    async def _ended(self, output: ResponseEvents, receive: Receive) -> bool:
        """Wait until the response is done; True when its client is still there. One that goes cancels the turn."""
        begun, gone = self._begun, False

        async def watch() -> None:
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True
            if not output.done:
                await begun.cancel()

        watcher = asyncio.create_task(watch(), name="gaia line")
        try:
            async for _ in _told(begun.batches(), output):
                pass
        finally:
            watcher.cancel()
            if not output.done:
                await begun.cancel()
        if not output.done:
            output.fail(failure_of(STOPS, tools_ran=output.tools_ran))
        return not gone


async def _told(batches: AsyncIterator[Sequence[Event]], output: ResponseEvents) -> AsyncIterator[list[Told]]:
    """What *batches* tell of *output*, until it is done."""
    async for batch in batches:
        told = output.take(batch)
        if told or output.done:
            yield told
        if output.done:
            return


async def send_json(send: Send, body: bytes, headers: Headers = (), status: int = 200) -> None:
    """Answer with *body*."""
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": False})
