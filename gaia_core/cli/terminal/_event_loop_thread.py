"""The event loop, on a thread of its own: it runs while a person types, and Ctrl-C reaches the terminal's thread.

with background() as loop:
    runtime = loop.run(opened(catalog))
"""

import asyncio
import inspect
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen(eq=False)
class EventLoopThread:
    """A running event loop, seen from another thread."""

    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of *work*. Ctrl-C cancels it."""
        future = self.spawn(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def spawn(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin *work* and return at once. May be called by a signal handler.

        Ctrl-C that comes meanwhile begins nothing.
        """
        try:
            return asyncio.run_coroutine_threadsafe(work, self.loop)
        except KeyboardInterrupt:
            self.loop.call_soon_threadsafe(_forget, work)
            raise


def _forget(work: Coroutine[Any, Any, object]) -> None:
    """Close *work* unless it has begun; else Python complains that nobody awaited it."""
    if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
        work.close()


@contextmanager
def background() -> Iterator[EventLoopThread]:
    """An event loop until the block is left, which cancels what still runs on it."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever, name="gaia event loop", daemon=True)
        thread.start()
        try:
            yield EventLoopThread(loop)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
