"""The endpoint behind every server: answers from the words of the last message, on raw asyncio callbacks.

The last user message says what to send: `first_ms,tokens,interval_ms,per_write`. Run: python -m … PORT
"""

import asyncio
import re
import sys

_PLAN = re.compile(rb"(\d+),(\d+),([\d.]+),(\d+)")
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n"
)
_MODELS = b'{"object":"list","data":[{"id":"bench","object":"model","created":1,"owned_by":"bench"}]}'
_PREFIX = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"bench","choices":[{"index":0,"delta":'
_TOKEN = _PREFIX + b'{"content":" token"},"finish_reason":null}]}\n\n'
_END = (
    _PREFIX
    + b'{},"finish_reason":"stop"}]}\n\ndata: {"id":"c","object":"chat.completion.chunk","created":1,"model":"bench",'
    b'"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}\n\ndata: [DONE]\n\n'
)


def chunk(data: bytes) -> bytes:
    """*data* as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Endpoint(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.buffer = b""
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        if head.startswith(b"GET"):
            self.buffer = rest
            self.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_MODELS)
                + _MODELS
            )
            return
        length = int(re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)[1])
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        first, tokens, interval, per_write = _PLAN.findall(rest[:length])[-1]
        self.left, self.interval, self.per_write = int(tokens), float(interval) / 1000, int(per_write)
        self.transport.write(_HEAD)
        loop = asyncio.get_running_loop()
        self.due = loop.time() + int(first) / 1000
        self.timer = loop.call_at(self.due, self.go_on)

    def go_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            count = min(self.left, self.per_write)
            self.left -= count
            body = _TOKEN * count
            if not self.left:
                self.transport.write(chunk(body + _END) + b"0\r\n\r\n")
                return
            self.transport.write(chunk(body))
            self.due += self.interval
            if self.due > loop.time():
                self.timer = loop.call_at(self.due, self.go_on)
                return


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Endpoint, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1])))
