"""Reading a request's body: JSON only, uncompressed, within its bounds of size and time."""

import asyncio
from collections.abc import AsyncGenerator, Iterable

from litestar.types import Receive

from gaia_http._errors import ApiError, ErrorReply, invalid
from gaia_http._settings import Settings

SPOOLED = "gaia.spooled"
"""The key in a scope's state of what a handler calls with the bytes of a body that it has put on disk."""

_DISCARDED_BODIES = 4
"""How many times the bound is read and thrown away, so that a client that sends before it reads sees its 413."""


_CURLS = b"application/x-www-form-urlencoded"
_BROWSERS = frozenset((b"origin", b"referer", b"sec-fetch-site", b"sec-fetch-mode"))


class ClientGone(Exception):  # noqa: N818  # not an error: nobody is there to be told
    """The client closed the connection before its request was complete."""


def check_headers(headers: Iterable[tuple[bytes, bytes]], *, curl: bool = False) -> None:
    """Refuse, with 415, a body that isn't plain JSON. No content type is taken for JSON.

    *curl*: so is the one that `curl -d` sends by itself, as in all examples of Ollama's documentation; but not from a
    browser, whose forms have it, too, and which names their origin.
    """
    headers = tuple(headers)
    for name, value in headers:
        if name == b"content-type":
            media = value.split(b";", 1)[0].strip().lower()
            if (
                media
                and media != b"application/json"
                and not (media[:12] == b"application/" and media[-5:] == b"+json")
                and not (curl and media == _CURLS and _BROWSERS.isdisjoint(each for each, _ in headers))
            ):
                given = value.decode("latin-1")
                raise invalid(
                    f"the content type is {given!r}; send JSON as application/json",
                    code="unsupported_media_type",
                    status=415,
                )
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            given = value.decode("latin-1")
            raise invalid(
                f"the body is encoded as {given!r}; send it uncompressed", code="unsupported_media_type", status=415
            )


async def read_body(receive: Receive, settings: Settings, most: int | None = None) -> bytes:
    """The whole body, of at most *most* bytes (default: `max_body_bytes`).

    Raises ApiError 413 and 408, and ClientGone.
    """
    try:
        async with asyncio.timeout(settings.body_seconds):
            return await _read(receive, settings.max_body_bytes if most is None else most)
    except TimeoutError:
        raise _too_slow(settings.body_seconds) from None


async def body_pieces(receive: Receive, settings: Settings, most: int) -> AsyncGenerator[bytes, None]:
    """The body as it arrives, of at most *most* bytes. What follows them isn't given: ApiError 413 ends it.

    Raises ApiError 408, too, and ClientGone.
    """
    loop = asyncio.get_running_loop()
    until, size = loop.time() + settings.body_seconds, 0
    while True:
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise _too_slow(settings.body_seconds) from None
        if message["type"] != "http.request":
            raise ClientGone
        body = message.get("body", b"")
        size += len(body)
        yield body if size <= most else b""
        if not message.get("more_body") or size > most * _DISCARDED_BODIES:
            break
    if size > most:
        raise _too_large(most)


def _too_slow(seconds: float) -> ApiError:
    message = f"the body did not arrive within {seconds:g} s"
    headers = (("connection", "close"),)
    return ApiError(ErrorReply(status=408, message=message, code="request_timeout", headers=headers))


def _too_large(most: int) -> ApiError:
    headers = (("connection", "close"),)
    text = f"the body has more than {most} bytes; send less (max_body_bytes bounds it)"
    return ApiError(ErrorReply(status=413, message=text, code="request_too_large", headers=headers))


async def _read(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        body = message.get("body", b"")
        size += len(body)
        if size <= limit:
            parts.append(body)
        elif parts:
            parts = []
        if not message.get("more_body") or size > limit * _DISCARDED_BODIES:
            break
    if size > limit:
        raise _too_large(limit)
    return parts[0] if len(parts) == 1 else b"".join(parts)
