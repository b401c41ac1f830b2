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

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        turn, translator = self._turn, self._translator
        line = _Line(turn, send, self._settings, self._headers)
        watcher = asyncio.create_task(line.watch(receive), name="gaia line")
        self._counts.open_streams += 1
        try:
            async for batch in turn.batches():
                data = translator.take(batch)
                if not data:
                    continue
                if translator.done:
                    self._before_end(turn)
                    if translator.failure is not None and not line.started and not line.gone:
                        raise ApiError(translator.failure)
                await line.write(data, more=not translator.done)
        except asyncio.CancelledError:
            if not line.stalled:
                raise
            # The watcher's way to end a write that would wait for ever; uvicorn closes what is incomplete.
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
        finally:
            self._counts.open_streams -= 1
            watcher.cancel()
            if turn.ended is None:
                await turn.cancel()


class _Line:
    """The writes of one stream, and its watcher."""

    def __init__(self, turn: Turn, send: Send, settings: Settings, headers: Headers) -> None:
        self._turn = turn
        self._send = send
        self._settings = settings
        self._headers = headers
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._lock = asyncio.Lock()
        self._written_at = self._loop.time()
        self._writing_since: float | None = None
        self.started = False
        self.gone = False
        self.stalled = False

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send *data* in one piece, after the head of the response."""
        if self.gone:
            return
        first, self.started = not self.started, True
        async with self._lock:
            self._writing_since = self._loop.time()
            if first:
                await self._send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *self._headers]})
            await self._send({"type": "http.response.body", "body": data, "more_body": more})
            self._writing_since = None
            self._written_at = self._loop.time()

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
        try:
            async with asyncio.timeout(self._settings.write_seconds):
                await self.write(_HEARTBEAT)
        except TimeoutError:
            self._give_up()

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
