"""SSEWriter: the writes of one stream of server-sent events, and the watcher beside it.

Neither Litestar nor uvicorn tells a handler that its client has disconnected, and a write has no timeout. So each
stream has a watcher: it waits for `http.disconnect`, writes heartbeats, and aborts a connection whose reader stalls.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

from litestar.types import Receive, Scope, Send

from gaia_http._settings import Settings

ABORT = "gaia_abort"
"""The key in a scope's state of what closes the connection without waiting for its reader, which ASGI can't do."""

Headers = tuple[tuple[bytes, bytes], ...]
Head = tuple[int, Headers]
"""A response's status and headers."""

_log = logging.getLogger(__name__)

HEARTBEAT = b": still here\n\n"
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
"""The heartbeat of Anthropic's API, an event of its own."""
SSE_HEADERS: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class SSEWriter:
    """The writes of one stream. Created by the task that writes: `stop` cancels that task.

    Two tasks use it. The *writer* calls `start` and `write`; the *watcher* runs `watch`, and is cancelled by the
    writer. *name* is for the log. *heartbeat* keeps a silent stream open; None: nothing does. *left* is awaited once
    when the client disconnects, before the writer is stopped.
    """

    def __init__(
        self,
        name: str,
        send: Send,
        settings: Settings,
        head: Head,
        *,
        heartbeat: bytes | None = HEARTBEAT,
        left: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._name = name
        self._send = send
        self._settings = settings
        self._head = head
        self._heartbeat_seconds = settings.heartbeat_seconds if heartbeat is not None else math.inf
        self._beat = heartbeat or b""
        self._left = left
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._heartbeat: asyncio.Future[None] | None = None
        """Set by the watcher while it sends a heartbeat; the writer waits for it, so that two sends never overlap."""
        self._written_at = self._loop.time()
        """When the last write or heartbeat began. Set by both tasks."""
        self._writing_since: float | None = None
        """Set by the writer while `send` has not returned; the watcher reads it to find a reader that stalls."""
        self._ours = False
        """The cancellation of the writer comes from `stop`. Set by the caller of `stop`."""
        self.started = False
        """The head was sent, by the writer or by the watcher's first heartbeat."""
        self.gone = False
        """Nobody reads any more: the client disconnected or stalled. Set by the watcher."""
        self.stalled = False
        """The client stalled, so its connection must be aborted. Set by the watcher."""

    async def start(self) -> None:
        """Send the head of the response, if it isn't sent."""
        if not self.started:
            self.started = True
            status, headers = self._head
            await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send *data* in one piece, after the head of the response."""
        if self._heartbeat is not None:  # the watcher sends it just now: it comes first
            await asyncio.wait((self._heartbeat,))
        if self.gone:
            return
        self._writing_since = self._written_at = self._loop.time()
        if not self.started:
            await self.start()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self._writing_since = None

    async def watch(self, receive: Receive) -> None:
        """Stop the writer when its client disconnects or stalls; write heartbeats while it is silent."""
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
            if self._left is not None:
                await self._left()
            self.stop()
            return

    def _next_due(self) -> float:
        if self._writing_since is not None:
            return self._writing_since + self._settings.write_seconds
        return self._written_at + self._heartbeat_seconds

    async def _overdue(self) -> None:
        """Stop a write that takes too long, or write a heartbeat, if it is time."""
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
                await self._send({"type": "http.response.body", "body": self._beat, "more_body": True})
        except TimeoutError:
            self._give_up()
        finally:
            self._heartbeat.set_result(None)
            self._heartbeat = None

    def _give_up(self) -> None:
        _log.warning(
            "the client of %s is disconnected: it has read nothing for %g s", self._name, self._settings.write_seconds
        )
        self.gone = self.stalled = True
        self.stop()

    def stop(self) -> None:
        """Cancel the task that writes: the only way to end a write that would wait for ever."""
        if self._task is not None:
            self._ours = True
            self._task.cancel()

    async def stopped(self, scope: Scope, receive: Receive) -> bool:
        """Whether a cancellation was `stop`'s; the connection of a client that stalled is aborted then."""
        if not self._ours:
            return False
        if self._task is not None:
            self._task.uncancel()
        if self.stalled and (abort := scope["state"].get(ABORT)) is not None:
            abort()
            while (await receive())["type"] != "http.disconnect":  # else the server says that no answer was completed
                pass
        return True
