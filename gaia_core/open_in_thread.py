"""Opening something on a thread, for a task that may be cancelled meanwhile."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def opened_in_thread(open: Callable[[], T], close: Callable[[T], object]) -> T:
    """What *open* returns, on a thread. When this is cancelled, *close* is called with what *open* still returns.

    A thread can't be cancelled: without this, what it opens would belong to nobody.
    """
    lock = threading.Lock()
    handed_over: list[T] = []
    cancelled = False

    def work() -> None:
        opened = open()
        with lock:
            if not cancelled:
                handed_over.append(opened)
                return
        close(opened)

    try:
        await asyncio.to_thread(work)
    except asyncio.CancelledError:
        with lock:
            cancelled = True
        for opened in handed_over:
            close(opened)
        raise
    return handed_over[0]
