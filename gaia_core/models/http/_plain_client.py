"""The client for plain HTTP/1.1 to a host directly: an asyncio protocol around httptools, without a task or a queue.

What one read of the socket brings is one piece of the body, handed to the task that awaits it. A connection that was
read to the end of a response is kept for the next request; in every other case it is closed at once.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from copy import copy
from typing import cast
from urllib.parse import quote, urlsplit

from gaia_core.models.http._client import ConnectTimeoutError, ExchangeError, Headers, Method, UnspokenError

_MAX_HEAD_BYTES = 64 * 1024
_MAX_UNREAD_BYTES = 2**18
"""What arrives beyond this waits in the system's buffers, and so at the endpoint, until somebody reads."""
_MAX_IDLE = 256
_IDLE_SECONDS = 30.0
_NEXT_ADDRESS_SECONDS = 0.25
_REDIRECTS = (301, 302, 303, 307, 308)
_IN_A_PATH = "/%:@!$&'()*+,;=~-._"


class PlainClient:
    """See `Client`. *base* is an http:// URL; *connect_timeout* in seconds."""

    def __init__(self, base: str, *, connect_timeout: float) -> None:
        parts = urlsplit(base)
        self._host = parts.hostname or ""
        self._port = parts.port or 80
        self._connect_timeout = connect_timeout
        authority = f"[{self._host}]" if ":" in self._host else self._host
        authority += "" if parts.port in (None, 80) else f":{parts.port}"
        self._path = quote(parts.path, safe=_IN_A_PATH)
        self._common = f" HTTP/1.1\r\nhost: {authority}\r\nuser-agent: gaia\r\n"
        self._open: set[_PooledConnection] = set()
        self._idle: dict[_PooledConnection, float] = {}  # since when; the latest is last, and is used first
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, method: Method, path: str, headers: Headers, body: bytes = b"") -> "PlainResponse":
        """See `Client`. Raises UnspokenError for a redirect and for a compressed body."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        length = f"content-length: {len(body)}\r\n" if method == "POST" else ""
        request = f"{method} {self._path}{path}{self._common}{lines}{length}\r\n".encode("latin-1") + body
        while True:
            kept = self._kept()
            connection = kept or await self._connect()
            response = connection.ask(request)
            try:
                await response.head()
            except BaseException as error:
                response.close()
                if kept is not None and isinstance(error, ExchangeError) and not (response.heard or self._closed):
                    continue
                raise
            if response.status in _REDIRECTS or response.headers.get("content-encoding", "identity") != "identity":
                response.close()
                raise UnspokenError(f"status {response.status}, or a compressed body")
            return response

    def _kept(self) -> "_PooledConnection | None":
        return self._idle.popitem()[0] if self._idle else None

    async def _connect(self) -> "_PooledConnection":
        try:
            async with asyncio.timeout(self._connect_timeout):
                found = await self._connected()
        except TimeoutError:
            raise ConnectTimeoutError("no connection in time") from None
        except OSError as error:
            raise ExchangeError(type(error).__name__) from None
        self._open.add(found)
        if self._closed:  # while this one was made
            found.abort()
            await found.closed
            raise ExchangeError("closed")
        return found

    async def _connected(self) -> "_PooledConnection":
        loop = asyncio.get_running_loop()
        if _is_address(self._host):
            _, made = await loop.create_connection(lambda: _PooledConnection(self), self._host, self._port)
            return made
        # A name may have several addresses, of which some answer nobody: they are tried side by side (RFC 8305).
        from aiohappyeyeballs import start_connection  # noqa: PLC0415  # few endpoints are known by a name

        infos = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        connected = await start_connection(infos, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, interleave=1, loop=loop)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _, made = await loop.create_connection(lambda: _PooledConnection(self), sock=connected)
        except BaseException:
            connected.close()
            raise
        return made

    def keep(self, connection: "_PooledConnection") -> None:
        """Keep *connection* for the next request, unless too many are."""
        if connection not in self._open or len(self._idle) >= _MAX_IDLE:
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        self._idle[connection] = loop.time()
        if self._sweeper is None:
            self._sweeper = loop.call_later(_IDLE_SECONDS, self._sweep)

    def lost(self, connection: "_PooledConnection") -> None:
        """*connection* is closed."""
        self._open.discard(connection)
        self._idle.pop(connection, None)

    def _sweep(self) -> None:
        """Close the connections that nobody has used for long."""
        loop = asyncio.get_running_loop()
        self._sweeper = None
        while self._idle:
            connection, since = next(iter(self._idle.items()))
            if (due := since + _IDLE_SECONDS) > loop.time():
                self._sweeper = loop.call_at(due, self._sweep)
                return
            del self._idle[connection]
            connection.abort()

    async def aclose(self) -> None:
        """See `Client`."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        closing = tuple(self._open)
        for connection in closing:
            connection.abort("closed")
        for connection in closing:
            await connection.closed


class PlainResponse:
    """See `Response`. It outlives its exchange: what has arrived can be read when the connection serves another."""

    __slots__ = ("_connection", "_error", "_loop", "_parts", "_size", "_waiter", "ended", "headers", "heard", "status")

    def __init__(self, connection: "_PooledConnection", loop: asyncio.AbstractEventLoop) -> None:
        self._connection: _PooledConnection | None = connection
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0
        # Copies of it are raised: with a traceback it would keep the frames alive that keep this alive.
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.heard = False
        """Whether anything of it has arrived."""
        self.ended = False
        """See `Response`."""
        self.status = 0
        """See `Response`; 0 until the head has arrived."""
        self.headers: Mapping[str, str] = {}
        """See `Response`."""

    async def head(self) -> None:
        """Wait for the status and the headers. Raises ExchangeError."""
        while not self.status:
            if self._error is not None:
                raise copy(self._error)
            await self._more()

    async def arriving(self) -> bytes:
        """See `Response`."""
        while not (parts := self._parts):
            if self._error is not None:
                raise copy(self._error)
            if self.ended:
                return b""
            await self._more()
        self._parts = []
        if self._size > _MAX_UNREAD_BYTES and self._connection is not None:
            self._connection.resume()
        self._size = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _more(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def fail(self, error: Exception) -> None:
        """See `Response`."""
        self._error = self._error or error
        self.wake()

    def close(self) -> None:
        """See `Response`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort("closed")

    # For its connection.

    def take(self, data: bytes) -> bool:
        """*data* of the body has arrived; whether no more should, for now."""
        self._parts.append(data)
        self._size += len(data)
        return self._size > _MAX_UNREAD_BYTES

    def end(self) -> None:
        """The whole body has arrived."""
        self.ended = True
        self._connection = None

    def wake(self) -> None:
        """Show what has arrived."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _PooledConnection(asyncio.Protocol):
    """One connection: its answers are those to its requests, one after the other."""

    def __init__(self, client: PlainClient) -> None:
        import httptools  # noqa: PLC0415  # only who opens an endpoint needs it

        self._client = client
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._broken = httptools.HttpParserError, httptools.HttpParserUpgrade
        self._response: PlainResponse | None = None
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._in_head = True
        self._complete = False
        self._keeps = False
        self._paused = False
        self.closed: asyncio.Future[None] = self._loop.create_future()
        """Done when it is closed."""

    def ask(self, request: bytes) -> PlainResponse:
        """Send *request*; its response, which has yet to come."""
        self._response = PlainResponse(self, self._loop)
        self._headers, self._head_bytes, self._in_head, self._complete = {}, 0, True, False
        assert self._transport is not None
        self._transport.write(request)
        return self._response

    def resume(self) -> None:
        """Somebody has read: more may arrive."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def abort(self, why: str = "") -> None:
        """Close it at once; a response that is still due breaks off."""
        response, self._response = self._response, None
        if response is not None:
            response.fail(ExchangeError(why))
        self._client.lost(self)
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        response = self._response
        if response is None or self._parser is None:  # it says something that nobody asked for
            self.abort()
            return
        response.heard = True
        if self._in_head:
            self._head_bytes += len(data)
        valid = True
        try:
            self._parser.feed_data(data)
        except self._broken:
            valid = False
        if self._complete:
            self._answered(response, keeps=valid and self._keeps)
        elif not valid:
            self.abort("no valid HTTP")
        elif self._in_head and self._head_bytes > _MAX_HEAD_BYTES:
            self.abort("a head of no end")
        else:
            response.wake()

    def _answered(self, response: PlainResponse, *, keeps: bool) -> None:
        self._response = None
        response.end()
        response.wake()
        self.resume()
        if keeps:
            self._client.keep(self)
        else:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        response, self._response = self._response, None
        if response is not None:
            if error is None and not self._in_head and self._ends_with_the_connection:
                response.end()
                response.wake()
            else:
                response.fail(ExchangeError(type(error).__name__ if error is not None else "closed before its end"))
        self._client.lost(self)
        self._transport = self._parser = None  # they and this would keep each other alive
        if not self.closed.done():
            self.closed.set_result(None)

    @property
    def _ends_with_the_connection(self) -> bool:
        """Source: RFC 9112, section 6.3, rule 8."""
        return "content-length" not in self._headers and "transfer-encoding" not in self._headers

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools.HTTPProtocol."""
        if self._in_head:  # else a trailer
            self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """See httptools.HTTPProtocol."""
        assert self._parser is not None
        assert self._response is not None
        status = self._parser.get_status_code()
        if status < 200:  # only "go on": the answer is yet to come
            self._headers = {}
            return
        self._in_head = False
        self._response.headers = self._headers
        self._response.status = status

    def on_body(self, data: bytes) -> None:
        """See httptools.HTTPProtocol."""
        if self._response is not None and self._response.take(data) and not self._paused:
            assert self._transport is not None
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """See httptools.HTTPProtocol."""
        if not self._in_head:
            self._complete = True
            self._keeps = self._parser is not None and self._parser.should_keep_alive()  # it knows only here

    def on_message_begin(self) -> None:
        """See httptools.HTTPProtocol."""
        if self._complete:  # an answer too many
            raise ValueError


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
