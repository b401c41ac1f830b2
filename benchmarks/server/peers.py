"""The floors: the least that a server between a client and an endpoint can do.

`raw`: a relay on asyncio callbacks, which parses nothing but the ends of messages. `asgi`: the same behind uvicorn.
Run: python -m benchmarks.server.peers raw|asgi PORT UPSTREAM_PORT
"""

import asyncio
import re
import sys
from collections import deque

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_END = b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """A pooled connection to the endpoint; gives what arrives to *sink*."""

    def __init__(self, pool: deque) -> None:
        self.pool = pool
        self.sink = None

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        sink, ended = self.sink, data.endswith(_END)
        if ended:
            self.sink = None
            self.pool.append(self)
        sink(data, ended)


class Connections:
    """The pool."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.free: deque[Upstream] = deque()

    async def send(self, request: bytes, sink) -> None:
        if self.free:
            connection = self.free.popleft()
        else:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(lambda: Upstream(self.free), "127.0.0.1", self.port)
        connection.sink = sink
        connection.transport.write(request)


def request_of(body: bytes) -> bytes:
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n" % len(body)
    ) + body


class Raw(asyncio.Protocol):
    """A client's connection: the request goes up, what comes back is written as it is."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.buffer = b""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(_LENGTH.search(head)[1]) if head.startswith(b"POST") else 0
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        if not length:
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            return
        asyncio.get_running_loop().create_task(self.connections.send(request_of(rest[:length]), self.relay))

    def relay(self, data: bytes, _ended: bool) -> None:
        self.transport.write(data)


def asgi_app(connections: Connections):
    """The relay as an ASGI application; the body is unchunked here, because uvicorn chunks again."""
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]

    async def app(scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if not body:
            await send({"type": "http.response.body", "body": b"ok"})
            return
        arrived: asyncio.Queue = asyncio.Queue()
        await connections.send(request_of(body), lambda data, ended: arrived.put_nowait((data, ended)))
        ended = False
        while not ended:
            data, ended = await arrived.get()
            start = data.find(b"data:")
            payload = data[start : data.rfind(b"\n\n") + 2] if start >= 0 else b""
            await send({"type": "http.response.body", "body": payload, "more_body": not ended})

    return app


def main(kind: str, port: int, upstream: int) -> None:
    import uvloop

    if kind == "asgi":
        import uvicorn

        uvicorn.run(
            asgi_app(Connections(upstream)), port=port, log_level="warning", access_log=False, lifespan="off",
            loop="uvloop", http="httptools",
        )  # fmt: skip
        return

    async def serve() -> None:
        connections = Connections(upstream)
        server = await asyncio.get_running_loop().create_server(lambda: Raw(connections), "127.0.0.1", port)
        async with server:
            await server.serve_forever()

    uvloop.run(serve())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
