"""Content blocks as clients send them → parts of the core, each with its paths in the request."""

import base64

from gaia_core.messages import FileData, FilePart, Part, TextPart
from gaia_http.anthropic._wire import BlockContent, BlockSource, ContentBlock
from gaia_http.request._content_parts import (
    PartPaths,
    PlacedContent,
    PlacedPart,
    decoded_base64,
    image_part,
    is_web_url,
)
from gaia_http.request._decoding import given
from gaia_http.request._fields import invalid_at, missing_at, not_one_of, shortened

_PARAGRAPH = "\n\n"
_USER = ("text", "image", "document", "search_result")
_RESULT = (*_USER, "tool_reference")
_SOURCES = ("base64", "url", "file")


def system_text(content: BlockContent, path: str) -> str:
    """Instructions, which are text only. Raises ApiError 400."""
    if isinstance(content, str):
        return content
    return _PARAGRAPH.join(
        [_text(block, f"{path}[{index}]", "system", ("text",)) for index, block in enumerate(content)]
    )


def user_parts(block: ContentBlock, path: str) -> list[PlacedPart]:
    """What the *block* at *path* of a user's message says. Raises ApiError 400."""
    return _parts(block, path, "user", _USER)


def result_content(content: BlockContent | None, path: str) -> PlacedContent:
    """What a call gave, by the blocks at *path*. Raises ApiError 400."""
    if content is None or isinstance(content, str):
        return content or ""
    found = [
        part
        for index, block in enumerate(content)
        for part in _parts(block, f"{path}[{index}]", "tool_result", _RESULT)
    ]
    return joined(found)


def joined(placed: list[PlacedPart]) -> PlacedContent:
    """*placed* as a message's content; text alone is one text, which every chat template takes."""
    texts = [each.part.text for each in placed if isinstance(each.part, TextPart)]
    return _PARAGRAPH.join(texts) if len(texts) == len(placed) else tuple(placed)


def block_text(block: ContentBlock, path: str, role: str) -> str:
    """The text of a block that must have some. Raises ApiError 400."""
    return _text(block, path, role, ("text",))


def unsupported_block(block: ContentBlock, path: str, role: str, allowed: tuple[str, ...]) -> Exception:
    """The error for a block of a type that no message of *role* may have here."""
    words = f"{shortened(block.type)!r} is not accepted in a message of role {role!r}; send {', '.join(allowed)}"
    return invalid_at(f"{path}.type", words, "unsupported_content_type")


def _text(block: ContentBlock, path: str, role: str, allowed: tuple[str, ...]) -> str:
    if block.type != "text":
        raise unsupported_block(block, path, role, allowed)
    if block.text is None:
        raise missing_at(f"{path}.text")
    return block.text


def _parts(block: ContentBlock, path: str, role: str, allowed: tuple[str, ...]) -> list[PlacedPart]:
    kind = block.type
    if kind not in allowed:
        raise unsupported_block(block, path, role, allowed)
    if kind == "image":
        return [_image(_source_of(block, path), path)]
    if kind == "document":
        return _document(block, path)
    if kind == "search_result":
        return [_placed(TextPart(_search_result(block, path)), path, kind)]
    if kind == "tool_reference":
        if block.tool_name is None:
            raise missing_at(f"{path}.tool_name")
        return [_placed(TextPart(f"The tool {block.tool_name} is available."), path, kind)]
    return [_placed(TextPart(_text(block, path, role, allowed)), path, kind)]


def _image(source: BlockSource, path: str) -> PlacedPart:
    at = f"{path}.source"
    if source.type == "base64":
        if source.media_type is None or source.data is None:
            raise missing_at(f"{at}.{'data' if source.data is None else 'media_type'}")
        part: Part = image_part(f"{at}.data", f"data:{source.media_type};base64,{source.data}", None)
        return _placed(part, path, "image", "data")
    if source.type == "url":
        if source.url is None:
            raise missing_at(f"{at}.url")
        return _placed(image_part(f"{at}.url", source.url, None), path, "image", "url")
    if source.type == "file":
        return _placed(FilePart(FileData(None, _file_id(source, at))), path, "image")
    raise not_one_of(f"{at}.type", source.type, _SOURCES)


def _document(block: ContentBlock, path: str) -> list[PlacedPart]:
    """A document as a file, behind what is said about it. Its text or PDF is read as any other file's."""
    source, at = _source_of(block, path), f"{path}.source"
    before = [_placed(TextPart(block.context), path, "document")] if block.context else []
    if source.type == "content":
        inner = source.content
        if inner is None:
            raise missing_at(f"{at}.content")
        title = [_placed(TextPart(block.title), path, "document")] if block.title else []
        if isinstance(inner, str):
            return [*before, *title, _placed(TextPart(inner), path, "document")]
        found = [_parts(each, f"{at}.content[{i}]", "document", ("text", "image")) for i, each in enumerate(inner)]
        return [*before, *title, *(part for parts in found for part in parts)]
    return [*before, _placed(FilePart(_file(source, at, block.title)), path, "document", _field(source))]


def _field(source: BlockSource) -> str:
    return "url" if source.type == "url" else "data"


def _file(source: BlockSource, at: str, title: str | None) -> FileData:
    if source.type == "file":
        return FileData(None, _file_id(source, at), title)
    if source.type == "url":
        if source.url is None:
            raise missing_at(f"{at}.url")
        if not is_web_url(source.url):
            raise invalid_at(f"{at}.url", "only http:// and https:// URLs are fetched")
        return FileData(source.url, None, title)
    if source.type not in ("base64", "text"):
        raise not_one_of(f"{at}.type", source.type, (*_SOURCES, "text", "content"))
    if source.data is None:
        raise missing_at(f"{at}.data")
    if source.type == "text":
        data = base64.b64encode(source.data.encode("utf-8", "replace")).decode()
        return FileData(f"data:text/plain;base64,{data}", None, title or "document.txt")
    decoded_base64(f"{at}.data", source.data)
    return FileData(f"data:{source.media_type or 'application/pdf'};base64,{source.data}", None, title)


def _search_result(block: ContentBlock, path: str) -> str:
    content = block.content
    if not isinstance(content, tuple):
        raise missing_at(f"{path}.content")
    texts = [_text(each, f"{path}.content[{index}]", "search_result", ("text",)) for index, each in enumerate(content)]
    head = [each for each in (block.title, block.source if isinstance(block.source, str) else None) if each]
    return "\n".join((*head, *texts))


def _source_of(block: ContentBlock, path: str) -> BlockSource:
    if block.source is None:
        raise missing_at(f"{path}.source")
    if isinstance(block.source, str):
        raise invalid_at(f"{path}.source", "must be an object with a type")
    return block.source


def _file_id(source: BlockSource, at: str) -> str:
    if source.file_id is None:
        raise missing_at(f"{at}.file_id")
    return source.file_id


def _placed(part: Part, path: str, kind: str, field: str = "data") -> PlacedPart:
    source = f"{path}.source"
    return PlacedPart(part, PartPaths(path, kind, source, f"{source}.{field}", f"{source}.file_id"))


def input_json(block: ContentBlock) -> str:
    """The arguments of a `tool_use` block, as JSON text."""
    return bytes(block.input).decode() if given(block.input) else "{}"
