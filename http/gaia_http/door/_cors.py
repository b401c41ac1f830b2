"""CORS headers: only pages of the allowed origins may call this server from a browser.

No credentials are allowed: such a page sends its key itself.
"""

from collections.abc import Iterable

Headers = tuple[tuple[bytes, bytes], ...]

_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_SECONDS = b"600"
_EXPOSED = (
    b"x-request-id, request-id, x-session-id, x-gaia-ignored, retry-after, retry-after-ms, x-should-retry, "
    b"x-ratelimit-limit-requests, "
    b"x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "
    b"x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)


def response_headers(origin: bytes) -> Headers:
    """What every answer to a page of *origin* says."""
    return (
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"origin"),
    )


def preflight_headers(asked: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The answer to a browser that asks first: what it may send is what it wants to send, since the origin is known."""
    wanted = next((value for name, value in asked if name == b"access-control-request-headers"), b"")
    return (
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", wanted),
        (b"access-control-max-age", _SECONDS),
    )
