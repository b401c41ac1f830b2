"""A model server on a port of this machine that bends the protocol as real ones do: see `QUIRKS` for how.

Each connection is one request, served by a task that `asyncio.start_server` starts. `quirky_endpoint` cancels and
awaits these tasks when its block ends.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import msgspec

from gaia_core.errors import ConfigError
from gaia_core.nesting import decode_json
from gaia_core.testing._quirks import QUIRKS, Json, Reply, refusal_of, spoken
from gaia_core.tools import nearest

_PAGE = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>Sign in to go on</body></html>\n"
_MODEL = "quirky"


class QuirkyEndpoint:
    """The running server. *url* is for `EndpointConfig`; *requests* are the bodies of the chat completions that it was
    asked for, in order; *followed* counts those that came by its redirect."""

    __slots__ = ("_quirk", "_replies", "_spoken", "_tasks", "_window", "followed", "requests", "url")

    def __init__(self, quirk: str, replies: tuple[Reply, ...], window: int) -> None:
        self._quirk = quirk
        self._replies = replies
        self._window = window
        self._spoken = 0
        """How many of the replies were begun. Written by the connections' tasks, as the three below."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[Json] = []
        self.followed = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the one request of a connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        """Cancel what is still being answered."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = head.split(" ", 2)
        lines = [line.partition(":") for line in head.split("\r\n")]
        length = next((int(value) for name, _, value in lines if name.lower() == "content-length"), 0)
        body = await reader.readexactly(length)
        if method == "GET" and path.endswith("/models"):
            await _whole(writer, 200, {"object": "list", "data": [{"id": _MODEL, "object": "model"}]})
        elif method == "POST" and path.endswith("/chat/completions"):
            await self._complete(writer, path, body)
        else:
            await _whole(writer, 404, {"error": {"message": f"no route {method} {path}"}})

    async def _complete(self, writer: asyncio.StreamWriter, path: str, body: bytes) -> None:
        request: Json = decode_json(body)
        number = len(self.requests)
        self.requests.append(request)
        if path.startswith("/elsewhere"):
            self.followed += 1
        elif self._quirk == "redirect":
            port = writer.get_extra_info("sockname")[1]
            await _head(writer, 307, "text/plain", f"location: http://localhost:{port}/elsewhere{path}\r\n")
            return
        if self._quirk == "html":
            await _head(writer, 200, "text/html")
            writer.write(_PAGE)
            return
        refused = refusal_of(self._quirk, request, number, self._window)
        if refused is not None and refused[0] != 200:
            await _whole(writer, *refused)
            return
        await _head(writer, 200, "text/event-stream", "transfer-encoding: chunked\r\n")
        if self._quirk == "endless":
            await self._endless(writer)
        elif self._quirk == "html_as_stream":
            await _piece(writer, _PAGE)
        elif self._quirk == "error_line":
            told = {"code": 500, "message": "the slot is out of memory", "type": "server_error"}
            await _piece(writer, b"error: " + msgspec.json.encode(told) + b"\n\ndata: [DONE]\n\n")
        else:
            await self._stream(writer, [refused[1]] if refused is not None else self._next())
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def _next(self) -> list[Json]:
        """The next reply in the endpoint's shape; the last one is repeated."""
        self._spoken += 1
        reply = self._replies[min(self._spoken, len(self._replies)) - 1]
        return spoken(self._quirk, reply, self._spoken)

    async def _stream(self, writer: asyncio.StreamWriter, events: list[Json]) -> None:
        end = {"line_ends_cr": b"\r", "line_ends_crlf": b"\r\n"}.get(self._quirk, b"\n")
        done = [] if self._quirk == "no_finish" else [b"[DONE]"]
        for data in [*map(msgspec.json.encode, events), *done]:
            event = b"data: " + data + end + end
            if self._quirk != "byte_by_byte":
                await _piece(writer, event)
                continue
            for at in range(len(event)):
                await _piece(writer, event[at : at + 1])
                await asyncio.sleep(0)  # the client reads before the next byte

    async def _endless(self, writer: asyncio.StreamWriter) -> None:
        event = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"and so on " * 400)
        while not writer.is_closing():
            await _piece(writer, event)


@asynccontextmanager
async def quirky_endpoint(quirk: str, *replies: Reply, window: int = 8_192) -> AsyncGenerator[QuirkyEndpoint]:
    """Run a model server with the *quirk* (a name in `QUIRKS`) on a port of 127.0.0.1.

        async with quirky_endpoint("calls_share_index", (call("f", a=1), call("g", b=2)), "Done") as server:
            model = Endpoint(EndpointConfig(url=server.url))

    It answers the requests that it takes with *replies* in turn, in the quirk's shape, and repeats the last one;
    without any, "Hello". *window* is in tokens of 4 bytes: `overflow_…` refuse longer messages. Raises ConfigError
    for an unknown quirk.
    """
    names = tuple(known.name for known in QUIRKS)
    if quirk not in names:
        raise ConfigError(f"there is no quirk {quirk!r}.{nearest(quirk, names)} Quirks: {', '.join(names)}")
    endpoint = QuirkyEndpoint(quirk, replies or ("Hello",), window)
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0, limit=2**16)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield endpoint
    finally:
        server.close()
        await endpoint.close()


async def _head(writer: asyncio.StreamWriter, status: int, media: str, more: str = "") -> None:
    # Without a length and not chunked, a body ends where the connection does.
    writer.write(f"HTTP/1.1 {status} -\r\ncontent-type: {media}\r\nconnection: close\r\n{more}\r\n".encode())
    await writer.drain()


async def _whole(writer: asyncio.StreamWriter, status: int, body: Json) -> None:
    encoded = msgspec.json.encode(body)
    await _head(writer, status, "application/json", f"content-length: {len(encoded)}\r\n")
    writer.write(encoded)
    await writer.drain()


async def _piece(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))
    await writer.drain()
