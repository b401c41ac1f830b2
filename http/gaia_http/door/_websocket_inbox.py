"""The messages of a WebSocket whose key has limits: each is given when it may count, and who goes is seen at once."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from litestar.types import Receive
from litestar.types.asgi_types import ReceiveMessage as Message

from gaia_core import LimitError

_AHEAD = 16
"""Messages that are taken in while one waits; together they may have the bytes of the largest one."""
TOO_MANY = "too many messages at once: the key's limits make them wait"


class WebSocketInbox:
    """Reads one connection. *count* counts a message, or raises LimitError: not yet. *most*: bytes that may wait.

    While a message waits, those behind it are taken in, within a bound: only so is it seen that the client has gone,
    which is then what comes next.
    """

    def __init__(self, receive: Receive, count: Callable[[], None], most: int) -> None:
        self._receive = receive
        self._count = count
        self._most = most
        self._ahead: deque[Message] = deque()
        self._coming: asyncio.Task[Message] | None = None

    async def next(self) -> Message | None:
        """The next message; None when more wait than may."""
        message = self._ahead.popleft() if self._ahead else await self._come()
        while message["type"] == "websocket.receive":
            try:
                self._count()
            except LimitError as error:
                late = await self._look(error.retry_after)
                if late is None:
                    continue
                if late["type"] != "websocket.receive":
                    return late
                self._ahead.append(late)
                if len(self._ahead) > _AHEAD or sum(map(_size, self._ahead)) > self._most:
                    return None
            else:
                break
        return message

    async def _come(self) -> Message:
        coming, self._coming = self._coming, None
        return await (coming if coming is not None else self._receive())

    async def _look(self, seconds: float) -> Message | None:
        """What comes within *seconds*."""
        if self._coming is None:
            self._coming = asyncio.ensure_future(self._receive())
        await asyncio.wait((self._coming,), timeout=seconds)
        return await self._come() if self._coming.done() else None

    def close(self) -> None:
        """Look for nothing more."""
        if self._coming is not None:
            self._coming.cancel()


def _size(message: Any) -> int:
    """About the bytes of a message: a text's characters are counted."""
    return len(message.get("text") or message.get("bytes") or b"")
