"""A response's head and the first piece of its body in one write.

uvicorn writes a head as soon as it has it. What follows comes in the same moment, and a write more costs the server a
call of the system and the client a wake-up.
"""

import asyncio

_CONTINUE = b"HTTP/1.1 100 "


class Together:
    """A transport for one response: its head waits for what comes next.

    Source: the ASGI specification of `http.response.start`: nothing is sent before the first event of the body.
    """

    __slots__ = ("_held", "_told", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
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

    def flush(self) -> None:
        """Write the head of a response that has no body."""
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
