"""A response's head and the first piece of its body in one write.

uvicorn writes a head as soon as it has it. The body mostly follows at once, and each further write costs the server a
system call and the client a wake-up. A head without a body so far is written in the loop's next iteration, so that the
client of a stream that has no event yet learns at once that its request was accepted.
"""

import asyncio

_CONTINUE = b"HTTP/1.1 100 "


class HeadCoalescing:
    """A transport for one response: its head waits for what comes next in this round of *loop*."""

    __slots__ = ("_held", "_loop", "_told", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self._told = False

    def write(self, data: bytes) -> None:
        """See asyncio.WriteTransport."""
        if self._told or data.startswith(_CONTINUE):
            self._transport.write(data)
        elif self._held:
            self._transport.write(self._held + data)
            self._held, self._told = b"", True
        else:
            self._held = data
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write a head that still waits."""
        if self._held:
            self._transport.write(self._held)
            self._held, self._told = b"", True

    def is_closing(self) -> bool:
        """See asyncio.BaseTransport."""
        return self._transport.is_closing()

    def close(self) -> None:
        """See asyncio.BaseTransport."""
        self.flush()
        self._transport.close()
