"""The line to a client: what a turn tells is written as it comes, and a client that goes takes its turn with it.

Neither Litestar nor uvicorn tells a handler that its client has gone, and a write has no time-out. So each answer has
a watcher beside it, which waits for `http.disconnect`, writes heartbeats, and gives up on a reader that stalls.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from litestar.types import Receive, Scope, Send

from gaia_core.events import Event
from gaia_core.turn import Turn
from gaia_http._errors import ApiError, ErrorReply
from gaia_http._metrics import HttpCounts
from gaia_http._settings import Settings

ABORT = "gaia_abort"
"""The key in a scope's state of what closes the connection without waiting for its reader, which ASGI can't do."""

_log = logging.getLogger(__name__)

_HEARTBEAT = b": still here\n\n"
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)

Headers = tuple[tuple[bytes, bytes], ...]


class Translator(Protocol):
    """A fold from a turn's events to bytes. Bytes that come are a reason to begin the stream."""

    done: bool
    """The turn has ended, and its end is in the bytes."""
    failure: ErrorReply | None
    """How the turn failed; an HTTP status as long as nothing was sent."""

    def take(self, batch: Sequence[Event]) -> bytes:
        """The bytes of *batch*, one write."""
        ...


class EventStream:
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        turn, translator = self._turn, self._translator
        line = _Line(turn, send, self._settings, self._headers)
        watcher = asyncio.create_task(line.watch(receive), name="gaia line")
        self._counts.open_streams += 1
        refused: ErrorReply | None = None
        try:
            async for batch in turn.batches():
                data = translator.take(batch)
                if translator.done:
                    self._before_end(turn)
                    if not line.started and not line.gone:
                        refused = translator.failure
                if data and refused is None:
                    await line.write(data, more=not translator.done)
        except asyncio.CancelledError:
            if not line.stalled:
                raise
            # The watcher's way to end a write that would wait for ever.
            if (abort := scope["state"].get(ABORT)) is not None:
                abort()
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
        finally:
            self._counts.open_streams -= 1
            watcher.cancel()
            if turn.ended is None:
                await turn.cancel()
        if refused is not None:
            raise ApiError(refused)


class _Line:
    """The writes of one stream, and its watcher."""

    def __init__(self, turn: Turn, send: Send, settings: Settings, headers: Headers) -> None:
        self._turn = turn
        self._send = send
        self._settings = settings
        self._headers = headers
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._heartbeat: asyncio.Future[None] | None = None
        self._written_at = self._loop.time()
        self._writing_since: float | None = None
        self.started = False
        self.gone = False
        self.stalled = False

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send *data* in one piece, after the head of the response."""
        if self._heartbeat is not None:  # it is on its way, and comes first
            await asyncio.wait((self._heartbeat,))
        if self.gone:
            return
        self._writing_since = self._written_at = self._loop.time()
        if not self.started:
            await self._start()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self._writing_since = None

    async def _start(self) -> None:
        self.started = True
        await self._send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *self._headers]})

    async def watch(self, receive: Receive) -> None:
        """Cancel the turn when the client goes or reads nothing any more; write heartbeats while nothing is said."""
        settings = self._settings
        while True:
            due = min(self._next_due(), self._loop.time() + settings.write_seconds)
            try:
                async with asyncio.timeout_at(due):
                    while (await receive())["type"] != "http.disconnect":
                        pass
            except TimeoutError:
                await self._overdue()
                continue
            self.gone = True
            await self._turn.cancel()
            return

    def _next_due(self) -> float:
        if self._writing_since is not None:
            return self._writing_since + self._settings.write_seconds
        return self._written_at + self._settings.heartbeat_seconds

    async def _overdue(self) -> None:
        """Give up a write that takes too long, or write a heartbeat, if it is time."""
        if self._loop.time() < self._next_due():
            return
        if self._writing_since is not None:
            self._give_up()
            return
        self._heartbeat = self._loop.create_future()
        self._written_at = self._loop.time()
        try:
            async with asyncio.timeout(self._settings.write_seconds):
                if not self.started:
                    await self._start()
                await self._send({"type": "http.response.body", "body": _HEARTBEAT, "more_body": True})
        except TimeoutError:
            self._give_up()
        finally:
            self._heartbeat.set_result(None)
            self._heartbeat = None

    def _give_up(self) -> None:
        _log.warning(
            "%s is cancelled: its client has read nothing for %g s", self._turn.id, self._settings.write_seconds
        )
        self.gone = self.stalled = True
        if self._task is not None:
            self._task.cancel()


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
