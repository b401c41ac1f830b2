"""The guard: URLs that a client gives are fetched only from allowed hosts, and only from public addresses.

Every hop of a redirect is looked at anew. A name is resolved once for each connection, all its addresses are checked,
and the connection is made to these: a name that changes its mind in between reaches nobody (DNS rebinding). Nothing of
this server goes along: no cookies, no proxy, no credentials, no referrer.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Callable
from typing import TypeAlias

import aiohttp
import attrs
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gaia_http._settings import Settings

_HOPS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = (("http", 80), ("https", 443))
_CHUNK = 65_536
_URL_CHARS = 2_048

_HOST = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\Z|[0-9a-f:.]{2,45}\Z")

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64, _COMPATIBLE = 0x0064_FF9B << 64, 0  # the first 96 bits of 64:ff9b::/96 (RFC 6052) and ::/96 (RFC 4291)
_NAT64_LOCAL = 0x0064_FF9B_0001  # the first 48 bits of 64:ff9b:1::/48 (RFC 8215)


class FetchError(Exception):
    """A URL that is not fetched, or could not be; says why, and nothing of what an internal host answered."""


@attrs.frozen
class Fetched:
    """What a URL gave: its media type, lower case and without parameters, and its bytes."""

    media: str
    data: bytes


def is_public(address: Address) -> bool:
    """Whether *address* belongs to the internet, whatever form it has: an IPv4 address may stand in an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        for inner in (address.sixtofour, *(address.teredo or ())):
            if inner is not None and not is_public(inner):
                return False
        if int(address) >> 32 in (_NAT64, _COMPATIBLE):
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if int(address) >> 80 == _NAT64_LOCAL or address.is_site_local or address.scope_id:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


class _Checked(AbstractResolver):
    """A resolver that gives checked addresses only."""

    def __init__(self, inner: AbstractResolver, allowed: Callable[[Address], bool]) -> None:
        self._inner = inner
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of *host*. Raises FetchError when one of them is not public."""
        found = await self._inner.resolve(host, port, family)
        for each in found:
            _check(each["host"], host, self._allowed)
        return found

    async def close(self) -> None:
        """Close the resolver beneath."""
        await self._inner.close()


def _check(text: str, host: str, allowed: Callable[[Address], bool]) -> None:
    try:
        public = allowed(ipaddress.ip_address(text))
    except ValueError:
        public = False
    if not public:
        raise FetchError(f"{host[:80]} is not a host of the internet")


class UrlFetcher:
    """Fetches for one application. *resolver* and *allowed* are the network's; tests give their own."""

    def __init__(
        self,
        settings: Settings,
        resolver: Callable[[], AbstractResolver] = aiohttp.ThreadedResolver,
        allowed: Callable[[Address], bool] = is_public,
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._allowed = allowed

    async def fetch(self, url: str, media: tuple[str, ...]) -> Fetched:
        """What *url* gives, if it is of one of the types *media* (`image/` means all of them). Raises FetchError."""
        try:
            async with asyncio.timeout(self._settings.fetch_seconds):
                return await self._fetch(url, media)
        except TimeoutError:
            raise FetchError(f"it took longer than {self._settings.fetch_seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, FetchError):
                cause = cause.__cause__ or cause.__context__
            raise cause or FetchError(f"it can't be reached ({type(error).__name__})") from None

    async def _fetch(self, url: str, media: tuple[str, ...]) -> Fetched:
        target = self._looked_at(url)
        connector = aiohttp.TCPConnector(
            resolver=_Checked(self._resolver(), self._allowed), use_dns_cache=False, force_close=True, limit=1
        )
        async with _session(connector) as session:
            for _ in range(_HOPS + 1):
                async with session.get(target, allow_redirects=False) as response:
                    if response.status not in _REDIRECTS:
                        return await self._read(response, media)
                    where = response.headers.get("location", "")
                target = self._looked_at(str(target.join(URL(where[: _URL_CHARS + 1]))))
        raise FetchError(f"it redirects more than {_HOPS} times")

    def _looked_at(self, text: str) -> URL:
        """*text* as a URL that may be asked. One parser says what its host is, to us and to the connection."""
        if len(text) > _URL_CHARS:
            raise FetchError(f"it has more than {_URL_CHARS} characters")
        url = URL(text)
        host = (url.raw_host or "").rstrip(".").lower()
        if (
            url.scheme not in ("http", "https")
            or _HOST.match(host) is None
            or url.user is not None
            or url.password is not None
        ):
            raise FetchError("only http:// and https:// URLs with a host and without a password are fetched")
        if not self._is_allowed(host, url):
            raise FetchError(f"{host[:80]} is not among the hosts that are fetched from (--fetch-urls)")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return url
        _check(str(address), host, self._allowed)  # the connector asks no resolver about it
        return url

    def _is_allowed(self, host: str, url: URL) -> bool:
        usual = (url.scheme, url.port) in _PORTS
        for allowed in self._settings.fetch_hosts:
            name, _, port = allowed.rpartition(":") if allowed.rpartition(":")[2].isdecimal() else (allowed, "", "")
            if (str(url.port) == port) if port else usual:
                below = name.startswith("*.") and host.endswith(name[1:])
                if name in ("*", host) or below:
                    return True
        return False

    async def _read(self, response: aiohttp.ClientResponse, media: tuple[str, ...]) -> Fetched:
        if response.status != 200:
            raise FetchError(f"it answered {response.status}")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise FetchError("it answered with compressed content")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not any(kind == wanted or (wanted.endswith("/") and kind.startswith(wanted)) for wanted in media):
            raise FetchError(f"its type is {kind[:80] or 'not given'!r}, not {' or '.join(media)}")
        most = self._settings.max_fetch_bytes
        data = bytearray()
        async for part in response.content.iter_chunked(_CHUNK):
            data += part
            if len(data) > most:
                raise FetchError(f"it has more than {most} bytes")
        return Fetched(kind, bytes(data))


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        headers={"accept-encoding": "identity", "user-agent": "gaia"},
        timeout=aiohttp.ClientTimeout(total=None),
    )
