"""Disconnects of clients that wait for an answer in one piece: ASGI tells nobody of them who doesn't call `receive`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from litestar.types import Receive


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def completed(work: Awaitable[object], receive: Receive, cancel: Callable[[], Awaitable[object]]) -> bool:
    """Await *work*; True when its client is still connected. If it disconnects, *cancel* is awaited, which ends *work*.

    The watcher is a task of this call: it is cancelled when *work* is over, and *work* is awaited by the caller's task.
    """
    gone = False

    async def watch() -> None:
        nonlocal gone
        await disconnected(receive)
        gone = True
        await cancel()

    watcher = asyncio.create_task(watch(), name="gaia disconnect watch")
    try:
        await work
    finally:
        watcher.cancel()
    return not gone


async def task_completed(task: "asyncio.Task[Any]", receive: Receive) -> bool:
    """Wait for *task*; False when it was cancelled, as it is when its client disconnects or this call is cancelled."""

    async def cancel() -> None:
        task.cancel()

    try:
        await completed(asyncio.wait((task,)), receive, cancel)
    finally:
        task.cancel()
    return not task.cancelled()
