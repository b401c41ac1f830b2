"""/v1/files: upload, list, look at, read, delete; each file is its caller's (source: OpenAI API reference, files)."""

from typing import Any

import msgspec
from litestar import Response
from litestar.connection import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from gaia_http._errors import ApiError, ErrorReply, encoded, invalid
from gaia_http._settings import Settings
from gaia_http.door._caller import caller_of
from gaia_http.door._request_body import ClientGone, read_body
from gaia_http.request._fields import invalid_at, not_one_of, shortened
from gaia_http.request._uploaded_files import FullError, StoredFile, UploadedFiles

_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_FIELD_BYTES = 1_024
_FRAME_BYTES = 16_384  # of a form around its file
_FIELDS = 8
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
        try:
            raw = await read_body(request.receive, self._settings, self._settings.max_file_bytes + _FRAME_BYTES)
        except ClientGone:
            return Response(b"", media_type=_JSON)  # to nobody
        name, data, fields = _form(raw, boundary, self._settings.max_file_bytes)
        purpose = fields.get("purpose")
        if purpose not in _PURPOSES:
            words = "is missing" if purpose is None else f"{shortened(purpose)!r} is not one of {', '.join(_PURPOSES)}"
            raise invalid(f"purpose {words}", param="purpose", code="invalid_value")
        try:
            kept = await self._files.add(caller_of(request.scope).owner, name, purpose, data, _seconds(fields))
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

    async def content(self, request: "Request[Any, Any, Any]") -> Response[bytes]:
        """GET its content, which no browser shows as a page of ours."""
        file = await self._found(request)
        data = await self._files.content(caller_of(request.scope).owner, file.id)
        if data is None:
            raise _missing(file.id)
        headers = {"content-disposition": "attachment"}
        return Response(data, media_type="application/octet-stream", headers=headers)

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


def _boundary(request: "Request[Any, Any, Any]") -> str:
    given = request.headers.get("content-type", "")
    media, options = parse_options_header(given)
    boundary = options.get("boundary", "")
    if media.lower() != "multipart/form-data" or not boundary:
        words = f"the content type is {given[:200]!r}; send a form as multipart/form-data with its boundary"
        raise invalid(words, code="unsupported_media_type", status=415)
    return str(boundary)


def _form(raw: bytes, boundary: str, most: int) -> tuple[str, bytes, dict[str, str]]:
    """The file's name and content, and the form's other fields. Raises ApiError."""
    found: tuple[str, bytearray] | None = None
    fields: dict[str, str] = {}
    segment: MultipartSegment | None = None
    data = bytearray()
    try:
        with PushMultipartParser(boundary, len(raw), max_segment_count=_FIELDS, strict=True) as parser:
            for event in parser.parse(raw):
                if isinstance(event, MultipartSegment):
                    segment, data = event, bytearray()
                elif event is not None:
                    data += event
                    _check_size(segment, len(data), most)
                elif segment is not None:
                    if segment.name == "file" and segment.filename is not None:
                        found = (segment.filename, data)
                    else:
                        fields[str(segment.name)] = data.decode()
                    segment = None
    except (MultipartError, UnicodeDecodeError) as error:
        raise invalid(f"the form can't be read: {error}", code="invalid_multipart") from None
    if found is None:
        raise invalid("file is missing: the form needs a part named file with a filename", param="file",
                      code="missing_required_parameter")  # fmt: skip
    return found[0], bytes(found[1]), fields


def _check_size(segment: MultipartSegment | None, size: int, most: int) -> None:
    is_file = segment is not None and segment.name == "file"
    if size > (most if is_file else _FIELD_BYTES):
        what = "the file" if is_file else f"the field {str(segment and segment.name)[:80]!r}"
        message = f"{what} has more than {most if is_file else _FIELD_BYTES} bytes"
        raise ApiError(ErrorReply(status=413, message=message, code="request_too_large"))


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
