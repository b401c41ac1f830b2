"""The client for every endpoint that isn't plain HTTP to a host directly: TLS, proxies, redirects, compression.

A redirect is followed on the same host only: a request holds a conversation, and perhaps a key.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from gaia_core.models.http._client import ConnectTimeoutError, ExchangeError, Headers, Method

if TYPE_CHECKING:
    import aiohttp

_REDIRECTS = (307, 308)
"""Those that repeat the request as it is (RFC 9110, section 15.4). Any other would turn a POST into a GET."""
_MOST_REDIRECTS = 5


class AiohttpClient:
    """See `Client`. *proxies*: whether the environment names proxies; *connect_timeout* in seconds."""

    def __init__(self, base: str, *, connect_timeout: float, proxies: bool) -> None:
        self._base = base
        self._connect_timeout = connect_timeout
        self._proxies = proxies
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, method: Method, path: str, headers: Headers, body: bytes = b"") -> "_Response":
        """See `Client`."""
        url = self._base + path
        for _ in range(_MOST_REDIRECTS):
            response = await self._send(method, url, headers, body)
            elsewhere = _location(url, response)
            if elsewhere is None:
                break
            response.close()
            url = elsewhere
        return response

    async def _send(self, method: Method, url: str, headers: Headers, body: bytes) -> "_Response":
        import aiohttp  # noqa: PLC0415  # see _open

        while True:
            sending = _Sending()
            try:
                response = await self._open().request(
                    method,
                    url,
                    allow_redirects=False,
                    data=body if method == "POST" else None,
                    headers=headers,
                    trace_request_ctx=sending,
                )
                return _Response(response)
            except aiohttp.ConnectionTimeoutError as error:
                raise ConnectTimeoutError(type(error).__name__) from None
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if not sending.reused:
                    raise ExchangeError(type(error).__name__) from None
            except (aiohttp.ClientError, OSError) as error:
                raise ExchangeError(type(error).__name__) from None

    def _open(self) -> "aiohttp.ClientSession":
        if self._closed:
            raise ExchangeError("closed")
        if self._session is None:
            import aiohttp  # noqa: PLC0415  # takes 100 ms to import, and few need it

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
                trust_env=self._proxies,
                read_bufsize=2**18,
                trace_configs=[_tracing()],
            )
        return self._session

    async def aclose(self) -> None:
        """See `Client`."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _location(url: str, response: "_Response") -> str | None:
    """Where *response* redirects to on the same host; None when it doesn't. TLS may be added, not taken away."""
    if response.status not in _REDIRECTS or not (location := response.headers.get("location")):
        return None
    try:
        there = urljoin(url, location)
        old, new = urlsplit(url), urlsplit(there)
        same = (old.hostname, old.scheme, old.port) == (new.hostname, new.scheme, new.port)
    except ValueError:  # no address
        return None
    upgraded = (old.hostname, old.scheme, new.scheme) == (new.hostname, "http", "https")
    return there if same or upgraded else None


class _Response:
    """See `Response`."""

    __slots__ = ("_response",)

    def __init__(self, response: "aiohttp.ClientResponse") -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    @property
    def ended(self) -> bool:
        return self._response.content.is_eof()

    async def arriving(self) -> bytes:
        import aiohttp  # noqa: PLC0415  # see AiohttpClient._open

        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise ExchangeError(type(error).__name__) from None
        except RuntimeError:  # so aiohttp says that the session was closed meanwhile
            raise ExchangeError("closed") from None

    def fail(self, error: Exception) -> None:
        self._response.content.set_exception(error)

    def close(self) -> None:
        # Closed, not released: a response that was read to its end has given its connection back already.
        self._response.close()


class _Sending:
    """One request on its way: whether its connection was used before."""

    __slots__ = ("reused",)

    def __init__(self) -> None:
        self.reused = False


def _tracing() -> "aiohttp.TraceConfig":
    import aiohttp  # noqa: PLC0415  # see AiohttpClient._open

    async def note(_session: object, context: Any, _parameters: object) -> None:
        context.trace_request_ctx.reused = True

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(note)
    return tracing
