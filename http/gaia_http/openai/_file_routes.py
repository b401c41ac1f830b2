"""/v1/files: upload, list, look at, read, delete; each file is its caller's (source: OpenAI API reference, files)."""

import asyncio
from typing import Any, BinaryIO

import msgspec
from litestar import Response
from litestar.connection import Request
from litestar.types import ASGIApp, Receive, Scope, Send
from multipart import parse_options_header

from gaia_http._errors import ApiError, encoded, invalid
from gaia_http._settings import Settings
from gaia_http.door._caller import caller_of
from gaia_http.door._request_body import ClientGone
from gaia_http.openai._upload_form import read_form
from gaia_http.request._fields import invalid_at, not_one_of, shortened
from gaia_http.request._uploaded_files import FullError, StoredFile, UploadedFiles

_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_PIECE = 256 * 1024
_EXPIRY = (3_600, 2_592_000)
_MOST_LISTED = 10_000
_JSON = "application/json"


class _File(msgspec.Struct, frozen=True, gc=False):
    id: str
    object: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: str = "processed"
    status_details: None = None
    expires_at: int | None = None


class _FileList(msgspec.Struct, frozen=True, gc=False):
    object: str
    data: tuple[_File, ...]
    has_more: bool
    first_id: str | None
    last_id: str | None


class FileRoutes:
    """The routes' handlers, for one application."""

    def __init__(self, files: UploadedFiles, settings: Settings) -> None:
        self._files = files
        self._settings = settings

    async def upload(self, request: "Request[Any, Any, Any]") -> Response[bytes]:
        """POST: a form of `file`, `purpose` and perhaps `expires_after`."""
        boundary = _boundary(request)
        with self._files.spool() as spool:
            try:
                form = await read_form(request.scope, request.receive, boundary, self._settings, spool)
            except ClientGone:
                return Response(b"", media_type=_JSON)  # to nobody
            purpose = form.fields.get("purpose")
            if purpose not in _PURPOSES:
                allowed = ", ".join(_PURPOSES)
                words = "is missing" if purpose is None else f"{shortened(purpose)!r} is not one of {allowed}"
                raise invalid(f"purpose {words}", param="purpose", code="invalid_value")
            owner, seconds = caller_of(request.scope).owner, _seconds(form.fields)
            try:
                kept = await self._files.add(owner, form.filename or "", purpose, spool, seconds)
            except FullError as error:
                raise invalid(str(error), code="storage_limit_exceeded") from None
        return _told(_shown(kept))

    async def list(self, request: "Request[Any, Any, Any]") -> Response[bytes]:
        """GET: the caller's files, the newest first unless `order=asc`; a page begins behind `after`."""
        query = request.query_params
        limit = str(query.get("limit", _MOST_LISTED))
        if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:8]) <= _MOST_LISTED):
            words = f"limit must be from 1 to {_MOST_LISTED}, not {shortened(limit)!r}"
            raise invalid(words, param="limit", code="invalid_value")
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise not_one_of("order", order, ("asc", "desc"))
        found = [
            file
            for file in await self._files.list(caller_of(request.scope).owner)
            if query.get("purpose") in (None, file.purpose)
        ]
        if order == "desc":
            found.reverse()
        if (after := query.get("after")) is not None:
            ids = [file.id for file in found]
            if after not in ids:
                raise invalid_at("after", f"there is no file {shortened(after)!r}")
            found = found[ids.index(after) + 1 :]
        page = tuple(_shown(file) for file in found[: int(limit)])
        ends = (page[0].id, page[-1].id) if page else (None, None)
        return _told(_FileList("list", page, len(found) > len(page), *ends))

    async def get(self, request: "Request[Any, Any, Any]") -> Response[bytes]:
        """GET one."""
        return _told(_shown(await self._found(request)))

    async def content(self, request: "Request[Any, Any, Any]") -> ASGIApp:
        """GET its content, which no browser shows as a page of ours."""
        file = await self._found(request)
        content = await self._files.open(caller_of(request.scope).owner, file.id)
        if content is None:
            raise _missing(file.id)
        return _Content(content, file.bytes)

    async def delete(self, request: "Request[Any, Any, Any]") -> Response[bytes]:
        """DELETE one."""
        file = await self._found(request)
        await self._files.delete(caller_of(request.scope).owner, file.id)
        return _told({"id": file.id, "object": "file", "deleted": True})

    async def _found(self, request: "Request[Any, Any, Any]") -> StoredFile:
        named = str(request.path_params["file_id"])
        file = await self._files.get(caller_of(request.scope).owner, named)
        if file is None:
            raise _missing(named)
        return file


class _Content:
    """The ASGI response with a file's content: a piece at a time, the next one when its client has read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"content-length", str(self._size).encode()),
            (b"content-disposition", b"attachment"),
        ]
        with self._file as file:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            left = self._size if scope.get("method") != "HEAD" else 0
            while left:
                data = await asyncio.to_thread(file.read, min(left, _PIECE))
                if not data:
                    raise OSError("an uploaded file became shorter while it was read")
                left -= len(data)
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _boundary(request: "Request[Any, Any, Any]") -> str:
    given = request.headers.get("content-type", "")
    media, options = parse_options_header(given)
    boundary = options.get("boundary", "")
    if media.lower() != "multipart/form-data" or not boundary:
        words = f"the content type is {given[:200]!r}; send a form as multipart/form-data with its boundary"
        raise invalid(words, code="unsupported_media_type", status=415)
    return str(boundary)


def _seconds(fields: dict[str, str]) -> int | None:
    text = fields.get("expires_after[seconds]")
    if text is None:
        return None
    least, most = _EXPIRY
    if not (text.isascii() and text.isdecimal() and least <= int(text[:8]) <= most):
        words = f"expires_after.seconds must be from {least} to {most}, not {shortened(text)!r}"
        raise invalid(words, param="expires_after.seconds", code="invalid_value")
    if (anchor := fields.get("expires_after[anchor]", "created_at")) != "created_at":
        raise invalid_at("expires_after.anchor", f"{shortened(anchor)!r} is not 'created_at'")
    return int(text)


def _shown(file: StoredFile) -> _File:
    return _File(file.id, "file", file.bytes, file.created_at, file.filename, file.purpose, expires_at=file.expires_at)


def _told(value: object) -> Response[bytes]:
    return Response(encoded(value), media_type=_JSON)


def _missing(id: str) -> ApiError:
    return invalid(f"there is no file {shortened(id)!r}", param="file_id", code="file_not_found", status=404)
