"""The parts of a client's messages beside text, converted to what the agent's model takes, or refused.

| part | becomes |
|---|---|
| an image | itself, as data: a URL of the web is fetched here, by the guard, so that no endpoint opens it |
| audio | itself |
| a file that is an image, where the model takes these | an image |
| a file, where the model takes files | itself, as data |
| a file of text | its text |
| a PDF | its text |

Everything else is refused with 400 `unsupported_content_type` at the part's path; no part is dropped silently.
"""

import base64
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import attrs
import msgspec

from gaia_core import Agent, Runtime
from gaia_core.messages import (
    AudioPart,
    Content,
    FileData,
    FilePart,
    ImagePart,
    ImageURL,
    Message,
    Part,
    TextPart,
)
from gaia_core.models import Input
from gaia_http._errors import ApiError, invalid
from gaia_http._settings import Settings
from gaia_http.request._content_parts import PartPaths, decoded_base64, is_web_url
from gaia_http.request._fields import invalid_at, shortened
from gaia_http.request._pdf import MAX_CHARS, PdfError, PdfReader
from gaia_http.request._uploaded_files import UploadedFiles

if TYPE_CHECKING:
    from gaia_http.request._url_fetch import UrlFetcher

_DATA_URL = re.compile(r"data:(?P<media>[a-zA-Z0-9.+-]+/[a-zA-Z0-9.+-]+)?(?:;[a-zA-Z0-9=._-]+)*;base64,", re.ASCII)
_IMAGES = ("image/",)
_FILES = ("application/pdf", "application/json", "text/")
_IMAGE_HEADS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_FETCHES = 8
_PDF = b"%PDF-"
_PDF_WITHIN = 1_024  # source: PDF 1.7, appendix H: readers take a header within the first 1,024 bytes

Fetch: TypeAlias = Callable[[str, tuple[str, ...]], Awaitable[tuple[str, bytes] | str]]
"""Fetches a URL of one of some types: its type and content, or why not."""

PathsOfParts: TypeAlias = Callable[[int, int], PartPaths]
"""Where a part stands in the request, by the index of its message and its own there."""


class PartConverter:
    """Converts parts, for one application."""

    def __init__(
        self, runtime: Runtime, settings: Settings, files: UploadedFiles, fetcher: "UrlFetcher | None" = None
    ) -> None:
        self._runtime = runtime
        self._files = files
        self._settings = settings
        self._fetcher = fetcher
        self._pdfs = PdfReader()

    async def convert(
        self, messages: tuple[Message, ...], paths: PathsOfParts, agent: Agent, owner: str
    ) -> tuple[Message, ...]:
        """*messages* as the model of *agent* takes them. A file's id is one of *owner*'s. Raises ApiError."""
        if not any(_has_more_than_text(message.content) for message in messages):
            return messages
        conversion = _Conversion(
            self._files, self._fetch, self._pdfs, await self._runtime.models.inputs(agent.model), agent, owner
        )
        converted: list[Message] = []
        for index, message in enumerate(messages):
            content = message.content
            if not isinstance(content, str) and content is not None and _has_more_than_text(content):
                parts = [await conversion.part(part, paths(index, i)) for i, part in enumerate(content)]
                message = msgspec.structs.replace(message, content=tuple(parts))  # noqa: PLW2901
            converted.append(message)
        return tuple(converted)

    async def inputs(self, agent: Agent) -> frozenset[Input]:
        """What the model of *agent* takes beside text."""
        return await self._runtime.models.inputs(agent.model)

    async def _fetch(self, url: str, media: tuple[str, ...]) -> tuple[str, bytes] | str:
        """What *url* gives: its type and content, or why it isn't fetched."""
        from gaia_http.request._url_fetch import FetchError, UrlFetcher  # noqa: PLC0415  # aiohttp takes 100 ms, and few have URLs

        self._fetcher = self._fetcher or UrlFetcher(self._settings)
        try:
            found = await self._fetcher.fetch(url, media)
        except FetchError as error:
            return str(error)
        return found.media, found.data


def _has_more_than_text(content: Content | None) -> bool:
    return type(content) is tuple and any(isinstance(part, ImagePart | AudioPart | FilePart) for part in content)


@attrs.define
class _Conversion:
    """The conversion of one request's parts. *fetches*: how many URLs were fetched so far."""

    files: UploadedFiles
    fetch: Fetch
    pdfs: PdfReader
    inputs: frozenset[Input]
    agent: Agent
    owner: str
    fetches: int = 0

    async def part(self, part: Part, paths: PartPaths) -> Part:
        if isinstance(part, ImagePart):
            return await self._image(part, paths)
        if isinstance(part, AudioPart):
            self._check("audio", paths)
        if isinstance(part, FilePart):
            return await self._file(part.file, paths)
        return part

    def _check(self, wanted: Input, paths: PartPaths) -> None:
        if wanted not in self.inputs:
            raise _unsupported(
                f"{paths.path}: the model {self.agent.model!r} of the agent {self.agent.name!r} is not known to take "
                f'parts of type {paths.type!r}; if it does, add inputs = ["{wanted}"] to [models.{self.agent.model}]',
                paths,
            )

    async def _image(self, part: ImagePart, paths: PartPaths) -> ImagePart:
        self._check("image", paths)
        url = part.image_url.url
        if url.startswith("data:"):
            head = _DATA_URL.match(url)
            media = (head["media"] or "") if head is not None else ""
            if not media.lower().startswith(_IMAGES):
                words = f"{media!r} is not an image type" if media else "the data: URL has no media type"
                raise invalid_at(paths.data, words)
            return part
        media, data = await self._fetched(url, paths, _IMAGES)
        return ImagePart(ImageURL(_data_url(media, data), part.image_url.detail))

    async def _fetched(self, url: str, paths: PartPaths, media: tuple[str, ...]) -> tuple[str, bytes]:
        self.fetches += 1
        if self.fetches > _FETCHES:
            raise invalid_at(paths.data, f"at most {_FETCHES} URLs of a request are fetched", None)
        found = await self.fetch(url, media)
        if isinstance(found, str):
            words = f"{shortened(url)!r} is not fetched: {found}; send the data itself as a data: URL"
            raise invalid_at(paths.data, words, "invalid_image_url" if media == _IMAGES else "invalid_file_url")
        return found

    async def _file(self, file: FileData, paths: PartPaths) -> Part:
        name, media, data = await self._read(file, paths)
        is_pdf = _PDF in data[:_PDF_WITHIN]
        if not is_pdf and (media == "application/pdf" or name.lower().endswith(".pdf")):
            raise invalid_at(
                paths.content, f"{name!r} is declared as a PDF, but its content is not one", "invalid_file"
            )
        if not is_pdf and "image" in self.inputs and (kind := image_type(data)):
            return ImagePart(ImageURL(_data_url(kind, data)))
        if "file" in self.inputs:
            url = _data_url("application/pdf" if is_pdf else media or "application/octet-stream", data)
            return FilePart(FileData(url, None, name))
        if not is_pdf:
            return TextPart(_shown(name, self._text(data, name, paths)))
        try:
            text = await self.pdfs.text(data)
        except PdfError as error:
            raise invalid_at(paths.content, f"the PDF {name!r}: {error}", "invalid_file") from None
        if not text.strip():
            raise _unsupported(f"{paths.content}: the PDF {name!r} has no text, and the model takes no files", paths)
        return TextPart(_shown(name, text))

    def _text(self, data: bytes, name: str, paths: PartPaths) -> str:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise _unsupported(
                f"{paths.content}: {name!r} is neither text (UTF-8) nor a PDF, and the model {self.agent.model!r} is "
                f'not known to take files; if it does, add inputs = ["file"] to [models.{self.agent.model}]',
                paths,
            )
        if len(text) > MAX_CHARS:
            raise invalid_at(paths.content, f"{name!r} has more than {MAX_CHARS} characters", None)
        return text

    async def _read(self, file: FileData, paths: PartPaths) -> tuple[str, str, bytes]:
        """The file's name, type ("": not said) and content."""
        if file.file_id is not None:
            known = await self.files.get(self.owner, file.file_id)
            data = await self.files.content(self.owner, file.file_id)
            if known is None or data is None:
                raise invalid_at(paths.file_id, f"there is no file {shortened(file.file_id)!r}", "file_not_found", 404)
            return file.filename or known.filename, "", data
        given = file.file_data or ""
        name = shortened(file.filename or "file", 255)
        if is_web_url(given):
            media, data = await self._fetched(given, paths, _FILES)
            return name, media, data
        head = _DATA_URL.match(given)
        data = decoded_base64(paths.data, given[head.end() if head else 0 :])
        return name, ((head["media"] or "").lower() if head else ""), data


def _shown(name: str, text: str) -> str:
    """A file's text as a model is shown it."""
    return f"<file name={msgspec.json.encode(name).decode()}>\n{text}\n</file>"


def image_type(data: bytes) -> str:
    """The type of an image that *data* begins as; "": of none that models take."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for head, kind in _IMAGE_HEADS if data.startswith(head)), "")


def _data_url(media: str, data: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


def _unsupported(words: str, paths: PartPaths) -> ApiError:
    return invalid(words, param=f"{paths.path}.type", code="unsupported_content_type")
