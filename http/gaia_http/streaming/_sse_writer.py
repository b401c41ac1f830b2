"""The line: the writes of one stream of server-sent events, and the watcher beside it.

Neither Litestar nor uvicorn tells a handler that its client has gone, and a write has no time-out. So each stream has
a watcher, which waits for `http.disconnect`, writes heartbeats, and gives up on a reader that stalls.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from litestar.types import Receive, Scope, Send

from gaia_http._settings import Settings

ABORT = "gaia_abort"
"""The key in a scope's state of what closes the connection without waiting for its reader, which ASGI can't do."""

Headers = tuple[tuple[bytes, bytes], ...]

_log = logging.getLogger(__name__)

HEARTBEAT = b": still here\n\n"
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class SSEWriter:
    """Made by the task that writes. *name* is the log's.

    *left* is called once when the client has gone by itself (None: it stops the line). It is given the line: one that
    holds it would be held by it, and both stay until the garbage collector comes.
    """

    def __init__(
        self,
        name: str,
        send: Send,
        settings: Settings,
        headers: Headers = (),
        *,
        left: Callable[["SSEWriter"], Awaitable[object]] | None = None,
    ) -> None:
        self._name = name
        self._send = send
        self._settings = settings
        self._headers = headers
        self._left = left
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._heartbeat: asyncio.Future[None] | None = None
        self._written_at = self._loop.time()
        self._writing_since: float | None = None
        self._ours = False
        self.started = False
        self.gone = False
        self.stalled = False

    async def start(self) -> None:
        """Send the head of the response, if it isn't sent."""
        if not self.started:
            self.started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *self._headers]})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send *data* in one piece, after the head of the response."""
        if self._heartbeat is not None:  # it is on its way, and comes first
            await asyncio.wait((self._heartbeat,))
        if self.gone:
            return
        self._writing_since = self._written_at = self._loop.time()
        if not self.started:
            await self.start()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self._writing_since = None

    async def watch(self, receive: Receive) -> None:
        """Notice a client that goes or reads nothing any more; write heartbeats while nothing is said."""
        settings = self._settings
        while True:
            due = min(self._next_due(), self._loop.time() + settings.write_seconds)
            try:
                async with asyncio.timeout(due - self._loop.time()):
                    while (await receive())["type"] != "http.disconnect":
                        pass
            except TimeoutError:
                await self._overdue()
                continue
            self.gone = True
            if self._left is None:
                self.stop()
            else:
                await self._left(self)
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
                await self.start()
                await self._send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})
        except TimeoutError:
            self._give_up()
        finally:
            self._heartbeat.set_result(None)
            self._heartbeat = None

    def _give_up(self) -> None:
        _log.warning("%s loses its reader, who has read nothing for %g s", self._name, self._settings.write_seconds)
        self.gone = self.stalled = True
        self.stop()

    def stop(self) -> None:
        """Cancel the task that writes: the only way to end a write that would wait for ever."""
        if self._task is not None:
            self._ours = True
            self._task.cancel()

    async def stopped(self, scope: Scope, receive: Receive) -> bool:
        """Whether a cancellation was `stop`'s; a connection that stalled is closed then."""
        if not self._ours:
            return False
        if self._task is not None:
            self._task.uncancel()
        if self.stalled and (abort := scope["state"].get(ABORT)) is not None:
            abort()
            while (await receive())["type"] != "http.disconnect":  # else the server says that no answer was completed
                pass
        return True
