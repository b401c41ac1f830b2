"""SSEResponse: the one ASGI response of all streams. What differs between them is a source and a translator.

    SSEResponse(turn.id, turn.batches(), ChunkTranslator(…), settings, counts, cancel=turn.cancel)

The request's task iterates the source and writes; it awaits each write, so a slow reader slows its own stream only. A
second task, the writer's watcher, is started and cancelled here (see `SSEWriter`).
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Generic, Protocol, TypeVar

from litestar.types import Receive, Scope, Send

from gaia_http._errors import ApiError, ErrorReply
from gaia_http._settings import Settings
from gaia_http.operations._metrics import HttpCounts
from gaia_http.streaming._sse_writer import HEARTBEAT, SSE_HEADERS, Head, Headers, SSEWriter

T = TypeVar("T")
Batch_contra = TypeVar("Batch_contra", contravariant=True)


class Translator(Protocol[Batch_contra]):
    """A fold from what a source yields to bytes."""

    @property
    def done(self) -> bool:
        """The stream is complete: its end is in the bytes of the last `take`."""
        ...

    @property
    def failure(self) -> ErrorReply | None:
        """How the turn failed. It becomes the response's status as long as nothing was sent."""
        ...

    def take(self, batch: Batch_contra) -> bytes:
        """The bytes of *batch*, one write; empty when there is nothing to write."""
        ...

    def interrupted(self) -> bytes:
        """The bytes that end a stream whose source ended before it was `done`."""
        ...


class Verbatim:
    """The translator of a source that yields bytes; its stream ends with the source."""

    done = False
    failure: ErrorReply | None = None

    def take(self, batch: bytes) -> bytes:
        """*batch*."""
        return batch

    def interrupted(self) -> bytes:
        """Nothing."""
        return b""


class SSEResponse(Generic[T]):
    """An ASGI response that writes *source* through *translator*. *name* is for the log.

    first:      bytes that are sent with the head, at once (b"": the head alone). None: the first bytes of the
                translator, or the first heartbeat, begin the response; a turn that fails before that is answered by
                the status of its failure.
    cancel:     awaited when the client disconnects, or when the response ends otherwise before the translator is done:
                for a turn that belongs to its client. None: nothing depends on the client.
    before_end: called when the translator is done, before the client can know it.
    counts:     where the stream is counted as open; None: elsewhere.
    head:       the status and headers, instead of 200, those of server-sent events and *headers*; without heartbeats.
    heartbeat:  what keeps a silent stream open.
    """

    def __init__(
        self,
        name: str,
        source: AsyncGenerator[T, None],
        translator: Translator[T],
        settings: Settings,
        counts: HttpCounts | None,
        *,
        headers: Headers = (),
        head: Head | None = None,
        heartbeat: bytes = HEARTBEAT,
        first: bytes | None = None,
        cancel: Callable[[], Awaitable[object]] | None = None,
        before_end: Callable[[], None] | None = None,
    ) -> None:
        self._name = name
        self._source = source
        self._translator = translator
        self._settings = settings
        self._counts = counts
        self._head = head or (200, (*SSE_HEADERS, *headers))
        self._heartbeat = heartbeat if head is None else None
        self._first = first
        self._cancel = cancel
        self._before_end = before_end
        self.failure: ErrorReply | None = None
        """The failure that the stream told of. Read when the response is over."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = SSEWriter(
            self._name, send, self._settings, self._head, heartbeat=self._heartbeat, left=self._cancel_source
        )
        watcher = asyncio.create_task(writer.watch(receive), name="gaia stream watch")
        if self._counts is not None:
            self._counts.open_streams += 1
        refused: ErrorReply | None = None
        try:
            refused = await self._write(writer)
        except asyncio.CancelledError:
            if not await writer.stopped(scope, receive):
                raise
        finally:
            if self._counts is not None:
                self._counts.open_streams -= 1
            watcher.cancel()
            await self._cancel_source()
        if refused is not None:
            raise ApiError(refused)

    async def _write(self, writer: SSEWriter) -> ErrorReply | None:
        """Write the stream; returns the failure that is answered by its own status, because nothing was sent."""
        translator = self._translator
        if self._first is not None:
            await writer.start()
            if self._first:
                await writer.write(self._first)
        async with aclosing(self._source) as source:
            async for batch in source:
                data = translator.take(batch)
                if not translator.done:
                    if data:
                        await writer.write(data)
                    continue
                if self._before_end is not None:
                    self._before_end()
                failure = self.failure = translator.failure
                if failure is not None and not writer.started and not writer.gone:
                    return failure
                await writer.write(data, more=False)
                return None
        await writer.write(translator.interrupted(), more=False)
        return None

    async def _cancel_source(self) -> None:
        if self._cancel is not None and not self._translator.done:
            await self._cancel()
