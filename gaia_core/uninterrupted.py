"""Awaiting what must run to its end, such as the end of a child process, in a task that may be cancelled meanwhile."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """The result of *work*, or what it raises. It runs to its end, however often the caller is cancelled.

    When the caller was cancelled, CancelledError is raised at the end, with the failure of *work* as its cause.
    *work* has to be bounded in time by itself.
    """
    # A task of its own: a cancellation of the caller ends only the wait for it. Nobody cancels it, except for the event
    # loop at its end.
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from task.exception()
    return task.result()
