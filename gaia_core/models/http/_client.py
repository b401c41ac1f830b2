"""The seam to HTTP: what an endpoint needs of a client, and which client serves it.

`_plain_client` is quick and speaks plain HTTP/1.1 to a host directly; `_aiohttp_client` speaks all the rest:
TLS, proxies, redirects, compressed bodies.
"""

from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias

Method: TypeAlias = Literal["GET", "POST"]
Headers: TypeAlias = tuple[tuple[str, str], ...]


class ExchangeError(Exception):
    """A request got no answer, or its answer broke off; the text says how, in a word or two, and quotes nobody."""


class ConnectTimeoutError(ExchangeError):
    """No connection came about in time."""


class UnspokenError(ExchangeError):
    """The answer needs more than this client speaks; nothing is lost by asking another client."""


class HttpResponse(Protocol):
    """An answer whose head has arrived."""

    @property
    def status(self) -> int:
        """The status code."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by name in lower case; of several, the first."""
        ...

    async def arriving(self) -> bytes:
        """What has arrived of the body, at least a byte; nothing at its end. Raises ExchangeError, and what `fail` was
        given."""
        ...

    @property
    def ended(self) -> bool:
        """Whether all of the body has arrived."""
        ...

    def fail(self, error: Exception) -> None:
        """Let the present and every later `arriving` raise *error*."""
        ...

    def close(self) -> None:
        """Close the connection at once, unless the body was read to its end: then it is kept for another request."""
        ...


class HttpClient(Protocol):
    """Sends requests to one base URL. Belongs to one event loop."""

    async def send(self, method: Method, path: str, headers: Headers, body: bytes = b"") -> HttpResponse:
        """The response to one request, on a kept connection or a new one. *path* is put to the base.

        Some servers (llama.cpp) promise to keep a connection and close it all the same, in the moment of its next
        use: a kept one that breaks before it answers is no failure, and another is tried at once. Cancelling closes
        the connection. Raises ExchangeError.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        ...


async def body_of(response: HttpResponse, at_most: int) -> bytes:
    """A body to its end, or its first *at_most* bytes."""
    parts: list[bytes] = []
    left = at_most
    while left > 0 and (part := await response.arriving()):
        parts.append(part[:left])
        left -= len(part)
    return b"".join(parts)
