"""What a server answers, as the model reads it: text, and images beside it."""

import base64
import binascii
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from gaia_core import Image, NestingError, ToolError, ToolOutput
from gaia_core.nesting import decode_json, encode_json

if TYPE_CHECKING:
    import mcp_types


def text_of(blocks: "Iterable[mcp_types.ContentBlock]") -> str:
    """Content as the model reads it: texts, and what can't be shown in words."""
    return "\n".join(_block(block) for block in blocks)


def _block(block: Any) -> str:
    kind = getattr(block, "type", "")
    if kind == "text":
        return str(block.text)
    if (image := _image(block)) is not None:
        return image.words
    if kind in ("image", "audio"):
        return f"[{kind}: {block.mime_type}, {len(block.data) * 3 // 4} bytes]"
    if kind == "resource":
        return resource_text(block.resource)
    if kind == "resource_link":
        return f"[resource: {block.uri} ({block.name})]"
    return f"[{kind or type(block).__name__}]"


def resource_text(contents: Any) -> str:
    """A resource's contents as the model reads them."""
    if (text := getattr(contents, "text", None)) is not None:
        return str(text)
    size = len(getattr(contents, "blob", "")) * 3 // 4
    return f"[{contents.uri}: {contents.mime_type or 'binary data'}, {size} bytes]"


def _image(block: Any) -> Image | None:
    """The image that a block holds, itself or as a resource; None for another block, and for what is no base64."""
    kind = getattr(block, "type", "")
    held = block.resource if kind == "resource" else block
    media_type = getattr(held, "mime_type", None) or ""
    data = getattr(held, "blob" if kind == "resource" else "data", None)
    if kind not in ("image", "resource") or not media_type.startswith("image/") or not isinstance(data, str):
        return None
    try:
        return Image(media_type, base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return None


def output_of(result: "mcp_types.CallToolResult") -> ToolOutput:
    """A call's result. Raises ToolError where the server says that the call failed."""
    images = tuple([image for block in result.content if (image := _image(block)) is not None])
    return ToolOutput(_result_text(result), images)


def _result_text(result: "mcp_types.CallToolResult") -> str:
    """A call's result as the model reads it. Raises ToolError where the server says that the call failed."""
    text = text_of(result.content)
    if result.structured_content is not None:
        try:
            structured = encode_json(result.structured_content).decode()
        except NestingError as error:
            raise ToolError(f"the server's result is {error}") from None
        # The protocol has servers repeat it as a text; where they don't, the model needs both.
        if not any(_holds(block, result.structured_content) for block in result.content):
            text = f"{text}\n{structured}" if text else structured
    if result.is_error:
        raise ToolError(text or "the server says that the call failed, and not why")
    return text or "Done."


def _holds(block: Any, value: Any) -> bool:
    """Whether a block's text is *value* as JSON, or the value itself where that is wrapped as `{"result": …}`."""
    if getattr(block, "type", "") != "text":
        return False
    wrapped = value.get("result") if isinstance(value, dict) and list(value) == ["result"] else value
    if wrapped == block.text:
        return True
    try:
        return decode_json(block.text.encode()) in (value, wrapped)
    except (msgspec.DecodeError, NestingError, ValueError):
        return False
