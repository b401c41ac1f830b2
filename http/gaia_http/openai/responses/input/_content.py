"""Parts of an item's content → parts of chat completions, which have the bounds; and the names of here in errors."""

import re

import attrs
import msgspec

from gaia_http._errors import ApiError, invalid
from gaia_http.openai.chat._wire import WireAudio, WireFile, WireImage, decoding_error, given
from gaia_http.openai.chat._wire import WirePart as ChatPart
from gaia_http.openai.responses.input._wire import ResponsesPart

_TEXTS = frozenset(("input_text", "output_text", "text", "summary_text", "reasoning_text"))
_RENAMED = (
    (re.compile(r"\.image_url\.url\b"), ".image_url"),
    (re.compile(r"\.file\.(file_\w+)"), r".\1"),
    (re.compile(r"(\])\.file(?![\w.])"), r"\1"),
    (re.compile(r"'image_url'(?= can't be taken)"), "'input_image'"),
    (re.compile(r"'file'(?= can't be taken)"), "'input_file'"),
    (re.compile(r"(?<=of type )'image_url'"), "'input_image'"),
)


def content_of(content: str | tuple[ResponsesPart, ...], path: str) -> str | tuple[ChatPart, ...]:
    """The content at *path*; one text part is a text. Raises ApiError 400."""
    if isinstance(content, str):
        return content
    parts = tuple(_part(part, f"{path}[{index}]") for index, part in enumerate(content))
    if len(parts) == 1 and parts[0].type == "text" and parts[0].text is not None:
        return parts[0].text
    return parts


def urls_in(content: str | tuple[ResponsesPart, ...], path: str) -> frozenset[str]:
    """The paths of the files that are given by a URL."""
    if isinstance(content, str):
        return frozenset()
    return frozenset(f"{path}[{n}]" for n, part in enumerate(content) if part.file_url is not None)


def _part(part: ResponsesPart, path: str) -> ChatPart:
    kind = part.type
    if kind in _TEXTS:
        if part.text is None:
            raise missing_field(f"{path}.text")
        return ChatPart("text", text=part.text)
    if kind == "input_image":
        if part.image_url is not None:
            return ChatPart("image_url", image_url=WireImage(part.image_url, part.detail))
        if part.file_id is not None:
            return ChatPart("file", file=WireFile(file_id=part.file_id))
        raise missing_field(f"{path}.image_url")
    if kind == "input_file":
        return ChatPart("file", file=_file(part, path))
    if kind == "input_audio" and given(part.input_audio):
        try:
            audio = msgspec.json.decode(part.input_audio, type=WireAudio)
        except msgspec.ValidationError as error:
            raise decoding_error(error, bytes(part.input_audio), f"{path}.input_audio") from None
        return ChatPart("input_audio", input_audio=audio)
    if kind == "refusal":
        return ChatPart("refusal", refusal=part.refusal)
    return ChatPart(kind)


def _file(part: ResponsesPart, path: str) -> WireFile:
    url = part.file_url
    if url is None or part.file_data is not None or part.file_id is not None:
        if part.file_data is None and part.file_id is None:
            raise missing_field(f"{path}.file_data")
        return WireFile(part.file_data, part.file_id, part.filename)
    if not url[:8].lower().startswith(("http://", "https://")):
        param = f"{path}.file_url"
        raise invalid(f"{param}: only http:// and https:// URLs are fetched", param=param, code="invalid_value")
    # The guard fetches it, as it does an image's.
    return WireFile(url, None, part.filename or url.partition("?")[0].partition("#")[0].rpartition("/")[2] or None)


def with_names_of_here(error: ApiError, urls: frozenset[str] = frozenset()) -> ApiError:
    """*error* with the names that the fields have in this API. *urls*: the paths of files that are given by a URL."""
    reply = error.reply
    param, message = reply.param, reply.message
    for pattern, name in _RENAMED:
        param = pattern.sub(name, param) if param is not None else None
        message = pattern.sub(name, message)
    for path in urls:
        param = f"{path}.file_url" if param == f"{path}.file_data" else param
        message = message.replace(f"{path}.file_data", f"{path}.file_url")
    return ApiError(attrs.evolve(reply, message=message, param=param))


def missing_field(param: str) -> ApiError:
    """The error for what has to be there."""
    return invalid(f"{param} is missing", param=param, code="missing_required_parameter")
