"""The form of an upload, read as it arrives: its file goes to a spool, and no more than a piece of it is in memory."""

from collections.abc import Callable
from contextlib import aclosing
from typing import BinaryIO

from litestar.types import Receive, Scope
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from gaia_http._errors import ApiError, ErrorReply, invalid
from gaia_http._settings import Settings
from gaia_http.door._request_body import SPOOLED, body_pieces

_FIELD_BYTES = 1_024
_FRAME_BYTES = 16_384  # of a form around its file
_FIELDS = 8


class UploadForm:
    """What a form says. *spool* takes the content of its part `file`, whose name is *filename* once it came."""

    def __init__(self, boundary: str, most: int, spool: BinaryIO) -> None:
        self._most = most
        self._parser = PushMultipartParser(boundary, max_segment_count=_FIELDS, strict=True)
        self._segment: MultipartSegment | None = None
        self._data = bytearray()
        self._size = 0
        self._spool = spool
        self.filename: str | None = None
        self.fields: dict[str, str] = {}

    def feed(self, piece: bytes) -> None:
        """Take a *piece*; an empty one is the end. Raises ApiError."""
        try:
            for event in self._parser.parse(piece):
                if isinstance(event, MultipartSegment):
                    self._begin(event)
                elif event is not None:
                    self._more(bytes(event))
                elif self._segment is not None:
                    self._end(self._segment)
        except (MultipartError, UnicodeDecodeError) as error:
            raise invalid(f"the form can't be read: {error}", code="invalid_multipart") from None

    def _begin(self, segment: MultipartSegment) -> None:
        self._segment, self._data, self._size = segment, bytearray(), 0
        if self._is_file(segment):  # of several, the last one counts
            self._spool.seek(0)
            self._spool.truncate()

    def _more(self, data: bytes) -> None:
        segment = self._segment
        is_file = segment is not None and segment.name == "file"
        self._size += len(data)
        most = self._most if is_file else _FIELD_BYTES
        if self._size > most:
            what = "the file" if is_file else f"the field {str(segment and segment.name)[:80]!r}"
            message = f"{what} has more than {most} bytes"
            raise ApiError(ErrorReply(status=413, message=message, code="request_too_large"))
        if segment is not None and self._is_file(segment):
            self._spool.write(data)
        else:
            self._data += data

    def _end(self, segment: MultipartSegment) -> None:
        if self._is_file(segment):
            self.filename = segment.filename
        else:
            self.fields[str(segment.name)] = self._data.decode()
        self._segment = None

    @staticmethod
    def _is_file(segment: MultipartSegment) -> bool:
        return bool(segment.name == "file" and segment.filename is not None)


async def read_form(scope: Scope, receive: Receive, boundary: str, settings: Settings, spool: BinaryIO) -> UploadForm:
    """The form in the body of the request. Raises ApiError, and ClientGone.

    What can't be read is read on and thrown away, so that a client that sends before it reads sees why.
    """
    form = UploadForm(boundary, settings.max_file_bytes, spool)
    spooled: Callable[[int], object] = scope["state"].get(SPOOLED, int)
    problem: ApiError | None = None
    most = settings.max_file_bytes + _FRAME_BYTES
    async with aclosing(body_pieces(receive, settings, most)) as pieces:
        async for piece in pieces:
            spooled(len(piece))
            if problem is None and piece:
                try:
                    form.feed(piece)
                except ApiError as error:
                    problem = error
    if problem is not None:
        raise problem
    form.feed(b"")
    if form.filename is None:
        raise invalid("file is missing: the form needs a part named file with a filename", param="file",
                      code="missing_required_parameter")  # fmt: skip
    return form
