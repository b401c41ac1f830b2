"""A time limit, of a turn or of a call, that stops while people are asked."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class PausableClock:
    """Stops *timeout* at the first of several pauses and continues it after the last one.

    Paused from the tasks of calls, on the loop of *timeout*. Nothing here awaits.
    """

    __slots__ = ("_left", "_pauses", "_timeout", "ended")

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout
        self._pauses = 0
        """How many pauses are open."""
        self._left: float | None = None
        """Seconds that were left when it stopped; None while it runs, or if it had no time limit or had expired."""
        self.ended = False
        """Whether `async with timeout` was left. Set by who entered it: asyncio has no public way to ask."""

    @property
    def expired(self) -> bool:
        """Whether the time is over."""
        return self._timeout.expired()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop it in this block. Without effect when it has expired or ended before, or does so in between."""
        self._pauses += 1
        if self._pauses == 1 and not self._over and (when := self._timeout.when()) is not None:
            self._left = when - asyncio.get_running_loop().time()
            self._timeout.reschedule(None)
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses and self._left is not None:
                left, self._left = self._left, None
                if not self._over:
                    self._timeout.reschedule(asyncio.get_running_loop().time() + left)

    @property
    def _over(self) -> bool:
        return self.ended or self._timeout.expired()
