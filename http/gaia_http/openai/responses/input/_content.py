"""Parts of an item's content → parts of the core, each with its paths in the request."""

import msgspec

from gaia_core.messages import FileData, FilePart, Part, RefusalPart, TextPart
from gaia_http._errors import ApiError
from gaia_http.openai.responses.input._wire import ResponsesPart, WireInputAudio, WireItem, decode_content
from gaia_http.request._content_parts import (
    PartPaths,
    PartTypes,
    PlacedContent,
    PlacedPart,
    audio_part,
    check_part_type,
    image_part,
    is_web_url,
)
from gaia_http.request._decoding import decode_field, given
from gaia_http.request._fields import invalid_at, missing_at

_INPUT = PartTypes("input_text", "input_image", "input_audio", "input_file", "refusal")
_OUTPUT = PartTypes("output_text", "input_image", "input_audio", "input_file", "refusal")
_TEXTS = frozenset(("input_text", "output_text", "text", "summary_text", "reasoning_text"))

_audio_decoder = msgspec.json.Decoder(WireInputAudio)


def message_content(raw: msgspec.Raw, path: str, role: str) -> PlacedContent:
    """The content at *path* of a message of *role*; one text part is a text. Raises ApiError 400."""
    types = _OUTPUT if role == "assistant" else _INPUT
    return _placed(decode_content(raw, path), path, role, types.text, types.allowed(role))


def reasoning_of(item: WireItem) -> str:
    """The text of a `reasoning` item: its content, else its summary; "" where it can't be read, as when encrypted."""
    for raw in (item.content, item.summary):
        try:
            parts = decode_content(raw, "content") if given(raw) else ""
        except ApiError:
            continue
        text = parts if isinstance(parts, str) else "\n".join(part.text or "" for part in parts)
        if text:
            return text
    return ""


def result_content(raw: msgspec.Raw, path: str) -> PlacedContent:
    """The same of a call's result, which may have whatever a user's message may."""
    return _placed(decode_content(raw, path), path, "tool", _INPUT.text, _INPUT.allowed("user"))


def _placed(
    content: str | tuple[ResponsesPart, ...], path: str, role: str, text: str, allowed: tuple[str, ...]
) -> PlacedContent:
    if isinstance(content, str):
        return content
    placed: list[PlacedPart] = []
    for index, part in enumerate(content):
        at = f"{path}[{index}]"
        check_part_type(at, text if part.type in _TEXTS else part.type, allowed, role)
        data = "image_url" if part.type == _INPUT.image else "file_url" if _is_by_url(part) else "file_data"
        paths = PartPaths(at, part.type, at, f"{at}.{data}", f"{at}.file_id")
        placed.append(PlacedPart(_part(part, paths), paths))
    if len(placed) == 1 and isinstance(only := placed[0].part, TextPart):
        return only.text
    return tuple(placed)


def _is_by_url(part: ResponsesPart) -> bool:
    return part.file_url is not None and part.file_data is None and part.file_id is None


def _part(part: ResponsesPart, paths: PartPaths) -> Part:
    """A part of a type that is allowed."""
    if part.type == "input_image":
        if part.image_url is not None:
            return image_part(paths.data, part.image_url, part.detail)
        if part.file_id is None:
            raise missing_at(paths.data)
        return FilePart(FileData(None, part.file_id))
    if part.type == "input_file":
        return FilePart(_file(part, paths))
    if part.type == "input_audio":
        path = f"{paths.path}.input_audio"
        if not given(part.input_audio):
            raise missing_at(path)
        audio = decode_field(part.input_audio, _audio_decoder, path)
        return audio_part(f"{path}.data", audio.data, audio.format)
    if part.type == "refusal":
        if part.refusal is None:
            raise missing_at(f"{paths.path}.refusal")
        return RefusalPart(part.refusal)
    if part.text is None:
        raise missing_at(f"{paths.path}.text")
    return TextPart(part.text)


def _file(part: ResponsesPart, paths: PartPaths) -> FileData:
    if not _is_by_url(part):
        if part.file_data is None and part.file_id is None:
            raise missing_at(paths.data)
        return FileData(part.file_data, part.file_id, part.filename)
    url = part.file_url or ""
    if not is_web_url(url):
        raise invalid_at(paths.data, "only http:// and https:// URLs are fetched")
    # The guard fetches it, as it does an image's.
    return FileData(url, None, part.filename or url.partition("?")[0].partition("#")[0].rpartition("/")[2] or None)
