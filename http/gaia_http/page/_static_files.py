"""The page: a built single-page client below one folder, served at `/`.

What is not a file there is the client's own address and gets `index.html`, when a browser asks for a document; below
`/assets/` it is a 404. The server's own paths never come here. No path leaves the folder: not by `..`, however it was
encoded, not by a symlink, not by a hidden name. A file whose name has a hash in it never changes and is kept by
browsers; `index.html` is asked for again each time.
"""

import asyncio
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

import attrs
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from gaia_core import ConfigError
from gaia_core.open_in_thread import opened_in_thread
from gaia_http._errors import ErrorReply
from gaia_http.door._envelope import is_below
from gaia_http.door._middleware import send_error
from gaia_http.door._security_headers import POLICY, page_policy

_INDEX = "index.html"
_ASSETS = "assets"
_PIECE = 256 * 1024
_DOCUMENT_BYTES = 4 * 1024 * 1024
"""Of an HTML file, as far as it is read for its inline scripts."""
_HASHED = re.compile(r"[-.](?=[A-Za-z0-9_-]*[0-9A-Z])[A-Za-z0-9_-]{8,}\.[A-Za-z0-9.]+\Z")
_TYPES = (
    (".html", "text/html; charset=utf-8"),
    (".js", "text/javascript; charset=utf-8"),
    (".mjs", "text/javascript; charset=utf-8"),
    (".css", "text/css; charset=utf-8"),
    (".json", "application/json"),
    (".map", "application/json"),
    (".webmanifest", "application/manifest+json"),
    (".svg", "image/svg+xml"),
    (".png", "image/png"),
    (".jpg", "image/jpeg"),
    (".jpeg", "image/jpeg"),
    (".gif", "image/gif"),
    (".webp", "image/webp"),
    (".avif", "image/avif"),
    (".ico", "image/x-icon"),
    (".woff", "font/woff"),
    (".woff2", "font/woff2"),
    (".ttf", "font/ttf"),
    (".wasm", "application/wasm"),
    (".txt", "text/plain; charset=utf-8"),
    (".xml", "application/xml"),
    (".pdf", "application/pdf"),
    (".mp3", "audio/mpeg"),
    (".mp4", "video/mp4"),
    (".webm", "video/webm"),
)


@attrs.frozen(eq=False)
class _Found:
    """An open file, and what is said of it."""

    file: BinaryIO
    size: int
    tag: bytes
    name: str
    policy: bytes


class StaticPage:
    """An ASGI application before another: it takes what isn't below a path of *own*, the other's. Raises ConfigError:
    no page there."""

    def __init__(self, app: ASGIApp, folder: Path, own: frozenset[str]) -> None:
        self._app = app
        self._own = own
        self._root = folder.resolve()
        if not (self._root / _INDEX).is_file():
            raise ConfigError(f"{folder} has no {_INDEX}; name the folder of a built page (often dist)")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or any(is_below(scope["path"], own) for own in self._own):
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        scope["path_template"] = "(page)"
        if method not in ("GET", "HEAD"):
            reply = ErrorReply(
                status=405,
                message=f"{path[:200]} takes GET, HEAD, not {method}",
                code="method_not_allowed",
                headers=(("allow", "GET, HEAD"),),
            )
            await send_error(reply, scope, send)
            return
        headers = dict(scope["headers"])
        wants_document = b"text/html" in headers.get(b"accept", b"")
        found = await opened_in_thread(lambda: self._find(path, wants_document), _close)
        if found is None:
            reply = ErrorReply(status=404, message=f"there is no {path[:200]}", code="unknown_url")
            await send_error(reply, scope, send)
            return
        with found.file:
            await _send(found, headers.get(b"if-none-match"), send, head=method == "HEAD")

    def _find(self, path: str, wants_document: bool) -> _Found | None:
        parts = [part for part in path.split("/") if part]
        if any(part.startswith(".") or "\\" in part or "\0" in part or ":" in part for part in parts):
            return None
        if parts and (found := self._open("/".join(parts))) is not None:
            return found
        if parts and (parts[0] == _ASSETS or not wants_document):
            return None
        return self._open(_INDEX)

    def _open(self, name: str) -> _Found | None:
        """The file of that name, if it is a regular one whose real place is in the folder."""
        try:
            real = (self._root / name).resolve(strict=True)
            if not real.is_relative_to(self._root):
                return None
            opened = os.open(real, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        except (OSError, ValueError, RuntimeError):
            return None
        facts = os.fstat(opened)
        if not stat.S_ISREG(facts.st_mode):
            os.close(opened)
            return None
        tag = b'"%x-%x"' % (facts.st_mtime_ns, facts.st_size)
        file = os.fdopen(opened, "rb")
        try:
            return _Found(file, facts.st_size, tag, name, _policy_of(name, file))
        except BaseException:
            file.close()
            raise


def _policy_of(name: str, file: BinaryIO) -> bytes:
    if not _type_of(name).startswith(b"text/html"):
        return page_policy()  # also of what is no document: a worker has the policy of its script
    html = file.read(_DOCUMENT_BYTES)
    file.seek(0)
    return page_policy(html)


def _close(found: _Found | None) -> None:
    if found is not None:
        found.file.close()


async def _send(found: _Found, known: bytes | None, send: Send, *, head: bool) -> None:
    name = found.name
    asset = name.startswith(f"{_ASSETS}/") and _HASHED.search(name) is not None
    headers = [
        (b"etag", found.tag),
        (b"cache-control", b"public, max-age=31536000, immutable" if asset else b"no-cache"),
        (POLICY, found.policy),
    ]
    if known is not None and _is_known(found.tag, known):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    headers += [(b"content-type", _type_of(name)), (b"content-length", str(found.size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    left = 0 if head else found.size
    while left:
        data = await asyncio.to_thread(found.file.read, min(left, _PIECE))
        if not data:
            raise OSError(f"{name} became shorter while it was read")
        left -= len(data)
        await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_known(tag: bytes, known: bytes) -> bool:
    return any(each.strip().removeprefix(b"W/") in (tag, b"*") for each in known.split(b","))


def _type_of(name: str) -> bytes:
    lowered = name.lower()
    return next((kind for end, kind in _TYPES if lowered.endswith(end)), "application/octet-stream").encode()
