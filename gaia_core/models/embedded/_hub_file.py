"""What a model hub says of a file, before a byte of it is fetched: its SHA-256, its size and the commit it belongs to.

    weights = await hub_weights(Hub("Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf"))
    path = await fetch(weights, folder, weights.sources, told)

The hub answers `HEAD /REPOSITORY/resolve/REVISION/FILE` for a large file by a redirect to where its bytes are, with
`x-linked-etag` (the SHA-256, quoted), `x-linked-size` and `x-repo-commit` (source: huggingface_hub, file_download.py,
`get_hf_file_metadata`). A redirect on the same host is a renamed repository's, and followed. The file is then fetched
at that commit: an attempt that is resumed tomorrow continues the same file.
"""

import re
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import attrs

from gaia_core.models.embedded._weight_sources import Hub, SourceError
from gaia_core.models.embedded._weights import Weights

if TYPE_CHECKING:
    import aiohttp
    from multidict import CIMultiDictProxy

_SHA256 = re.compile(r'(?:W/)?"?([0-9a-f]{64})"?')
_NAME = re.compile(r"hf:(?P<repository>[\w.-]+/[\w.-]+)/(?P<file>[^@]+?)(?:@(?P<revision>[^@]+))?")
_REDIRECTS = 5
_REFUSED = MappingProxyType(
    {
        401: "the repository doesn't exist or asks for a login",
        403: "the repository asks for a login or for consent to its licence",
        404: "there is no such file or revision",
    }
)


def hub_file(name: str, endpoint: str | None = None) -> Hub | None:
    """The file that *name* (`hf:REPOSITORY/FILE`, with `@REVISION` if not main) means at *endpoint* (None: the public
    hub); None for another name."""
    if (found := _NAME.fullmatch(name)) is None:
        return None
    hub = Hub(found["repository"], found["file"], revision=found["revision"] or "main")
    return attrs.evolve(hub, endpoint=endpoint) if endpoint else hub


async def hub_weights(hub: Hub, *, licence: str = "") -> Weights:
    """The weights that *hub* has, by what it says of them. Raises SourceError."""
    import aiohttp  # noqa: PLC0415  # takes 100 ms, and only who fetches needs it

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=hub.connect_timeout, sock_read=hub.silence_timeout)
    try:
        async with aiohttp.ClientSession(
            timeout=timeout, trust_env=True, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            headers, status = await _head(session, hub.url)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise SourceError(f"{hub.label} can't be reached: {str(error) or type(error).__name__}") from None
    if status >= 400:
        why = _REFUSED.get(status, "it refuses")
        raise SourceError(f"{hub.label} answered {status} for {hub.file}: {why}")
    digest = _SHA256.fullmatch(headers.get("x-linked-etag", headers.get("etag", "")))
    size = headers.get("x-linked-size", headers.get("content-length", ""))
    if digest is None or not size.isdecimal():
        raise SourceError(
            f"{hub.label} doesn't say the SHA-256 and size of {hub.file}, so what it sends can't be verified. "
            "Fetch the file yourself and name it: gaia model use FILE"
        )
    at = attrs.evolve(hub, revision=headers.get("x-repo-commit", hub.revision))
    notice = f"{hub.repository}: {licence or 'its licence is on the page of the repository'}"
    return Weights(f"{hub.repository}/{hub.file}", digest[1], int(size), notice, (at,))


async def _head(session: "aiohttp.ClientSession", url: str) -> "tuple[CIMultiDictProxy[str], int]":
    for _ in range(_REDIRECTS):
        async with session.head(url, headers={"accept-encoding": "identity"}, allow_redirects=False) as response:
            there = urljoin(url, response.headers.get("location", url))
            elsewhere = urlsplit(there).netloc != urlsplit(url).netloc
            if not 300 <= response.status < 400 or elsewhere or "x-linked-etag" in response.headers:
                return response.headers, response.status
            url = there
    raise ValueError("it redirects again and again")
