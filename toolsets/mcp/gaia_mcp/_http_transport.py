"""A server over streamable HTTP: the SDK's transport, within bounds.

A body longer than the bound is left unread and fails its own call. Redirects stay within the origin (the SDK sees to
that), and no proxy of the environment is used, so the headers reach the configured server only.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from gaia_mcp._server_config import McpServerConfig

_SECONDS = 30.0


class RefusalRecord:
    """What the server's last refusal was, for the words about it; the SDK keeps only that there was one."""

    __slots__ = ("refusal",)

    def __init__(self) -> None:
        self.refusal = ""

    def see(self, status: int) -> None:
        """The status of an answer."""
        if status >= HTTPStatus.BAD_REQUEST:
            known = status in HTTPStatus.__members__.values()
            self.refusal = f"HTTP {status} {HTTPStatus(status).phrase}" if known else f"HTTP {status}"


@asynccontextmanager
async def http(
    server: McpServerConfig, headers: dict[str, str], answers: RefusalRecord
) -> AsyncIterator[TransportStreams]:
    """The streams to *server*. A quiet stream may last: calls have their own time."""
    client = httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(_SECONDS, read=None),
        transport=_Bounded(server.max_bytes, answers),
        trust_env=False,
    )
    async with (
        client,
        streamable_http_client(server.url, http_client=client, max_sse_event_size=server.max_bytes) as streams,
    ):
        yield streams


class _Bounded(httpx2.AsyncHTTPTransport):
    """Bodies that aren't event streams end at the bound."""

    def __init__(self, most: int, answers: RefusalRecord) -> None:
        super().__init__(limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20), trust_env=False)
        self._most = most
        self._answers = answers

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, its body bounded."""
        response = await super().handle_async_request(request)
        self._answers.see(response.status_code)
        kind = response.headers.get("content-type", "").lower()
        if isinstance(response.stream, httpx2.AsyncByteStream) and not kind.startswith("text/event-stream"):
            response.stream = _Body(response.stream, self._most)
        return response


class _Body(httpx2.AsyncByteStream):
    def __init__(self, body: httpx2.AsyncByteStream, most: int) -> None:
        self._body = body
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._body:
            size += len(chunk)
            if size > self._most:
                raise httpx2.StreamError(f"the answer has more than {self._most} bytes (max_bytes)")
            yield chunk

    async def aclose(self) -> None:
        """Close the body, read or not."""
        await self._body.aclose()
