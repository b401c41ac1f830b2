"""Threads for synchronous tools: a bounded set of daemon threads that belongs to one runtime.

A thread can't be stopped. A call that outlives its time is *abandoned*: its thread stays taken until the function
returns, and the resource that it uses waits for `ThreadCall.finished` before it closes. When every thread is
abandoned, further calls fail at once, with the abandoned tools' names, instead of waiting for ever.
"""

import asyncio
import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from gaia_core.errors import ToolError


class ThreadCall:
    """One call on a thread. *result* is the function's; *finished* is set when the thread is free again.

    The thread reads `context`, `function` and `loop`, which don't change. All else is read and written on the loop.
    """

    __slots__ = ("abandoned", "context", "finished", "function", "loop", "name", "result", "started")

    def __init__(self, name: str, function: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.function = function
        self.context = contextvars.copy_context()
        self.loop = loop
        self.result: asyncio.Future[Any] = loop.create_future()
        """Set by `_end`; cancelled by its reader or by `abandon`, and failed by `abandon` when all threads are
        stuck."""
        self.finished: asyncio.Future[None] = loop.create_future()
        """Set by `_end`, also for an abandoned call. Never set for a call that never began."""
        self.started = False
        """Set by `_begin`: a thread has it or will have it at once."""
        self.abandoned = False
        """Set by `abandon`."""


class ToolThreads:
    """At most *limit* daemon threads, started when needed. Used from one event loop; closed with its runtime.

    Loop and threads share `_jobs` only, so there is no lock: a thread gives its result back by `call_soon_threadsafe`.
    """

    def __init__(self, limit: int = 32) -> None:
        self._limit = limit
        self._jobs: queue.SimpleQueue[ThreadCall | None] = queue.SimpleQueue()
        """From the loop to the threads; None ends one thread."""
        self._pending: deque[ThreadCall] = deque()
        """Calls that wait for a thread. Appended by `submit`, taken by `_end`, removed by `abandon`."""
        self._running: dict[ThreadCall, None] = {}
        """Calls that have a thread, the abandoned ones too. Written by `_begin` and `_end`."""
        self._threads = 0
        """Threads started since the last `close`. It grows in `_begin`."""

    @property
    def stuck(self) -> tuple[str, ...]:
        """The names of the abandoned calls that still run."""
        return tuple(call.name for call in self._running if call.abandoned)

    def submit(self, name: str, function: Callable[[], Any]) -> ThreadCall:
        """Run *function* on a thread, in a copy of the present context. Await the call's *result*.

        Raises ToolError when all threads are stuck in abandoned calls.
        """
        self._refuse_when_stuck()
        call = ThreadCall(name, function, asyncio.get_running_loop())
        if len(self._running) < self._limit:
            self._begin(call)
        else:
            self._pending.append(call)
        return call

    def abandon(self, call: ThreadCall) -> bool:
        """Nobody waits for *call* any more. True when its function still runs."""
        if not call.started:
            if call in self._pending:
                self._pending.remove(call)
            call.result.cancel()
            return False
        if call.finished.done():
            return False
        call.abandoned = True
        call.result.cancel()
        if len(self.stuck) >= self._limit:
            while self._pending:
                waiting = self._pending.popleft()
                if not waiting.result.done():
                    waiting.result.set_exception(ToolError(self._stuck_words()))
        return True

    def close(self) -> None:
        """Let idle threads end. Abandoned ones are daemons: they end with their function or with the process."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0

    def _refuse_when_stuck(self) -> None:
        if len(self._running) >= self._limit and len(self.stuck) >= self._limit:
            raise ToolError(self._stuck_words())

    def _stuck_words(self) -> str:
        names = ", ".join(sorted(set(self.stuck)))
        return f"all {self._limit} tool threads are stuck in calls that outlived their time: {names}"

    def _begin(self, call: ThreadCall) -> None:
        call.started = True
        self._running[call] = None
        if len(self._running) > self._threads:
            self._threads += 1
            # Started here and ended by `close`; nobody joins it. It can't fail: what a function raises is its result.
            threading.Thread(target=self._work, args=(self._jobs,), name="gaia-tool", daemon=True).start()
        self._jobs.put(call)

    def _work(self, jobs: "queue.SimpleQueue[ThreadCall | None]") -> None:
        """A thread's life: the only method that doesn't run on the event loop."""
        while (call := jobs.get()) is not None:
            value, error = None, None
            try:
                value = call.context.run(call.function)
            except BaseException as raised:  # noqa: BLE001  # raised in the task that awaits the result
                error = raised
            try:
                call.loop.call_soon_threadsafe(self._end, call, value, error)
            except RuntimeError:  # the loop is closed: no task waits
                return
            # Else the thread would keep them until its next call.
            del call, value, error

    def _end(self, call: ThreadCall, value: Any, error: BaseException | None) -> None:
        """On the event loop: the thread is free, and takes the next call that waits."""
        self._running.pop(call, None)
        if not call.finished.done():
            call.finished.set_result(None)
        if not call.result.done():
            if isinstance(error, StopIteration):  # a future can't carry it
                error = RuntimeError("StopIteration")
            if error is None:
                call.result.set_result(value)
            else:
                call.result.set_exception(error)
        while self._pending and len(self._running) < self._limit:
            self._begin(self._pending.popleft())
