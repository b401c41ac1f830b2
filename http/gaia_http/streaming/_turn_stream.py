"""The stream of a turn that belongs to its client: written as it comes; a client that goes takes its turn with it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from litestar.types import Receive, Scope, Send

from gaia_core.events import Event
from gaia_core.turn import Turn
from gaia_http._errors import ApiError, ErrorReply
from gaia_http._settings import Settings
from gaia_http.operations._metrics import HttpCounts
from gaia_http.streaming._sse_writer import Headers, SSEWriter


class Translator(Protocol):
    """A fold from a turn's events to bytes. Bytes that come are a reason to begin the stream."""

    done: bool
    """The turn has ended, and its end is in the bytes."""
    failure: ErrorReply | None
    """How the turn failed; an HTTP status as long as nothing was sent."""

    def take(self, batch: Sequence[Event]) -> bytes:
        """The bytes of *batch*, one write."""
        ...


class TurnStream:
    """An ASGI response that streams *turn* through *translator* as server-sent events.

    Its status is decided by the first event that counts, or by the first heartbeat: a turn that fails before is
    answered by its own status. *before_end* is called when the turn has ended, before a client can know it.
    """

    def __init__(
        self,
        turn: Turn,
        translator: Translator,
        settings: Settings,
        counts: HttpCounts,
        *,
        headers: Headers = (),
        before_end: Callable[[Turn], None],
    ) -> None:
        self._turn = turn
        self._translator = translator
        self._settings = settings
        self._counts = counts
        self._headers = headers
        self._before_end = before_end
        self.failed = False
        """Whether it told of a failure after which the request may be sent again."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        turn, translator = self._turn, self._translator
        writer = SSEWriter(turn.id, send, self._settings, self._headers, left=lambda _: turn.cancel())
        watcher = asyncio.create_task(writer.watch(receive), name="gaia line")
        self._counts.open_streams += 1
        refused: ErrorReply | None = None
        try:
            async for batch in turn.batches():
                data = translator.take(batch)
                if translator.done:
                    self._before_end(turn)
                    failure = translator.failure
                    self.failed = failure is not None and failure.may_retry
                    if not writer.started and not writer.gone:
                        refused = translator.failure
                if data and refused is None:
                    await writer.write(data, more=not translator.done)
        except asyncio.CancelledError:
            if not await writer.stopped(scope, receive):
                raise
        finally:
            self._counts.open_streams -= 1
            watcher.cancel()
            if turn.ended is None:
                await turn.cancel()
        if refused is not None:
            raise ApiError(refused)


async def ended(turn: Turn, receive: Receive) -> bool:
    """Wait until *turn* has ended; True when its client is still there. A client that goes cancels it at once."""
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        await turn.cancel()

    watcher = asyncio.create_task(watch(), name="gaia line")
    try:
        await turn.result()
    finally:
        watcher.cancel()
        if turn.ended is None:
            await turn.cancel()
    return not gone
