"""Slots: how many requests a model takes at once, and who is next when they are all taken (law 7).

A slot belongs to one model request, from admission until its upstream response is closed. Who waits is served round
robin over sessions, so that a session with many requests does not hold up one with few.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from gaia_core.errors import QueueFullError

_SMOOTHING = 0.2
_FIRST_GUESS_SECONDS = 5.0


class _Waiter:
    __slots__ = ("future", "moved", "position")

    def __init__(self, future: asyncio.Future[None], moved: Callable[[int], None], position: int) -> None:
        self.future = future
        self.moved = moved
        self.position = position


class SlotPool:
    """The slots of one model; *slots* at once, at most *queue* waiting. Belongs to one Runtime and its event loop."""

    def __init__(self, model: str, slots: int, queue: int) -> None:
        self._model = model
        self._slots = slots
        self._queue = queue
        self._free = slots
        self._waiting: OrderedDict[str, deque[_Waiter]] = OrderedDict()
        self._queued = 0
        self._hold_seconds = _FIRST_GUESS_SECONDS

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self._slots - self._free

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return self._queued

    @property
    def slots(self) -> int:
        """Slots in all."""
        return self._slots

    @property
    def retry_after(self) -> float:
        """Seconds until a place in the queue should be free, from how long slots were held lately."""
        return max(1.0, round(self._hold_seconds * (self._queued + 1) / self._slots, 1))

    async def acquire(self, key: str, moved: Callable[[int], None]) -> float:
        """Take a slot for the session *key*; returns when it was taken, for `release`.

        *moved* is told the place in the queue, at first and whenever it changes; 1 is next. Raises QueueFullError.
        """
        if self._free and not self._queued:
            self._free -= 1
            return time.monotonic()
        if self._queued >= self._queue:
            raise QueueFullError(
                f"model {self._model!r} has {self._slots} slots in use and {self._queued} requests waiting; "
                f"try again in {self.retry_after:g} s",
                self.retry_after,
            )
        waiter = _Waiter(asyncio.get_running_loop().create_future(), moved, 0)
        self._waiting.setdefault(key, deque()).append(waiter)
        self._queued += 1
        self._tell_positions()
        try:
            await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled():
                self._hand_on()
            else:
                self._forget(key, waiter)
            raise
        return time.monotonic()

    def release(self, taken: float) -> None:
        """Give the slot back that was *taken* then."""
        held = time.monotonic() - taken
        self._hold_seconds += _SMOOTHING * (held - self._hold_seconds)
        self._hand_on()

    def _hand_on(self) -> None:
        """Give a slot that became free to the next in turn."""
        while self._waiting:
            key, waiters = self._waiting.popitem(last=False)
            waiter = waiters.popleft()
            if waiters:
                self._waiting[key] = waiters
            self._queued -= 1
            if not waiter.future.done():
                waiter.future.set_result(None)
                self._tell_positions()
                return
        self._free += 1

    def _forget(self, key: str, waiter: _Waiter) -> None:
        waiters = self._waiting.get(key)
        if waiters is None or waiter not in waiters:
            return
        waiters.remove(waiter)
        if not waiters:
            del self._waiting[key]
        self._queued -= 1
        self._tell_positions()

    def _tell_positions(self) -> None:
        """Tell those who moved. The order is that in which slots will be given: one of each session in turn."""
        position = 0
        rows = [tuple(waiters) for waiters in self._waiting.values()]
        for depth in range(max(map(len, rows), default=0)):
            for row in rows:
                if depth < len(row):
                    position += 1
                    waiter = row[depth]
                    if waiter.position != position:
                        waiter.position = position
                        waiter.moved(position)
