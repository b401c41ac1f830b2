"""The streams of the UI API. A client that goes or stalls loses its stream and nothing else: no turn depends on it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from litestar.types import Receive, Scope, Send

from gaia_http._settings import Settings
from gaia_http.operations._metrics import HttpCounts
from gaia_http.streaming._sse_writer import SSEWriter


class UIStream:
    """An ASGI response that writes what *source* yields, each in one piece, and begins at once. *name* is the log's."""

    def __init__(self, name: str, source: AsyncGenerator[bytes, None], settings: Settings, counts: HttpCounts) -> None:
        self._name = name
        self._source = source
        self._settings = settings
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = SSEWriter(self._name, send, self._settings)
        watcher = asyncio.create_task(writer.watch(receive), name="gaia line")
        self._counts.open_streams += 1
        try:
            await writer.start()
            async with aclosing(self._source) as source:
                async for data in source:
                    await writer.write(data)
            await writer.write(b"", more=False)
        except asyncio.CancelledError:
            if not await writer.stopped(scope, receive):
                raise
        finally:
            self._counts.open_streams -= 1
            watcher.cancel()
